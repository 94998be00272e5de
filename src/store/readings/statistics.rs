//! Count, range, mean and spread of a sensor's values, over a range and by buckets of it.

use super::{Order, Store, StoreError};
use crate::{
    store::chunks::{ChunkError, Envelope, Reader, Rollup},
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

#[derive(Debug, Clone, PartialEq)]
pub struct StatisticsQuery {
    pub sensor: SensorId,
    pub from: Timestamp,
    /// Not included.
    pub to: Timestamp,
    /// The caller bounds how many buckets the range has.
    pub bucket: Option<Bucket>,
    /// Which are wanted, from 0 to 100.
    pub percentiles: Vec<f64>,
}

/// Over readings that have a value; all zero or `None` where there are none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueStatistics {
    /// Readings, those without a value included.
    pub count: u64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    /// Of the population (divided by n).
    pub stddev: Option<f64>,
    /// One for each that is wanted, within 1 % of the value; none where they are not known.
    pub percentiles: Vec<f64>,
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

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn statistics(&self, query: StatisticsQuery) -> Result<SensorStatistics, StoreError> {
        if let Some(file) = self.file() {
            return file.read(move |reader| in_file(reader, &query)).await;
        }
        let snapshot = self.snapshot(query.sensor).await?;
        let width = query.bucket.map(Bucket::micros);
        let with_sketch = !query.percentiles.is_empty();
        let spans = snapshot.spans(&query, width, with_sketch).await?;
        let whole = Envelope { spans: spans.clone() }.whole();
        let (first, last) = snapshot.edges(&query).await?;
        snapshot.end().await?;
        Ok(SensorStatistics {
            whole: of_whole(whole.as_ref(), &query),
            first,
            last,
            series: series(&spans, &query),
        })
    }
}

fn in_file(reader: &Reader<'_>, query: &StatisticsQuery) -> Result<SensorStatistics, ChunkError> {
    let StatisticsQuery { sensor, from, to, bucket, .. } = *query;
    let (range, with_sketch) = ((from, to), !query.percentiles.is_empty());
    let width = bucket.map(Bucket::micros);
    let spans = reader.statistics(sensor, range, width, with_sketch)?;
    // What is kept by minute has no percentiles; the hours have.
    let whole = match width {
        Some(width) if with_sketch && width < Bucket::Hour.micros() => {
            reader.statistics(sensor, range, None, with_sketch)?.whole()
        }
        _ => spans.whole(),
    };
    Ok(SensorStatistics {
        whole: of_whole(whole.as_ref(), query),
        first: reader.edge(sensor, range, Order::Ascending)?,
        last: reader.edge(sensor, range, Order::Descending)?,
        series: series(&spans.spans, query),
    })
}

fn of_whole(whole: Option<&Rollup>, query: &StatisticsQuery) -> ValueStatistics {
    whole.map(|whole| ValueStatistics::of(whole, &query.percentiles)).unwrap_or_default()
}

fn series(spans: &[Rollup], query: &StatisticsQuery) -> Vec<(Timestamp, ValueStatistics)> {
    if query.bucket.is_none() {
        return Vec::new();
    }
    let of = |span: &Rollup| (span.start, ValueStatistics::of(span, &query.percentiles));
    spans.iter().map(of).collect()
}

impl ValueStatistics {
    fn of(rollup: &Rollup, percentiles: &[f64]) -> Self {
        let some = |value: f64| (rollup.valued > 0).then_some(value);
        let n = rollup.valued as f64;
        let percentile = |percent: &f64| {
            let value = rollup.sketch.quantile(percent / 100.0)?;
            Some(value.clamp(rollup.min, rollup.max))
        };
        // Of what is kept by minute alone there are none.
        let is_whole = rollup.sketch.count() == rollup.valued;
        Self {
            count: rollup.count,
            min: some(rollup.min),
            max: some(rollup.max),
            // Rounding may take it out of the range.
            mean: some(rollup.sum / n).map(|mean| mean.clamp(rollup.min, rollup.max)),
            stddev: some((rollup.m2 / n).max(0.0).sqrt()),
            percentiles: match is_whole {
                true => percentiles.iter().filter_map(percentile).collect(),
                false => Vec::new(),
            },
        }
    }
}
