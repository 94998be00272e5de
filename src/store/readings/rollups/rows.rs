//! Roll-ups and series as rows of a server.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Value};

use super::marks::{Hour, put_pairs};
use crate::{
    store::{
        Engine, StoreError,
        chunks::{COLUMNS, Rollup, Sample, Seen, Sketch, Span},
    },
    telemetry::{Quality, SensorId, Timestamp},
};

/// Roll-ups of one statement, of fourteen values each.
const ROWS: usize = 200;
const SERIES: &str = "SELECT sensor_id, rolled_upto, raw_from, hours_from FROM reading_series";
const SERIES_OF: &str = "SELECT sensor_id, rolled_upto, raw_from, hours_from FROM reading_series \
    WHERE sensor_id = ?1";

/// What is kept of a sensor; microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store::readings) struct Series {
    /// Roll-ups of all hours before it are there.
    pub(super) rolled_upto: Option<i64>,
    /// Raw readings before it are dropped.
    pub(super) raw_from: Option<i64>,
    /// Hours before it are dropped; a day's midnight.
    pub(super) hours_from: Option<i64>,
}

/// A reading of a sensor that is known.
#[derive(FromQueryResult)]
pub(super) struct ReadingRow {
    pub(super) event_time: i64,
    value: Option<f64>,
    quality: i64,
}

impl ReadingRow {
    /// When it was received is not asked for.
    pub(super) fn sample(&self) -> Sample {
        let event_time = Timestamp::from_micros(self.event_time);
        let quality = Quality::from_code(self.quality);
        Sample { event_time, received_at: event_time, value: self.value, quality }
    }
}

#[derive(FromQueryResult)]
struct SeriesRow {
    sensor_id: i64,
    rolled_upto: Option<i64>,
    raw_from: Option<i64>,
    hours_from: Option<i64>,
}

impl SeriesRow {
    fn series(self) -> (i64, Series) {
        let Self { sensor_id, rolled_upto, raw_from, hours_from } = self;
        (sensor_id, Series { rolled_upto, raw_from, hours_from })
    }
}

pub(super) async fn all_series(
    connection: &impl ConnectionTrait,
    engine: Engine,
) -> Result<HashMap<i64, Series>, StoreError> {
    let statement = engine.statement(SERIES, []);
    let rows = SeriesRow::find_by_statement(statement).all(connection).await?;
    Ok(rows.into_iter().map(SeriesRow::series).collect())
}

pub(super) async fn series_of(
    connection: &impl ConnectionTrait,
    engine: Engine,
    sensor: SensorId,
) -> Result<Series, StoreError> {
    let statement = engine.statement(SERIES_OF, [sensor.0.into()]);
    let row = SeriesRow::find_by_statement(statement).one(connection).await?;
    Ok(row.map(|row| row.series().1).unwrap_or_default())
}

pub(super) async fn put_series(
    connection: &impl ConnectionTrait,
    engine: Engine,
    all: &[(i64, Series)],
) -> Result<(), StoreError> {
    for part in all.chunks(ROWS) {
        let mut sql =
            "INSERT INTO reading_series (sensor_id, rolled_upto, raw_from, hours_from) VALUES "
                .to_owned();
        put_places(&mut sql, part.len(), 4);
        sql.push_str(
            " ON CONFLICT (sensor_id) DO UPDATE SET rolled_upto = excluded.rolled_upto, \
             raw_from = excluded.raw_from, hours_from = excluded.hours_from",
        );
        let values = part.iter().flat_map(|(sensor, series)| -> [Value; 4] {
            let Series { rolled_upto, raw_from, hours_from } = *series;
            [(*sensor).into(), rolled_upto.into(), raw_from.into(), hours_from.into()]
        });
        connection.execute_raw(engine.statement(&sql, values)).await?;
    }
    Ok(())
}

/// Roll-ups of spans from the first number on, before the second; in order.
pub(super) async fn between(
    connection: &impl ConnectionTrait,
    engine: Engine,
    whole: (SensorId, Span),
    range: (i64, i64),
) -> Result<Vec<Rollup>, StoreError> {
    read_between(connection, engine, whole, range, true).await
}

/// The same; sketches, which are most of a row, only where they are wanted.
pub(super) async fn read_between(
    connection: &impl ConnectionTrait,
    engine: Engine,
    (sensor, span): (SensorId, Span),
    (from, to): (i64, i64),
    with_sketch: bool,
) -> Result<Vec<Rollup>, StoreError> {
    if from >= to {
        return Ok(Vec::new());
    }
    let (table, column) = span.names();
    let columns = match with_sketch {
        true => COLUMNS,
        false => COLUMNS.trim_end_matches(", sketch"),
    };
    let sql = format!(
        "SELECT {column}, {columns} FROM {table} WHERE sensor_id = ?1 AND {column} >= ?2 \
         AND {column} < ?3 ORDER BY {column}"
    );
    let statement = engine.statement(&sql, [sensor.0.into(), from.into(), to.into()]);
    let rows = connection.query_all_raw(statement).await?;
    rows.iter().map(|row| read(row, (sensor, span), with_sketch)).collect()
}

fn read(
    row: &QueryResult,
    (sensor, span): (SensorId, Span),
    with_sketch: bool,
) -> Result<Rollup, StoreError> {
    let number = |at: usize| row.try_get_by_index::<i64>(at);
    let unsigned = |at: usize| number(at).map(|number| u64::try_from(number).unwrap_or(0));
    let real = |at: usize, absent: f64| {
        row.try_get_by_index::<Option<f64>>(at).map(|number| number.unwrap_or(absent))
    };
    let sketch = match with_sketch {
        true => row.try_get_by_index::<Option<Vec<u8>>>(12)?,
        false => None,
    };
    let sketch = match sketch {
        None => Sketch::default(),
        Some(bytes) => Sketch::from_bytes(&bytes).map_err(|damage| {
            StoreError::Damaged(format!("a roll-up of sensor {} is damaged: {damage}", sensor.0))
        })?,
    };
    let known = |at: usize| row.try_get_by_index::<Option<i64>>(at);
    let seen = (known(9)?, known(10)?, known(11)?);
    Ok(Rollup {
        start: Timestamp::from_micros(number(0)?.saturating_mul(span.micros())),
        count: unsigned(1)?,
        valued: unsigned(2)?,
        min: real(3, f64::INFINITY)?,
        max: real(4, f64::NEG_INFINITY)?,
        sum: real(5, 0.0)?,
        m2: real(6, 0.0)?,
        first: real(7, 0.0)?,
        last: real(8, 0.0)?,
        seen: Seen::from_columns(seen),
        sketch,
    })
}

/// Writes roll-ups of sensors, in place of what there is.
pub(super) async fn put(
    connection: &impl ConnectionTrait,
    engine: Engine,
    span: Span,
    all: &[(i64, &Rollup)],
) -> Result<(), StoreError> {
    let (table, column) = span.names();
    let updates: Vec<String> =
        COLUMNS.split(", ").map(|name| format!("{name} = excluded.{name}")).collect();
    for part in all.chunks(ROWS) {
        let mut sql = format!("INSERT INTO {table} (sensor_id, {column}, {COLUMNS}) VALUES ");
        put_places(&mut sql, part.len(), 14);
        sql.push_str(&format!(
            " ON CONFLICT (sensor_id, {column}) DO UPDATE SET {}",
            updates.join(", ")
        ));
        let values = part.iter().flat_map(|(sensor, rollup)| values_of(*sensor, span, rollup));
        connection.execute_raw(engine.statement(&sql, values)).await?;
    }
    Ok(())
}

fn values_of(sensor: i64, span: Span, rollup: &Rollup) -> [Value; 14] {
    // What has grown beyond all numbers: MariaDB has none for it.
    let finite = |number: f64| if number.is_nan() { 0.0 } else { number.clamp(f64::MIN, f64::MAX) };
    let some = |number: f64| Some(finite(number)).filter(|_| rollup.valued > 0).into();
    let (first_at, last_at, quality) = Seen::to_columns(rollup.seen);
    [
        sensor.into(),
        span.of(rollup.start.as_micros()).into(),
        (rollup.count as i64).into(),
        (rollup.valued as i64).into(),
        some(rollup.min),
        some(rollup.max),
        some(rollup.sum),
        some(rollup.m2),
        some(rollup.first),
        some(rollup.last),
        first_at.into(),
        last_at.into(),
        quality.into(),
        Some(rollup.sketch.to_bytes()).filter(|_| rollup.valued > 0).into(),
    ]
}

/// Takes spans of sensors out.
pub(super) async fn remove(
    connection: &impl ConnectionTrait,
    span: Span,
    all: &[Hour],
) -> Result<(), StoreError> {
    let (table, column) = span.names();
    for part in all.chunks(1_000) {
        let mut sql = format!("DELETE FROM {table} WHERE (sensor_id, {column}) IN (");
        put_pairs(&mut sql, part.iter().copied());
        sql.push(')');
        connection.execute_unprepared(&sql).await?;
    }
    Ok(())
}

/// `(?1, ?2), (?3, ?4)`.
fn put_places(sql: &mut String, rows: usize, columns: usize) {
    for row in 0..rows {
        let places: Vec<String> =
            (1..=columns).map(|column| format!("?{}", row * columns + column)).collect();
        let comma = if row == 0 { "" } else { ", " };
        sql.push_str(&format!("{comma}({})", places.join(", ")));
    }
}
