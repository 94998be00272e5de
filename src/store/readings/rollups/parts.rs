//! Reading what roll-ups and readings say of a sensor on a server, all as of one moment.

use std::collections::BTreeSet;

use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, FromQueryResult, IsolationLevel,
    TransactionOptions, TransactionTrait, Value,
};

use super::rows::{self, ReadingRow, Series};
use crate::{
    store::{
        Engine, Store, StoreError,
        chunks::{DAY, HOUR, Known, Rollup, Sample, Source, Span, Sums, next_part},
        readings::statistics::StatisticsQuery,
    },
    telemetry::{SensorId, Timestamp},
};

/// Readings of one query.
const PAGE: i64 = 20_000;

const STALE: &str =
    "SELECT hour FROM reading_stale WHERE sensor_id = ?1 AND hour >= ?2 AND hour < ?3";
/// The spread as the server finds it, one by one: no cancellation where values are far from zero.
const SUMS: &str = "SELECT CASE WHEN ?4 = 0 THEN ?4 \
    ELSE event_time - (event_time % ?5 + ?5) % ?5 END AS bucket, count(*) AS readings, \
    count(value) AS valued, min(value) AS low, max(value) AS high, sum(value) AS total, \
    var_pop(value) AS variance FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 GROUP BY bucket ORDER BY bucket";
const VALUES: &str = "SELECT event_time, value, quality FROM reading WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 ORDER BY event_time LIMIT ?4";
const FIRST: &str = "SELECT event_time, value, quality FROM reading WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 AND value IS NOT NULL ORDER BY event_time LIMIT 1";
const LAST: &str = "SELECT event_time, value, quality FROM reading WHERE sensor_id = ?1 AND \
    event_time >= ?2 AND event_time < ?3 AND value IS NOT NULL ORDER BY event_time DESC LIMIT 1";

#[derive(FromQueryResult)]
struct SumsRow {
    bucket: i64,
    readings: i64,
    valued: i64,
    low: Option<f64>,
    high: Option<f64>,
    total: Option<f64>,
    variance: Option<f64>,
}

/// A sensor's readings and roll-ups at one moment.
pub(in crate::store::readings) struct Snapshot {
    pub(in crate::store::readings) transaction: DatabaseTransaction,
    engine: Engine,
    sensor: SensorId,
    series: Series,
}

/// A time and the value there.
type Edge = Option<(Timestamp, f64)>;

impl Store {
    pub(in crate::store::readings) async fn snapshot(
        &self,
        sensor: SensorId,
    ) -> Result<Snapshot, StoreError> {
        let options = TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        let transaction = self.readers.begin_with_options(options).await?;
        let series = rows::series_of(&transaction, self.engine, sensor).await?;
        Ok(Snapshot { transaction, engine: self.engine, sensor, series })
    }
}

impl Snapshot {
    pub(in crate::store::readings) async fn end(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }

    /// Where raw readings begin, within a range.
    pub(in crate::store::readings) fn raw_from(&self, (from, to): (i64, i64)) -> i64 {
        self.series.raw_from.unwrap_or(i64::MIN).clamp(from, to.max(from))
    }

    /// Statistics by spans of `width` microseconds; without, of the whole range.
    pub(in crate::store::readings) async fn spans(
        &self,
        query: &StatisticsQuery,
        width: Option<i64>,
        with_sketch: bool,
    ) -> Result<Vec<Rollup>, StoreError> {
        let from = query.from.as_micros();
        let mut sums = Sums::new(width, with_sketch, from);
        for (source, range) in self.parts((from, query.to.as_micros()), width).await? {
            match source {
                Source::Raw if with_sketch => self.add_values(range, &mut sums).await?,
                Source::Raw => self.add_sums(range, width.unwrap_or(0), &mut sums).await?,
                Source::Rolled(span) => {
                    sums.close();
                    for rollup in self.rolled(span, range, with_sketch).await? {
                        sums.merge(&rollup, true);
                    }
                }
                Source::Dropped => {
                    sums.close();
                    for rollup in self.dropped(range).await? {
                        sums.merge(&rollup, true);
                    }
                    self.each_value(range, |sample| sums.add_late(&sample)).await?;
                }
            }
        }
        Ok(sums.into_spans())
    }

    /// How a range is read, part by part.
    pub(in crate::store::readings) async fn parts(
        &self,
        (from, to): (i64, i64),
        width: Option<i64>,
    ) -> Result<Vec<(Source, (i64, i64))>, StoreError> {
        let stale = self.stale((from, to)).await?;
        let disturbed = move |from: i64, to: i64| {
            let hour = stale.range(from.div_euclid(HOUR)..).next()?.saturating_mul(HOUR);
            (hour < to).then_some(hour)
        };
        let known = Known {
            rolled_upto: self.series.rolled_upto.unwrap_or(i64::MIN),
            raw_from: self.series.raw_from.unwrap_or(i64::MIN),
            disturbed,
        };
        let (mut parts, mut at) = (Vec::new(), from);
        while at < to {
            let part = next_part(&known, at, to, width);
            parts.push((part.source, (at, part.end)));
            at = part.end;
        }
        Ok(parts)
    }

    /// The first and the last value of a range. Of dropped readings the hour's, by its start and its end.
    pub(in crate::store::readings) async fn edges(
        &self,
        query: &StatisticsQuery,
    ) -> Result<(Edge, Edge), StoreError> {
        let (from, to) = (query.from.as_micros(), query.to.as_micros());
        let raw_from = self.raw_from((from, to));
        let mut dropped = match from < raw_from {
            true => self.dropped((from, raw_from)).await?,
            false => Vec::new(),
        };
        dropped.retain(|rollup| rollup.valued > 0);
        let first = match dropped.first() {
            Some(rollup) => Some((rollup.start, rollup.first)),
            None => self.edge(FIRST, (raw_from, to)).await?,
        };
        let last = match self.edge(LAST, (raw_from, to)).await? {
            Some(last) => Some(last),
            None => dropped.last().map(|rollup| {
                let end = rollup.start.plus_micros(HOUR - 1);
                (end.min(Timestamp::from_micros(raw_from - 1)), rollup.last)
            }),
        };
        Ok((first, last))
    }

    /// Days, then hours, of where raw readings are dropped; a span counts where it begins.
    pub(in crate::store::readings) async fn dropped(
        &self,
        (from, to): (i64, i64),
    ) -> Result<Vec<Rollup>, StoreError> {
        let hours_from = self.series.hours_from.unwrap_or(i64::MIN).clamp(from, to);
        let up = |time: i64, micros: i64| time.saturating_add(micros - 1).div_euclid(micros);
        let (days, hours) = ((self.sensor, Span::Day), (self.sensor, Span::Hour));
        let range = (up(from, DAY), up(hours_from, DAY));
        let mut all = rows::between(&self.transaction, self.engine, days, range).await?;
        let range = (up(hours_from, HOUR), up(to, HOUR));
        all.extend(rows::between(&self.transaction, self.engine, hours, range).await?);
        Ok(all)
    }

    async fn stale(&self, (from, to): (i64, i64)) -> Result<BTreeSet<i64>, StoreError> {
        let (first, end) = (from.div_euclid(HOUR), to.div_euclid(HOUR) + 1);
        let values = [self.sensor.0.into(), first.into(), end.into()];
        let rows = self.transaction.query_all_raw(self.engine.statement(STALE, values)).await?;
        Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
    }

    /// The spans of a range that has whole ones.
    pub(in crate::store::readings) async fn rolled(
        &self,
        span: Span,
        (from, to): (i64, i64),
        with_sketch: bool,
    ) -> Result<Vec<Rollup>, StoreError> {
        let range = (span.of(from), span.of(to.saturating_sub(1)) + 1);
        let whole = (self.sensor, span);
        rows::read_between(&self.transaction, self.engine, whole, range, with_sketch).await
    }

    /// Adds up what the server adds up.
    async fn add_sums(
        &self,
        (from, to): (i64, i64),
        width: i64,
        sums: &mut Sums,
    ) -> Result<(), StoreError> {
        let values: [Value; 5] = [
            self.sensor.0.into(),
            from.into(),
            to.into(),
            width.into(),
            // No engine divides by zero, whether it needs to or not.
            width.max(1).into(),
        ];
        let statement = self.engine.statement(SUMS, values);
        for row in SumsRow::find_by_statement(statement).all(&self.transaction).await? {
            sums.merge(&row.rollup(if width == 0 { from } else { row.bucket }), true);
        }
        Ok(())
    }

    async fn add_values(&self, range: (i64, i64), sums: &mut Sums) -> Result<(), StoreError> {
        self.each_value(range, |sample| sums.add(&sample)).await
    }

    async fn each_value(
        &self,
        (from, to): (i64, i64),
        mut shown: impl FnMut(Sample) + Send,
    ) -> Result<(), StoreError> {
        let mut after = from;
        loop {
            let values = [self.sensor.0.into(), after.into(), to.into(), PAGE.into()];
            let statement = self.engine.statement(VALUES, values);
            let page = ReadingRow::find_by_statement(statement).all(&self.transaction).await?;
            let is_last = (page.len() as i64) < PAGE;
            for row in page {
                shown(row.sample());
                after = row.event_time.saturating_add(1);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn edge(&self, sql: &str, (from, to): (i64, i64)) -> Result<Edge, StoreError> {
        let values = [self.sensor.0.into(), from.into(), to.into()];
        let statement = self.engine.statement(sql, values);
        let row = ReadingRow::find_by_statement(statement).one(&self.transaction).await?;
        Ok(row.and_then(|row| {
            let Sample { event_time, value, .. } = row.sample();
            Some((event_time, value?))
        }))
    }
}

impl SumsRow {
    fn rollup(&self, start: i64) -> Rollup {
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        let none = Rollup::new(Timestamp::from_micros(start));
        Rollup {
            count: unsigned(self.readings),
            valued: unsigned(self.valued),
            min: self.low.unwrap_or(none.min),
            max: self.high.unwrap_or(none.max),
            sum: self.total.unwrap_or(0.0),
            m2: self.variance.unwrap_or(0.0) * self.valued as f64,
            ..none
        }
    }
}
