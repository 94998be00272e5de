//! Moves the readings of the table `reading`, a row each, into chunks, in steps; a step that is cut
//! short is done again. Before ingest begins: what chunks have under a key is replaced.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::{ChunkError, Readings, Sample};
use crate::telemetry::{Quality, SensorId, Timestamp};

/// Readings of a step.
const STEP: usize = if cfg!(test) { 100 } else { 65_536 };
const PLACE: &str = "SELECT sensor_id, event_time FROM reading_conversion WHERE id = 1";
const NOTE: &str = "INSERT OR REPLACE INTO reading_conversion (id, sensor_id, event_time) \
    VALUES (1, ?1, ?2)";
const ROWS: &str = "SELECT sensor_id, event_time, received_at, value, quality FROM reading \
    WHERE (sensor_id, event_time) > (?1, ?2) ORDER BY sensor_id, event_time LIMIT ?3";

/// What a step of converting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    pub readings: u64,
    /// Without more, the table may be dropped.
    pub has_more: bool,
}

impl Readings {
    /// Does a step. The rows stay where they are: deleting millions of them one by one writes more than
    /// all chunks.
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged; nothing is changed then.
    pub fn convert<G>(
        &self,
        connection: &mut Connection,
        gate: impl FnOnce() -> G,
    ) -> Result<Converted, ChunkError> {
        let _upkeep = self.upkeep.lock();
        let place: Option<(i64, i64)> =
            connection.query_row(PLACE, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (sensor, time) = place.unwrap_or((i64::MIN, i64::MIN));
        let rows: Vec<(SensorId, Sample)> = {
            let mut statement = connection.prepare_cached(ROWS)?;
            let rows = statement.query_map(params![sensor, time, STEP as i64], read)?;
            rows.collect::<Result<_, _>>()?
        };
        let Some((last_sensor, last)) = rows.last().copied() else {
            return Ok(Converted { readings: 0, has_more: false });
        };
        let mut plans = Vec::new();
        for of_sensor in rows.chunk_by(|a, b| a.0 == b.0) {
            let Some((sensor, _)) = of_sensor.first() else { continue };
            let samples: Vec<Sample> = of_sensor.iter().map(|(_, sample)| *sample).collect();
            plans.push(self.plan_moving(connection, *sensor, &samples, None)?);
        }
        let gate = gate();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        plans.iter().try_for_each(|plan| plan.apply(&transaction))?;
        let event_time = last.event_time.as_micros();
        transaction.execute(NOTE, params![last_sensor.0, event_time])?;
        transaction.commit()?;
        drop(gate);
        Ok(Converted { readings: rows.len() as u64, has_more: rows.len() == STEP })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<(SensorId, Sample)> {
    let sample = Sample {
        event_time: Timestamp::from_micros(row.get(1)?),
        received_at: Timestamp::from_micros(row.get(2)?),
        value: row.get(3)?,
        quality: Quality::from_code(row.get(4)?),
    };
    Ok((SensorId(row.get(0)?), sample))
}
