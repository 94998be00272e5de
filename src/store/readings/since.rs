//! Readings by when they were stored: what a stream that is resumed has not shown yet.
//!
//! As rows, readings lie by their event times. Most come within minutes of these, and are looked for
//! there, from the newest back in ranges that double, so that a look costs by what it finds and by the
//! sensors; those that came later have an index of their own.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Statement,
    sea_query::Expr,
};

use super::{ReadingFile, Store, StoreError, StoredReading, history::reading};
use crate::{
    store::{chunks::Sample, engine::Engine},
    telemetry::{Position, SensorId, Timestamp},
};

/// A reading that is later is in the index `reading_late`.
const LATE_MICROS: i64 = 600_000_000;
const IS_LATE: &str = "received_at - event_time > 600000000";
const IS_PROMPT: &str = "received_at - event_time <= 600000000";
/// The newest range that is looked at first.
const FIRST_RANGE_MICROS: i64 = 4_000_000;
/// Event times may be ahead of receipt by five minutes, and by more where the clock was set back.
const AHEAD_MICROS: i64 = 86_400_000_000;
/// Rows held at a time, in multiples of what is asked for.
const ROOM: usize = 8;
/// Sensors named in one statement.
const NAMED_MAX: usize = 1_000;

/// Readings in the order of their positions.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingsSince {
    pub readings: Vec<StoredReading>,
    /// There were more than asked for: older ones are left out, so many as far as they were counted.
    pub left_out: Option<LeftOut>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    Exactly(u64),
    /// More than anybody wanted to count.
    Uncounted,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SinceQuery {
    pub sensors: Vec<SensorId>,
    /// Not included.
    pub after: Position,
    /// Included.
    pub upto: Position,
    /// Of more than so many, the newest are given.
    pub max: usize,
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn readings_since(&self, query: &SinceQuery) -> Result<ReadingsSince, StoreError> {
        if let Some(file) = self.file() {
            return since_in_file(file, query.clone()).await;
        }
        let mut is_cut = false;
        let mut found = Vec::new();
        if query.after < query.upto {
            is_cut |= self.add_late(query, &mut found).await?;
            is_cut |= self.add_prompt(query, &mut found).await?;
        }
        found.retain(|reading| {
            let position = reading.position();
            query.after < position && position <= query.upto
        });
        found.sort_unstable_by_key(StoredReading::position);
        let over = found.len().saturating_sub(query.max);
        let readings = found.split_off(over);
        let left_out = match (is_cut, over) {
            (true, _) => Some(LeftOut::Uncounted),
            (false, 0) => None,
            (false, over) => Some(LeftOut::Exactly(over as u64)),
        };
        Ok(ReadingsSince { readings, left_out })
    }

    /// Readings that came soon after their event times. `true`: older ones were not looked for.
    async fn add_prompt(
        &self,
        query: &SinceQuery,
        found: &mut Vec<StoredReading>,
    ) -> Result<bool, StoreError> {
        let oldest = query.after.received_at.plus_micros(-LATE_MICROS);
        let (mut before, mut length) =
            (query.upto.received_at.plus_micros(AHEAD_MICROS), AHEAD_MICROS);
        let most = found.len() + query.max + 1;
        let mut is_cut = false;
        while before > oldest {
            let from = before.plus_micros(-length).max(oldest);
            for sensor in &query.sensors {
                let limit = (query.max + 1) as u64;
                let rows = prompt(*sensor, (from, before), query, limit).all(&self.readers).await?;
                is_cut |= rows.len() as u64 == limit;
                found.extend(rows.into_iter().map(reading));
                if found.len() > most * ROOM {
                    return Ok(true);
                }
            }
            if is_cut || found.len() > most {
                return Ok(is_cut || from > oldest);
            }
            let doubled = if length == AHEAD_MICROS { FIRST_RANGE_MICROS } else { length * 2 };
            (before, length) = (from, doubled);
        }
        Ok(false)
    }

    /// Readings that came late. `true`: there are more.
    async fn add_late(
        &self,
        query: &SinceQuery,
        found: &mut Vec<StoredReading>,
    ) -> Result<bool, StoreError> {
        let limit = (query.max + 1) as u64;
        let rows = match self.engine {
            Engine::Postgres | Engine::Sqlite => late(query, limit).all(&self.readers).await?,
            Engine::MariaDb => {
                let noted = entity::reading::Entity::find().from_raw_sql(late_noted(query, limit));
                noted.all(&self.readers).await?
            }
        };
        let is_cut = rows.len() as u64 == limit;
        let wanted: std::collections::HashSet<_> = query.sensors.iter().collect();
        let rows = rows.into_iter().map(reading);
        found.extend(rows.filter(|reading| wanted.contains(&reading.sensor)));
        Ok(is_cut)
    }
}

async fn since_in_file(
    file: &Arc<ReadingFile>,
    query: SinceQuery,
) -> Result<ReadingsSince, StoreError> {
    file.read(move |reader| {
        let SinceQuery { sensors, after, upto, max } = &query;
        let missed = reader.since(sensors, (*after, *upto), *max)?;
        let of = |(sensor, sample): &(SensorId, Sample)| StoredReading::of(*sensor, sample);
        let left_out = Some(missed.left_out).filter(|count| *count > 0).map(LeftOut::Exactly);
        Ok(ReadingsSince { readings: missed.readings.iter().map(of).collect(), left_out })
    })
    .await
}

/// Whether a reading is one of those that came late.
pub(in crate::store) fn is_late(reading: &StoredReading) -> bool {
    reading.received_at.micros_since(reading.event_time) > LATE_MICROS
}

/// The same as [`late`], where an index of some rows only is not to be had: their keys stand in a
/// table of their own, some of them of readings that are gone.
fn late_noted(query: &SinceQuery, limit: u64) -> Statement {
    let named = if query.sensors.len() <= NAMED_MAX {
        let ids: Vec<_> = query.sensors.iter().map(|id| id.0.to_string()).collect();
        // Nothing is in an empty list, which can't be written.
        format!(
            "l.sensor_id IN ({})",
            if ids.is_empty() { "NULL".to_owned() } else { ids.join(",") }
        )
    } else {
        "TRUE".to_owned()
    };
    let sql = format!(
        "SELECT r.* FROM reading_late l JOIN reading r ON r.sensor_id = l.sensor_id \
         AND r.event_time = l.event_time AND r.received_at = l.received_at \
         WHERE l.received_at >= ?1 AND l.received_at <= ?2 AND {named} \
         ORDER BY l.received_at DESC LIMIT ?3"
    );
    let (from, upto) = (query.after.received_at.as_micros(), query.upto.received_at.as_micros());
    Engine::MariaDb.statement(&sql, [from.into(), upto.into(), limit.into()])
}

fn between(query: &SinceQuery) -> Select<entity::reading::Entity> {
    use entity::reading::Column;
    entity::reading::Entity::find()
        .filter(Column::ReceivedAt.gte(query.after.received_at.as_micros()))
        .filter(Column::ReceivedAt.lte(query.upto.received_at.as_micros()))
}

pub(super) fn prompt(
    sensor: SensorId,
    (from, before): (Timestamp, Timestamp),
    query: &SinceQuery,
    limit: u64,
) -> Select<entity::reading::Entity> {
    use entity::reading::Column;
    between(query)
        .filter(Column::SensorId.eq(sensor.0))
        .filter(Column::EventTime.gte(from.as_micros()))
        .filter(Column::EventTime.lt(before.as_micros()))
        .filter(Expr::cust(IS_PROMPT))
        .order_by_desc(Column::EventTime)
        .limit(limit)
}

pub(super) fn late(query: &SinceQuery, limit: u64) -> Select<entity::reading::Entity> {
    use entity::reading::Column;
    let mut select = between(query).filter(Expr::cust(IS_LATE));
    if query.sensors.len() <= NAMED_MAX {
        select = select.filter(Column::SensorId.is_in(query.sensors.iter().map(|id| id.0)));
    }
    select.order_by_desc(Column::ReceivedAt).limit(limit)
}
