//! A sensor's readings by pieces of time: how many, between which values, how good. What charts are
//! drawn from.

use std::{collections::HashMap, num::NonZeroI64};

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde::Deserialize;

use super::{Store, StoreError};
use crate::{
    store::Engine,
    telemetry::{Quality, SensorId, Timestamp},
};

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
pub(in crate::store) const BUCKETS: &str = "WITH RECURSIVE piece (start) AS (SELECT ?2 UNION ALL \
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

/// The same on servers, whose planners group without sorting, but for the values at the edges.
const GROUPED: &str = "SELECT event_time - (event_time % ?4 + ?4) % ?4 AS start, \
    count(*) AS count, min(event_time) AS first_at, max(event_time) AS last_at, \
    max(quality) AS quality, min(value) AS low, max(value) AS high, avg(value) AS mean, \
    min(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS first_valued, \
    max(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS last_valued \
    FROM reading WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 \
    GROUP BY start ORDER BY start";
/// The values at the edges of the pieces.
const EDGES: &str = "SELECT r.event_time, r.value FROM (SELECT \
    min(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS at_first, \
    max(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS at_last FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 \
    GROUP BY event_time - (event_time % ?4 + ?4) % ?4) AS g \
    JOIN reading r ON r.sensor_id = ?1 AND r.event_time IN (g.at_first, g.at_last)";

#[derive(Debug, FromQueryResult)]
struct Grouped {
    start: i64,
    count: i64,
    first_at: i64,
    last_at: i64,
    quality: i64,
    low: Option<f64>,
    high: Option<f64>,
    mean: Option<f64>,
    first_valued: Option<i64>,
    last_valued: Option<i64>,
}

#[derive(Debug, FromQueryResult)]
struct Edge {
    event_time: i64,
    value: f64,
}

#[derive(Debug, Deserialize)]
struct Figures(u64, Option<i64>, Option<i64>, Option<i64>, Option<f64>, Option<f64>, Option<f64>);

impl Store {
    /// The readings of a sensor, piece by piece, in the order of time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn envelope(&self, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, StoreError> {
        match self.engine {
            Engine::Sqlite => self.walked(query).await,
            Engine::Postgres | Engine::MariaDb => self.grouped(query).await,
        }
    }

    async fn grouped(&self, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, StoreError> {
        let values: [Value; 4] = [
            query.sensor.0.into(),
            query.from.as_micros().into(),
            query.to.as_micros().into(),
            query.bucket.get().into(),
        ];
        let grouped = self.engine.statement(GROUPED, values.clone());
        let grouped = Grouped::find_by_statement(grouped).all(&self.readers).await?;
        let edges = self.engine.statement(EDGES, values);
        let edges = Edge::find_by_statement(edges).all(&self.readers).await?;
        let edges: HashMap<_, _> =
            edges.into_iter().map(|edge| (edge.event_time, edge.value)).collect();
        Ok(grouped.into_iter().map(|row| row.bucket(&edges)).collect())
    }

    async fn walked(&self, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, StoreError> {
        let (from, bucket) = (query.from.as_micros(), query.bucket.get());
        let start = from.saturating_sub(from.rem_euclid(bucket));
        let values: [Value; 5] = [
            query.sensor.0.into(),
            start.into(),
            query.to.as_micros().into(),
            bucket.into(),
            from.into(),
        ];
        let statement = self.engine.statement(BUCKETS, values);
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
    Some(EnvelopeBucket {
        start,
        count,
        first_at: Timestamp::from_micros(first_at?),
        last_at: Timestamp::from_micros(last_at?),
        values: values((min, max), mean, (first, last)),
        quality: Quality::from_code(quality?),
    })
}

impl Grouped {
    fn bucket(&self, edges: &HashMap<i64, f64>) -> EnvelopeBucket {
        let edge = |at: Option<i64>| edges.get(&at?).copied();
        let edges = (edge(self.first_valued), edge(self.last_valued));
        EnvelopeBucket {
            start: Timestamp::from_micros(self.start),
            count: u64::try_from(self.count).unwrap_or(0),
            first_at: Timestamp::from_micros(self.first_at),
            last_at: Timestamp::from_micros(self.last_at),
            values: values((self.low, self.high), self.mean, edges),
            quality: Quality::from_code(self.quality),
        }
    }
}

/// `None` where no reading has a value.
fn values(
    (min, max): (Option<f64>, Option<f64>),
    mean: Option<f64>,
    (first, last): (Option<f64>, Option<f64>),
) -> Option<EnvelopeValues> {
    let (((min, max), mean), (first, last)) = min.zip(max).zip(mean).zip(first.zip(last))?;
    Some(EnvelopeValues { min, max, mean: mean.clamp(min, max), first, last })
}
