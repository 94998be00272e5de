//! A sensor's readings by pieces of time: how many, between which values, how good. What charts are
//! drawn from.

use std::num::NonZeroI64;

use sea_orm::{ConnectionTrait, DatabaseBackend, Statement, Value};
use serde::Deserialize;

use super::{Store, StoreError};
use crate::telemetry::{Quality, SensorId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeQuery {
    pub sensor: SensorId,
    pub from: Timestamp,
    /// Not included.
    pub to: Timestamp,
    /// Length of a piece in microseconds; pieces begin at its multiples. The caller bounds how many the
    /// range has.
    pub bucket: NonZeroI64,
}

/// What of a piece of time is in the range; pieces without readings are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvelopeBucket {
    pub start: Timestamp,
    /// Readings, those without a value included.
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// `None`: no reading has a value.
    pub values: Option<EnvelopeValues>,
    /// The worst.
    pub quality: Quality,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvelopeValues {
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub first: f64,
    pub last: f64,
}

/// One search and one walk a piece, in the order of the key: grouping by a quotient would sort all
/// readings first. Figures come as a JSON array, as a subquery has one column.
pub(super) const BUCKETS: &str = "WITH RECURSIVE piece (start) AS (SELECT ?2 UNION ALL \
    SELECT start + ?4 FROM piece WHERE start + ?4 < ?3) \
    SELECT piece.start AS start, (SELECT json_array(count(*), min(event_time), max(event_time), \
    max(quality), min(value), max(value), avg(value)) FROM reading WHERE sensor_id = ?1 AND \
    event_time >= max(piece.start, ?5) AND event_time < min(piece.start + ?4, ?3)) AS figures, \
    (SELECT value FROM reading WHERE sensor_id = ?1 AND event_time >= max(piece.start, ?5) AND \
    event_time < min(piece.start + ?4, ?3) AND value IS NOT NULL ORDER BY event_time LIMIT 1) \
    AS first, \
    (SELECT value FROM reading WHERE sensor_id = ?1 AND event_time >= max(piece.start, ?5) AND \
    event_time < min(piece.start + ?4, ?3) AND value IS NOT NULL ORDER BY event_time DESC LIMIT 1) \
    AS last FROM piece";

#[derive(Debug, Deserialize)]
struct Figures(u64, Option<i64>, Option<i64>, Option<i64>, Option<f64>, Option<f64>, Option<f64>);

impl Store {
    /// The readings of a sensor, piece by piece, in the order of time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn envelope(&self, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, StoreError> {
        let (from, bucket) = (query.from.as_micros(), query.bucket.get());
        let start = from.saturating_sub(from.rem_euclid(bucket));
        let values: [Value; 5] = [
            query.sensor.0.into(),
            start.into(),
            query.to.as_micros().into(),
            bucket.into(),
            from.into(),
        ];
        let statement = Statement::from_sql_and_values(DatabaseBackend::Sqlite, BUCKETS, values);
        let mut buckets = Vec::new();
        for row in self.readers.query_all_raw(statement).await? {
            let start = Timestamp::from_micros(row.try_get("", "start")?);
            let edges = (row.try_get("", "first")?, row.try_get("", "last")?);
            let figures: String = row.try_get("", "figures")?;
            buckets.extend(bucket_of(start, &figures, edges));
        }
        Ok(buckets)
    }
}

/// `None`: it has no readings.
fn bucket_of(
    start: Timestamp,
    figures: &str,
    (first, last): (Option<f64>, Option<f64>),
) -> Option<EnvelopeBucket> {
    let figures: Figures = serde_json::from_str(figures).ok()?;
    let Figures(count, first_at, last_at, quality, min, max, mean) = figures;
    let values = min.zip(max).zip(mean).zip(first.zip(last));
    Some(EnvelopeBucket {
        start,
        count,
        first_at: Timestamp::from_micros(first_at?),
        last_at: Timestamp::from_micros(last_at?),
        values: values.map(|(((min, max), mean), (first, last))| EnvelopeValues {
            min,
            max,
            mean: mean.clamp(min, max),
            first,
            last,
        }),
        quality: Quality::from_code(quality?),
    })
}
