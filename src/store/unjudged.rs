//! Which readings no alarm rule has judged and none is to judge: those of files, by when they came.

use super::{StoreError, StoredReading, Transaction, engine::binds};
use crate::telemetry::Timestamp;

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
        self.execute(NOTE_UNJUDGED, &binds![first, last]).map(drop)
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
        let range = |row: &super::engine::Row<'_>| Ok((row.int(0)?, row.int(1)?));
        Ok(Unjudged(self.query(UNJUDGED, &binds![first, last], range)?))
    }
}
