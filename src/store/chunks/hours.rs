//! Roll-ups as rows, by hour and by day.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use super::{
    ChunkError, Damage, Rollup, Sketch,
    rollup::{DAY, HOUR, Seen},
};
use crate::telemetry::{Quality, SensorId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Span {
    Hour,
    Day,
}

impl Span {
    pub(in crate::store) fn micros(self) -> i64 {
        match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// Table and column.
    pub(in crate::store) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Hour => ("reading_hour", "hour"),
            Self::Day => ("reading_day", "day"),
        }
    }

    pub(in crate::store) fn of(self, time: i64) -> i64 {
        time.div_euclid(self.micros())
    }
}

/// The times and the quality are null in roll-ups of before these were kept.
pub(in crate::store) const COLUMNS: &str =
    "count, valued, min, max, sum, m2, first, last, first_at, last_at, quality, sketch";

impl Seen {
    pub(in crate::store) fn from_columns(
        columns: (Option<i64>, Option<i64>, Option<i64>),
    ) -> Option<Self> {
        let (Some(first_at), Some(last_at), Some(quality)) = columns else { return None };
        Some(Self {
            first_at: Timestamp::from_micros(first_at),
            last_at: Timestamp::from_micros(last_at),
            quality: Quality::from_code(quality),
        })
    }

    pub(in crate::store) fn to_columns(
        seen: Option<Self>,
    ) -> (Option<i64>, Option<i64>, Option<i64>) {
        let micros =
            |time: fn(&Self) -> Timestamp| seen.as_ref().map(|seen| time(seen).as_micros());
        let quality = seen.map(|seen| seen.quality.code());
        (micros(|seen| seen.first_at), micros(|seen| seen.last_at), quality)
    }
}

/// Roll-ups of spans from the first number on, before the second; in order.
pub(super) fn between(
    connection: &Connection,
    sensor: SensorId,
    span: Span,
    (from, to): (i64, i64),
) -> Result<Vec<Rollup>, ChunkError> {
    let (table, column) = span.names();
    let sql = format!(
        "SELECT {column}, {COLUMNS} FROM {table} WHERE sensor_id = ?1 AND {column} >= ?2 \
         AND {column} < ?3 ORDER BY {column}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![sensor.0, from, to])?;
    let mut rollups = Vec::new();
    while let Some(row) = rows.next()? {
        rollups.push(read(row, sensor, span)?);
    }
    Ok(rollups)
}

pub(super) fn get(
    connection: &Connection,
    sensor: SensorId,
    span: Span,
    number: i64,
) -> Result<Option<Rollup>, ChunkError> {
    Ok(between(connection, sensor, span, (number, number.saturating_add(1)))?.pop())
}

fn read(row: &Row<'_>, sensor: SensorId, span: Span) -> Result<Rollup, ChunkError> {
    let unsigned = |at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    let number = |at: usize, absent: f64| {
        row.get::<_, Option<f64>>(at).map(|number| number.unwrap_or(absent))
    };
    let damaged = |source| ChunkError::Rollup { sensor, source };
    let sketch = match row.get_ref(12)?.as_blob_or_null() {
        Ok(None) => Sketch::default(),
        Ok(Some(bytes)) => Sketch::from_bytes(bytes).map_err(damaged)?,
        Err(_) => return Err(damaged(Damage("a sketch is no blob"))),
    };
    let seen = (row.get(9)?, row.get(10)?, row.get(11)?);
    Ok(Rollup {
        start: Timestamp::from_micros(row.get::<_, i64>(0)?.saturating_mul(span.micros())),
        count: unsigned(1)?,
        valued: unsigned(2)?,
        min: number(3, f64::INFINITY)?,
        max: number(4, f64::NEG_INFINITY)?,
        sum: number(5, 0.0)?,
        m2: number(6, 0.0)?,
        first: number(7, 0.0)?,
        last: number(8, 0.0)?,
        seen: Seen::from_columns(seen),
        sketch,
    })
}

pub(super) fn put(
    connection: &Connection,
    sensor: SensorId,
    span: Span,
    rollup: &Rollup,
) -> Result<(), ChunkError> {
    let (table, column) = span.names();
    let sql = format!(
        "INSERT OR REPLACE INTO {table} (sensor_id, {column}, {COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    );
    let some = |number: f64| Some(number).filter(|_| rollup.valued > 0);
    let (first_at, last_at, quality) = Seen::to_columns(rollup.seen);
    connection.prepare_cached(&sql)?.execute(params![
        sensor.0,
        span.of(rollup.start.as_micros()),
        rollup.count as i64,
        rollup.valued as i64,
        some(rollup.min),
        some(rollup.max),
        some(rollup.sum),
        some(rollup.m2),
        some(rollup.first),
        some(rollup.last),
        first_at,
        last_at,
        quality,
        Some(rollup.sketch.to_bytes()).filter(|_| rollup.valued > 0)
    ])?;
    Ok(())
}

/// Deletes some of the roll-ups of spans from the first number on, before the second.
pub(super) fn delete(
    connection: &Connection,
    sensor: SensorId,
    span: Span,
    (from, to): (i64, i64),
    most: i64,
) -> Result<usize, ChunkError> {
    let (table, column) = span.names();
    let sql = format!(
        "DELETE FROM {table} WHERE sensor_id = ?1 AND {column} IN (SELECT {column} FROM {table} \
         WHERE sensor_id = ?1 AND {column} >= ?2 AND {column} < ?3 LIMIT ?4)"
    );
    Ok(connection.prepare_cached(&sql)?.execute(params![sensor.0, from, to, most])?)
}

/// The spans that have a roll-up, from the first number on, before the second; the first `most`.
pub(super) fn numbers(
    connection: &Connection,
    sensor: SensorId,
    span: Span,
    (from, to): (i64, i64),
    most: i64,
) -> Result<BTreeSet<i64>, ChunkError> {
    let (table, column) = span.names();
    let sql = format!(
        "SELECT {column} FROM {table} WHERE sensor_id = ?1 AND {column} >= ?2 AND {column} < ?3 \
         ORDER BY {column} LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![sensor.0, from, to, most], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
