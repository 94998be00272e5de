//! Readings of one or many sensors in the order of their event times, by pages.
//!
//! Each sensor is read in its own primary-key order and the streams are merged, so a page costs by
//! its length and by the number of sensors, not by the range asked for.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::{Store, StoreError, StoredReading};
use crate::telemetry::{Quality, SensorId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// A key in the order of pages: (event time, sensor).
pub(in crate::store) type Position = (Timestamp, SensorId);

#[derive(Debug, Clone, PartialEq)]
pub struct HistoryQuery {
    /// At most 1,000.
    pub sensors: Vec<SensorId>,
    pub from: Option<Timestamp>,
    /// Not included.
    pub to: Option<Timestamp>,
    pub order: Order,
    /// Rows of the page, at most 10,000.
    pub limit: usize,
    /// The last position of the page before.
    pub after: Option<Position>,
    /// Rows to pass over; for pages by number.
    pub offset: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    pub readings: Vec<StoredReading>,
    pub has_more: bool,
}

/// The fewest rows asked of a sensor at a time.
const FETCH_MIN: u64 = 16;

/// One sensor's stream of the merge.
struct Stream {
    sensor: SensorId,
    buffer: VecDeque<StoredReading>,
    is_exhausted: bool,
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn history(&self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let wanted = query.limit + 1 + query.offset;
        let share = wanted as u64 / query.sensors.len().max(1) as u64;
        let fetch = (share * 2).max(FETCH_MIN).min(wanted as u64);
        let mut streams = Vec::with_capacity(query.sensors.len());
        let mut heads = BinaryHeap::new();
        for (at, sensor) in query.sensors.iter().enumerate() {
            let mut stream =
                Stream { sensor: *sensor, buffer: VecDeque::new(), is_exhausted: false };
            self.fill(&mut stream, query, None, fetch).await?;
            if let Some(head) = stream.buffer.front() {
                heads.push(Reverse((rank(head, query.order), at)));
            }
            streams.push(stream);
        }
        let mut readings = Vec::new();
        let mut passed_over = 0;
        while readings.len() <= query.limit
            && let Some(Reverse((_, at))) = heads.pop()
        {
            let Some(stream) = streams.get_mut(at) else {
                continue;
            };
            let Some(reading) = stream.buffer.pop_front() else {
                continue;
            };
            if stream.buffer.is_empty() {
                self.fill(stream, query, Some(reading.event_time), fetch).await?;
            }
            if let Some(head) = stream.buffer.front() {
                heads.push(Reverse((rank(head, query.order), at)));
            }
            if passed_over < query.offset {
                passed_over += 1;
            } else {
                readings.push(reading);
            }
        }
        let has_more = readings.len() > query.limit;
        readings.truncate(query.limit);
        Ok(HistoryPage { readings, has_more })
    }

    async fn fill(
        &self,
        stream: &mut Stream,
        query: &HistoryQuery,
        last: Option<Timestamp>,
        count: u64,
    ) -> Result<(), StoreError> {
        if stream.is_exhausted {
            return Ok(());
        }
        let rows = select(stream.sensor, query, last, count).all(&self.readers).await?;
        stream.is_exhausted = (rows.len() as u64) < count;
        stream.buffer.extend(rows.into_iter().map(reading));
        Ok(())
    }

    /// How many readings a query matches in all; for pages by number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_history(&self, query: &HistoryQuery) -> Result<u64, StoreError> {
        let mut total = 0;
        for sensor in &query.sensors {
            let counted: Option<i64> = ranged(*sensor, query)
                .select_only()
                .column_as(entity::reading::Column::EventTime.count(), "count")
                .into_tuple()
                .one(&self.readers)
                .await?;
            total += u64::try_from(counted.unwrap_or(0)).unwrap_or(0);
        }
        Ok(total)
    }
}

fn ranged(sensor: SensorId, query: &HistoryQuery) -> Select<entity::reading::Entity> {
    use entity::reading::Column;
    let mut select = entity::reading::Entity::find().filter(Column::SensorId.eq(sensor.0));
    if let Some(from) = query.from {
        select = select.filter(Column::EventTime.gte(from.as_micros()));
    }
    if let Some(to) = query.to {
        select = select.filter(Column::EventTime.lt(to.as_micros()));
    }
    select
}

/// A sensor's next rows: after `last` of its own, or after the position where the page begins.
pub(in crate::store) fn select(
    sensor: SensorId,
    query: &HistoryQuery,
    last: Option<Timestamp>,
    count: u64,
) -> Select<entity::reading::Entity> {
    use entity::reading::Column;
    let select = ranged(sensor, query);
    // At the position's own time, sensors after the position's are still to come.
    let bound = match (last, query.after) {
        (Some(last), _) => Some((last, false)),
        (None, Some((time, at))) => {
            let comes_after = match query.order {
                Order::Ascending => sensor > at,
                Order::Descending => sensor < at,
            };
            Some((time, comes_after))
        }
        (None, None) => None,
    };
    let micros = |time: Timestamp| time.as_micros();
    let select = match (bound, query.order) {
        (None, _) => select,
        (Some((time, true)), Order::Ascending) => {
            select.filter(Column::EventTime.gte(micros(time)))
        }
        (Some((time, false)), Order::Ascending) => {
            select.filter(Column::EventTime.gt(micros(time)))
        }
        (Some((time, true)), Order::Descending) => {
            select.filter(Column::EventTime.lte(micros(time)))
        }
        (Some((time, false)), Order::Descending) => {
            select.filter(Column::EventTime.lt(micros(time)))
        }
    };
    let order = match query.order {
        Order::Ascending => sea_orm::Order::Asc,
        Order::Descending => sea_orm::Order::Desc,
    };
    select.order_by(Column::EventTime, order).limit(count)
}

/// Sorts streams: the smaller comes first.
fn rank(reading: &StoredReading, order: Order) -> (i64, i64) {
    let rank = (reading.event_time.as_micros(), reading.sensor.0);
    match order {
        Order::Ascending => rank,
        Order::Descending => (-rank.0, -rank.1),
    }
}

pub(super) fn reading(row: entity::reading::Model) -> StoredReading {
    StoredReading {
        sensor: SensorId(row.sensor_id),
        event_time: Timestamp::from_micros(row.event_time),
        received_at: Timestamp::from_micros(row.received_at),
        value: row.value,
        quality: Quality::from_code(row.quality),
    }
}
