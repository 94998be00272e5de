//! What the committer's thread reads back of single sensors: for alarm rules that begin, and for what
//! is told of an alarm.

use rusqlite::{Row, params};

use super::{StoreError, StoredReading, Transaction};
use crate::telemetry::{Quality, SensorId, Timestamp};

const SINCE: &str = "SELECT event_time, received_at, value, quality FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 ORDER BY received_at DESC LIMIT ?3";
const NEWEST: &str = "SELECT event_time, received_at, value, quality FROM reading \
    WHERE sensor_id = ?1 AND event_time < ?2 ORDER BY event_time DESC LIMIT ?3";
const RANGE: &str = "SELECT min(value), max(value) FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 AND quality <> ?3";

const UNJUDGED: &str = "SELECT first_received, last_received FROM unjudged \
     WHERE first_received <= ?2 AND last_received >= ?1 ORDER BY first_received";
const NOTE_UNJUDGED: &str = "INSERT INTO unjudged (first_received, last_received) VALUES (?1, ?2)";

/// Times of receipt of readings that no alarm rule judges: from the first to the last of a message,
/// which no reading of another message is between.
#[derive(Debug, Default)]
pub struct Unjudged(Vec<(i64, i64)>);

impl Unjudged {
    pub fn contains(&self, received_at: Timestamp) -> bool {
        let at = received_at.as_micros();
        let after = self.0.partition_point(|(first, _)| *first <= at);
        after
            .checked_sub(1)
            .and_then(|place| self.0.get(place))
            .is_some_and(|(_, last)| at <= *last)
    }
}

impl Transaction<'_> {
    /// Notes that readings received from `first` to `last` are not judged.
    ///
    /// # Errors
    /// As for [`super::Writer::transaction`], here and below.
    pub fn note_unjudged(&self, first: Timestamp, last: Timestamp) -> Result<(), StoreError> {
        self.prepared(NOTE_UNJUDGED)?.execute(params![first.as_micros(), last.as_micros()])?;
        Ok(())
    }

    /// What of these readings is not judged.
    ///
    /// # Errors
    /// As above.
    pub fn unjudged(&self, readings: &[StoredReading]) -> Result<Unjudged, StoreError> {
        let received = || readings.iter().map(|reading| reading.received_at.as_micros());
        let Some((first, last)) = received().min().zip(received().max()) else {
            return Ok(Unjudged::default());
        };
        let mut statement = self.prepared(UNJUDGED)?;
        let rows =
            statement.query_map(params![first, last], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Unjudged(rows.collect::<Result<_, _>>()?))
    }

    /// A sensor's readings with event times from `from` on, in the order in which they arrived; of
    /// more than `limit` the last.
    ///
    /// # Errors
    /// As above.
    pub fn readings_since(
        &self,
        sensor: SensorId,
        from: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredReading>, StoreError> {
        let mut statement = self.prepared(SINCE)?;
        let rows = statement
            .query_map(params![sensor.0, from.as_micros(), limit], |row| reading(sensor, row))?;
        let mut readings = rows.collect::<Result<Vec<_>, _>>()?;
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
        let mut statement = self.prepared(NEWEST)?;
        let values = params![sensor.0, before.as_micros(), count];
        let rows = statement.query_map(values, |row| reading(sensor, row))?;
        Ok(rows.collect::<Result<_, _>>()?)
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
        let values = params![sensor.0, from.as_micros(), Quality::Bad.code()];
        let (least, greatest): (Option<f64>, Option<f64>) =
            self.prepared(RANGE)?.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(least.zip(greatest))
    }
}

fn reading(sensor: SensorId, row: &Row<'_>) -> rusqlite::Result<StoredReading> {
    Ok(StoredReading {
        sensor,
        event_time: Timestamp::from_micros(row.get(0)?),
        received_at: Timestamp::from_micros(row.get(1)?),
        value: row.get(2)?,
        quality: Quality::from_code(row.get(3)?),
    })
}
