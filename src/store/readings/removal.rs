//! Deleting readings, in steps that ingest can get between.

use sea_orm::ConnectionTrait;

use super::{HistoryQuery, Order, Store, StoreError, StoredReading};
use crate::{
    store::engine::Engine,
    telemetry::{SensorId, Timestamp},
};

/// Rows deleted in one go: a batch of ingest waits for one such step, which takes milliseconds.
const STEP: u64 = 2_000;
pub(in crate::store) const DELETE_CLAIMED: &str = "DELETE FROM reading_claimed_time WHERE sensor_id = ?1 AND \
    event_time IN (SELECT event_time FROM reading_claimed_time WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 LIMIT ?4)";

/// MariaDB's own form: it would read all of the sensor's rows for the other.
const DELETE_CLAIMED_MARIADB: &str = "DELETE FROM reading_claimed_time WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 LIMIT ?4";

/// Event times from the first on, before the second.
pub type TimeRange = (Timestamp, Timestamp);

/// What a step of deleting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    pub readings: u64,
    /// There is more.
    pub has_more: bool,
}

impl Store {
    /// Deletes some of a sensor's readings of a range.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn delete_some_readings(
        &self,
        sensor: SensorId,
        range: TimeRange,
    ) -> Result<Removed, StoreError> {
        let (readings, has_more) = match (self.file(), self.rolled()) {
            (Some(file), _) => {
                let erased = file.change(move |readings, connection, gate| {
                    readings.erase(connection, sensor, range, || gate.blocking_lock())
                });
                let erased = erased.await?;
                (erased.readings, erased.has_more)
            }
            (None, Some(rolled)) => {
                let removed = self.delete_rows(rolled, sensor, range).await?;
                (removed.readings, removed.has_more)
            }
            (None, None) => (0, false),
        };
        if has_more {
            return Ok(Removed { readings, has_more });
        }
        Ok(Removed { readings, has_more: self.delete_claimed(sensor, range).await? })
    }

    /// Deletes some of what is noted of times that a sensor's messages claimed; `true`: there is more.
    pub(super) async fn delete_claimed(
        &self,
        sensor: SensorId,
        range: TimeRange,
    ) -> Result<bool, StoreError> {
        let claimed = match self.engine {
            Engine::MariaDb => DELETE_CLAIMED_MARIADB,
            Engine::Sqlite | Engine::Postgres => DELETE_CLAIMED,
        };
        Ok(self.delete_some(claimed, sensor, range).await? == STEP)
    }

    /// A sensor's reading with the newest event time.
    ///
    /// # Errors
    /// As above.
    pub async fn newest(&self, sensor: SensorId) -> Result<Option<StoredReading>, StoreError> {
        let query = HistoryQuery {
            sensors: vec![sensor],
            from: None,
            to: None,
            order: Order::Descending,
            limit: 1,
            after: None,
            offset: 0,
        };
        Ok(self.history(&query).await?.readings.into_iter().next())
    }

    async fn delete_some(
        &self,
        sql: &str,
        sensor: SensorId,
        (from, to): TimeRange,
    ) -> Result<u64, StoreError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let values = [sensor.0.into(), from.into(), to.into(), STEP.into()];
        let statement = self.engine.statement(sql, values);
        let write = self.begin().await?;
        let deleted = write.transaction.execute_raw(statement).await?.rows_affected();
        write.commit().await?;
        Ok(deleted)
    }
}
