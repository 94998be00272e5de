//! Dropping what is old, in steps that ingest gets between: raw readings while their roll-ups stay,
//! hourly roll-ups while those by day stay, those by day.

use rusqlite::{Connection, TransactionBehavior};

use super::{
    ChunkError, Readings,
    erase::STEP_CHUNKS,
    hours::{self, Span},
    rollup::{DAY, HOUR},
    stage::Stage,
    table::{self, Series},
};
use crate::telemetry::{SensorId, Timestamp};

/// Roll-ups of a step.
const STEP_ROLLUPS: i64 = 2_000;
const DROP_MINUTES: &str = "DELETE FROM reading_minute WHERE sensor_id = ?1 AND last_time < ?2";

/// Whether statistics by minute stay when raw readings go; those by hour do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepMinutes {
    Yes,
    No,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Readings or roll-ups.
    pub rows: u64,
    pub has_more: bool,
}

impl Readings {
    /// Drops some of a sensor's raw readings from before a time, which is taken down to a whole hour.
    /// Their hours and days are rolled up first. What comes later for that time goes into these.
    /// `gate` as for [`Readings::compact`].
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged; nothing is changed then. Here and
    /// below.
    pub fn drop_raw<G>(
        &self,
        connection: &mut Connection,
        sensor: SensorId,
        before: Timestamp,
        keep: KeepMinutes,
        gate: impl Fn() -> G,
    ) -> Result<Dropped, ChunkError> {
        let before = before.as_micros().div_euclid(HOUR) * HOUR;
        let _upkeep = self.upkeep.lock();
        // What the tail replaces would count twice once its first value is rolled up.
        if !self.tail.read().between(sensor, i64::MIN, before).is_empty() {
            self.move_sensor(connection, sensor, &gate)?;
        }
        let mut stage = Stage::new(self, connection, sensor)?;
        let metas = table::metas(connection, sensor, i64::MIN, before)?;
        if metas.is_empty() {
            return Ok(Dropped { rows: 0, has_more: false });
        }
        stage.roll_up_to(before)?;
        let mut rows = 0;
        for meta in metas.iter().take(STEP_CHUNKS) {
            let is_whole = meta.last_time < before;
            if is_whole && keep == KeepMinutes::No {
                stage.remove(meta);
                rows += meta.count;
                continue;
            }
            let mut samples = stage.take(meta)?;
            let old = samples.partition_point(|sample| sample.event_time.as_micros() < before);
            let rest = samples.split_off(old);
            rows += samples.len();
            if keep == KeepMinutes::Yes {
                stage.keep_minutes(&samples);
            }
            stage.put_evenly(rest);
        }
        let raw_from = stage.series.raw_from.map_or(before, |raw_from| raw_from.max(before));
        stage.series.raw_from = Some(raw_from);
        if stage.series.newest.is_some_and(|newest| newest.event_time.as_micros() < before) {
            stage.find_newest()?;
        }
        let plan = stage.finish();
        let gate = gate();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        plan.apply(&transaction)?;
        transaction.commit()?;
        drop(gate);
        Ok(Dropped { rows: rows as u64, has_more: metas.len() > STEP_CHUNKS })
    }

    /// Drops some of a sensor's hourly roll-ups, and what is kept by minute, from before a time, which is
    /// taken down to a whole day and to where raw readings begin. Days stay.
    ///
    /// # Errors
    /// As above.
    pub fn drop_hours<G>(
        &self,
        connection: &mut Connection,
        sensor: SensorId,
        before: Timestamp,
        gate: impl FnOnce() -> G,
    ) -> Result<Dropped, ChunkError> {
        let _upkeep = self.upkeep.lock();
        let mut series = Series::load(connection, sensor)?;
        let Some(raw_from) = series.raw_from else {
            return Ok(Dropped { rows: 0, has_more: false });
        };
        let before = before.as_micros().min(raw_from).div_euclid(DAY) * DAY;
        let gate = gate();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let range = (i64::MIN, before.div_euclid(HOUR));
        let rows = hours::delete(&transaction, sensor, Span::Hour, range, STEP_ROLLUPS)?;
        transaction.prepare_cached(DROP_MINUTES)?.execute([sensor.0, before])?;
        if rows > 0 && series.hours_from.is_none_or(|from| from < before) {
            series.hours_from = Some(before);
            series.put(&transaction, sensor)?;
        }
        transaction.commit()?;
        drop(gate);
        Ok(Dropped { rows: rows as u64, has_more: rows as i64 == STEP_ROLLUPS })
    }

    /// Drops some of a sensor's daily roll-ups from before a time, where the hours are dropped already.
    ///
    /// # Errors
    /// As above.
    pub fn drop_days<G>(
        &self,
        connection: &mut Connection,
        sensor: SensorId,
        before: Timestamp,
        gate: impl FnOnce() -> G,
    ) -> Result<Dropped, ChunkError> {
        let _upkeep = self.upkeep.lock();
        let hours_from = Series::load(connection, sensor)?.hours_from.unwrap_or(i64::MIN);
        let before = before.as_micros().min(hours_from).div_euclid(DAY);
        let gate = gate();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let range = (i64::MIN, before);
        let rows = hours::delete(&transaction, sensor, Span::Day, range, STEP_ROLLUPS)?;
        transaction.commit()?;
        drop(gate);
        Ok(Dropped { rows: rows as u64, has_more: rows as i64 == STEP_ROLLUPS })
    }
}
