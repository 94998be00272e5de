//! What the committer's thread reads back of single sensors: for alarm rules that begin, and for what
//! is told of an alarm.

use super::{Order, StoreError, StoredReading, Transaction, file::of};
use crate::{
    store::engine::{Row, binds},
    telemetry::{Quality, SensorId, Timestamp},
};

const SINCE: &str = "SELECT event_time, received_at, value, quality FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 ORDER BY received_at DESC LIMIT ?3";
const NEWEST: &str = "SELECT event_time, received_at, value, quality FROM reading \
    WHERE sensor_id = ?1 AND event_time < ?2 ORDER BY event_time DESC LIMIT ?3";
const RANGE: &str = "SELECT min(value), max(value) FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 AND quality <> ?3";

impl Transaction<'_> {
    /// A sensor's readings with event times from `from` on, in the order in which they arrived; of
    /// more than `limit` the last.
    ///
    /// # Errors
    /// As for [`crate::store::Writer::transaction`], here and below.
    pub fn readings_since(
        &self,
        sensor: SensorId,
        from: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredReading>, StoreError> {
        if let Some(reader) = self.reader() {
            let samples = reader.arrived_last(sensor, from, limit as usize)?;
            return Ok(of(sensor, &samples));
        }
        let values = binds![sensor.0, from, limit];
        let mut readings = self.query(SINCE, &values, |row| reading(sensor, row))?;
        readings.reverse();
        Ok(readings)
    }

    /// A sensor's last readings before `before` by event time, the newest first.
    ///
    /// # Errors
    /// As above.
    pub fn newest_readings(
        &self,
        sensor: SensorId,
        before: Timestamp,
        count: u32,
    ) -> Result<Vec<StoredReading>, StoreError> {
        if let Some(reader) = self.reader() {
            let range = (Timestamp::MIN, before);
            let samples = reader.scan(sensor, range, Order::Descending, count as usize)?;
            return Ok(of(sensor, &samples));
        }
        let values = binds![sensor.0, before, count];
        self.query(NEWEST, &values, |row| reading(sensor, row))
    }

    /// The least and the greatest value of a sensor with event times from `from` on; readings of bad
    /// quality are left out.
    ///
    /// # Errors
    /// As above.
    pub fn value_range_since(
        &self,
        sensor: SensorId,
        from: Timestamp,
    ) -> Result<Option<(f64, f64)>, StoreError> {
        if let Some(reader) = self.reader() {
            return Ok(reader.value_range(sensor, (from, Timestamp::MAX), Timestamp::MIN)?);
        }
        let values = binds![sensor.0, from, Quality::Bad.code()];
        let ends = self.query_one(RANGE, &values, |row| Ok((row.real(0)?, row.real(1)?)))?;
        Ok(ends.and_then(|(least, greatest)| least.zip(greatest)))
    }
}

fn reading(sensor: SensorId, row: &Row<'_>) -> Result<StoredReading, StoreError> {
    Ok(StoredReading {
        sensor,
        event_time: Timestamp::from_micros(row.int(0)?),
        received_at: Timestamp::from_micros(row.int(1)?),
        value: row.real(2)?,
        quality: Quality::from_code(row.int(3)?),
    })
}
