//! Deleting a range of a sensor's readings, in steps that ingest gets between.
//!
//! What the journal has of the range is noted as erased, so that a restart does not bring it back.

use rusqlite::{Connection, TransactionBehavior, params};

use super::{
    ChunkError, Readings,
    hours::{self, Span},
    rollup::HOUR,
    stage::Stage,
    table,
};
use crate::telemetry::{SensorId, Timestamp};

/// Chunks and hours of a step.
pub(super) const STEP_CHUNKS: usize = 8;
const STEP_HOURS: i64 = 512;
const NOTE: &str =
    "INSERT INTO reading_erasure (seq, sensor_id, from_time, to_time) VALUES (?1, ?2, ?3, ?4)";

/// What a step of deleting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// A reading that was replaced a moment ago may count twice.
    pub readings: u64,
    pub has_more: bool,
}

impl Readings {
    /// Deletes some of a sensor's readings with event times from the first on, before the second.
    /// `gate` as for [`Readings::compact`].
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged; nothing is changed then.
    pub fn erase<G>(
        &self,
        connection: &mut Connection,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        gate: impl FnOnce() -> G,
    ) -> Result<Erased, ChunkError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        if from >= to {
            return Ok(Erased { readings: 0, has_more: false });
        }
        let _upkeep = self.upkeep.lock();
        let mut stage = Stage::new(self, connection, sensor)?;
        let mut metas = table::metas(connection, sensor, from, to)?;
        let more_from = metas.get(STEP_CHUNKS).map_or(to, |meta| meta.first_time);
        let range = (from.div_euclid(HOUR), to.saturating_sub(1).div_euclid(HOUR) + 1);
        let numbers = hours::numbers(connection, sensor, Span::Hour, range, STEP_HOURS + 1)?;
        let is_long = numbers.len() as i64 > STEP_HOURS;
        let hours_end = numbers.last().filter(|_| is_long).map_or(to, |hour| hour * HOUR);
        // At least an hour's way, so that it ends.
        let end = more_from.min(hours_end).max(from.saturating_add(1)).min(to);
        metas.retain(|meta| meta.first_time < end);
        let mut readings = 0;
        for meta in &metas {
            if from <= meta.first_time && meta.last_time < end {
                stage.remove(meta);
                readings += meta.count;
                continue;
            }
            let mut samples = stage.take(meta)?;
            let before = samples.len();
            samples.retain(|sample| !(from..end).contains(&sample.event_time.as_micros()));
            readings += before - samples.len();
            stage.put_apart(samples, from);
        }
        stage.forget_rollups(from, end)?;
        let is_newest = |time: i64| (from..end).contains(&time);
        if stage.series.newest.is_some_and(|newest| is_newest(newest.event_time.as_micros())) {
            stage.find_newest()?;
        }
        let plan = stage.finish();
        let gate = gate();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        plan.apply(&transaction)?;
        let seq = {
            let tail = self.tail.read();
            (!tail.between(sensor, from, end).is_empty()).then(|| tail.adopted())
        };
        if let Some(seq) = seq {
            transaction.prepare_cached(NOTE)?.execute(params![seq, sensor.0, from, end])?;
        }
        transaction.commit()?;
        if seq.is_some() {
            readings += self.tail.write().erase(sensor, from, end);
        }
        drop(gate);
        Ok(Erased { readings: readings as u64, has_more: end < to })
    }
}
