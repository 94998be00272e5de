//! Count, range, mean and spread of a sensor's values, over a range and by buckets of it.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::{Order, Store, StoreError};
use crate::{
    store::chunks::{ChunkError, Reader, Rollup},
    telemetry::{SensorId, Timestamp},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    Minute,
    FiveMinutes,
    Hour,
    /// UTC.
    Day,
}

impl Bucket {
    pub fn micros(self) -> i64 {
        let seconds = match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        };
        seconds * 1_000_000
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsQuery {
    pub sensor: SensorId,
    pub from: Timestamp,
    /// Not included.
    pub to: Timestamp,
    /// The caller bounds how many buckets the range has.
    pub bucket: Option<Bucket>,
}

/// Over readings that have a value; all zero or `None` where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ValueStatistics {
    /// Readings, those without a value included.
    pub count: u64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    /// Of the population (divided by n).
    pub stddev: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SensorStatistics {
    pub whole: ValueStatistics,
    /// The first and the last value with their times.
    pub first: Option<(Timestamp, f64)>,
    pub last: Option<(Timestamp, f64)>,
    /// The start of each bucket that has readings, in order.
    pub series: Vec<(Timestamp, ValueStatistics)>,
}

#[derive(Debug, FromQueryResult)]
struct Sums {
    /// Its start; 0 where there is one for all.
    bucket: i64,
    readings: i64,
    valued: i64,
    min: Option<f64>,
    max: Option<f64>,
    /// Sum of (value − shift), and of its square: no cancellation when values are far from zero.
    shifted: Option<f64>,
    squared: Option<f64>,
}

#[derive(Debug, FromQueryResult)]
struct Valued {
    event_time: i64,
    value: f64,
}

const SUMS: &str = "SELECT CASE WHEN ?5 = 0 THEN ?5 \
    ELSE event_time - (event_time % ?6 + ?6) % ?6 END AS bucket, count(*) AS readings, count(value) AS valued, \
    min(value) AS min, max(value) AS max, sum(value - ?4) AS shifted, \
    sum((value - ?4) * (value - ?4)) AS squared FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 GROUP BY bucket ORDER BY bucket";
const FIRST: &str = "SELECT event_time, value FROM reading WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 AND value IS NOT NULL ORDER BY event_time LIMIT 1";
const LAST: &str = "SELECT event_time, value FROM reading WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 AND value IS NOT NULL ORDER BY event_time DESC LIMIT 1";

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn statistics(&self, query: StatisticsQuery) -> Result<SensorStatistics, StoreError> {
        if let Some(file) = self.file() {
            return file.read(move |reader| in_file(reader, query)).await;
        }
        let first = self.edge(FIRST, query).await?;
        let last = self.edge(LAST, query).await?;
        let shift = first.map_or(0.0, |(_, value)| value);
        let whole = self.sums(query, shift, 0).await?;
        let whole = whole.first().map(|sums| sums.statistics(shift)).unwrap_or_default();
        let series = match query.bucket {
            None => Vec::new(),
            Some(bucket) => self
                .sums(query, whole.mean.unwrap_or(shift), bucket.micros())
                .await?
                .iter()
                .map(|sums| {
                    let shift = whole.mean.unwrap_or(shift);
                    (Timestamp::from_micros(sums.bucket), sums.statistics(shift))
                })
                .collect(),
        };
        Ok(SensorStatistics { whole, first, last, series })
    }

    async fn sums(
        &self,
        query: StatisticsQuery,
        shift: f64,
        bucket: i64,
    ) -> Result<Vec<Sums>, StoreError> {
        let values: [Value; 6] = [
            query.sensor.0.into(),
            query.from.as_micros().into(),
            query.to.as_micros().into(),
            shift.into(),
            bucket.into(),
            // No engine divides by zero, whether it needs to or not.
            bucket.max(1).into(),
        ];
        let statement = self.engine.statement(SUMS, values);
        Ok(Sums::find_by_statement(statement).all(&self.readers).await?)
    }

    async fn edge(
        &self,
        sql: &str,
        query: StatisticsQuery,
    ) -> Result<Option<(Timestamp, f64)>, StoreError> {
        let values: [Value; 3] =
            [query.sensor.0.into(), query.from.as_micros().into(), query.to.as_micros().into()];
        let statement = self.engine.statement(sql, values);
        let found = self.readers.query_one_raw(statement).await?;
        let Some(row) = found else { return Ok(None) };
        let valued = Valued::from_query_result(&row, "")?;
        Ok(Some((Timestamp::from_micros(valued.event_time), valued.value)))
    }
}

fn in_file(reader: &Reader<'_>, query: StatisticsQuery) -> Result<SensorStatistics, ChunkError> {
    let StatisticsQuery { sensor, from, to, bucket } = query;
    let range = (from, to);
    let spans = reader.statistics(sensor, range, bucket.map(Bucket::micros), false)?;
    let series = match bucket {
        None => Vec::new(),
        Some(_) => spans.spans.iter().map(|span| (span.start, span.into())).collect(),
    };
    Ok(SensorStatistics {
        whole: spans.whole().as_ref().map(ValueStatistics::from).unwrap_or_default(),
        first: reader.edge(sensor, range, Order::Ascending)?,
        last: reader.edge(sensor, range, Order::Descending)?,
        series,
    })
}

impl From<&Rollup> for ValueStatistics {
    fn from(rollup: &Rollup) -> Self {
        let some = |value: f64| (rollup.valued > 0).then_some(value);
        let n = rollup.valued as f64;
        Self {
            count: rollup.count,
            min: some(rollup.min),
            max: some(rollup.max),
            // Rounding may take it out of the range.
            mean: some(rollup.sum / n).map(|mean| mean.clamp(rollup.min, rollup.max)),
            stddev: some((rollup.m2 / n).max(0.0).sqrt()),
        }
    }
}

impl Sums {
    fn statistics(&self, shift: f64) -> ValueStatistics {
        let n = self.valued as f64;
        let has_values = self.valued > 0;
        let shifted_mean = self.shifted.filter(|_| has_values).map(|sum| sum / n);
        let variance = shifted_mean
            .zip(self.squared)
            .map(|(mean, squared)| (squared / n - mean * mean).max(0.0));
        ValueStatistics {
            count: u64::try_from(self.readings).unwrap_or(0),
            min: self.min,
            max: self.max,
            mean: shifted_mean.map(|mean| mean + shift),
            stddev: variance.map(f64::sqrt),
        }
    }
}
