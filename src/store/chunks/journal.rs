//! The journal: a row a commit, with the readings of its batch as JSON, so that people can read it.
//!
//! After a crash the tail is built from it: what a sensor's `moved_seq` says is in chunks is passed
//! over, what was deleted since is left out.

use std::{collections::HashMap, fmt::Write};

use rusqlite::{Connection, params};

use super::{ChunkError, Damage, Sample, tail::Tail};
use crate::telemetry::{Quality, SensorId, Timestamp};

const INSERT: &str = "INSERT INTO reading_journal (seq, base_time, rows) VALUES (?1, ?2, ?3)";
const ROWS: &str = "SELECT seq, base_time, rows FROM reading_journal ORDER BY seq";
const LAST: &str = "SELECT max(coalesce((SELECT max(seq) FROM reading_journal), 0), \
    coalesce((SELECT max(moved_seq) FROM reading_series), 0), \
    coalesce((SELECT max(seq) FROM reading_erasure), 0))";
const MOVED: &str = "SELECT sensor_id, moved_seq FROM reading_series \
    WHERE moved_seq >= (SELECT min(seq) FROM reading_journal)";
const ERASED: &str = "SELECT sensor_id, seq, from_time, to_time FROM reading_erasure";
/// A step deletes so many rows.
pub(super) const DELETE_STEP: i64 = 64;
const DELETE: &str = "DELETE FROM reading_journal WHERE seq IN \
    (SELECT seq FROM reading_journal WHERE seq < ?1 ORDER BY seq LIMIT ?2)";
const DELETE_ERASURES: &str = "DELETE FROM reading_erasure WHERE seq < ?1";

/// Writes the readings of a batch.
pub(super) fn write(
    connection: &Connection,
    seq: i64,
    readings: &[(SensorId, Sample)],
) -> Result<(), ChunkError> {
    let base = readings.first().map_or(0, |(_, sample)| sample.event_time.as_micros());
    let text = to_text(base, readings);
    connection.prepare_cached(INSERT)?.execute(params![seq, base, text])?;
    Ok(())
}

pub(super) fn to_text(base: i64, readings: &[(SensorId, Sample)]) -> String {
    let mut text = String::with_capacity(readings.len() * 32 + 2);
    text.push('[');
    for (at, (sensor, sample)) in readings.iter().enumerate() {
        let event = sample.event_time.as_micros() - base;
        let lag = sample.received_at.micros_since(sample.event_time);
        text.push_str(if at == 0 { "[" } else { ",[" });
        // Writing to a string does not fail.
        let _ = write!(text, "{},{event},{lag},", sensor.0);
        match sample.value {
            None => text.push_str("null"),
            Some(value) if value.is_finite() => {
                let _ = write!(text, "{value:?}");
            }
            // JSON has no word for it, and this reads back as it.
            Some(value) => text.push_str(if value > 0.0 { "9e999" } else { "-9e999" }),
        }
        if sample.quality != Quality::Good {
            let _ = write!(text, ",{}", sample.quality.code());
        }
        text.push(']');
    }
    text.push(']');
    text
}

pub(super) fn from_text(base: i64, text: &str) -> Result<Vec<(SensorId, Sample)>, Damage> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.ok_or(Damage("it is no list"))?;
    inner.split_terminator(']').map(|row| reading(base, row)).collect()
}

fn reading(base: i64, row: &str) -> Result<(SensorId, Sample), Damage> {
    const DAMAGE: Damage = Damage("a reading is not one");
    let row = row.strip_prefix(',').unwrap_or(row).strip_prefix('[').ok_or(DAMAGE)?;
    let mut fields = row.split(',');
    let mut number = || fields.next().and_then(|field| field.parse::<i64>().ok()).ok_or(DAMAGE);
    let (sensor, event, lag) = (number()?, number()?, number()?);
    let value = match fields.next().ok_or(DAMAGE)? {
        "null" => None,
        value => Some(value.parse::<f64>().map_err(|_| DAMAGE)?),
    };
    let quality = match fields.next() {
        None => Quality::Good,
        Some(code) => Quality::from_code(code.parse().map_err(|_| DAMAGE)?),
    };
    let event_time = Timestamp::from_micros(base.saturating_add(event));
    let received_at = event_time.plus_micros(lag);
    match fields.next() {
        None => Ok((SensorId(sensor), Sample { event_time, received_at, value, quality })),
        Some(_) => Err(DAMAGE),
    }
}

/// What is deleted of the journal's readings, and what of them is in chunks.
struct Gone {
    moved: HashMap<SensorId, i64>,
    erased: HashMap<SensorId, Vec<(i64, i64, i64)>>,
}

impl Gone {
    fn load(connection: &Connection) -> Result<Self, ChunkError> {
        let mut statement = connection.prepare(MOVED)?;
        let rows = statement.query_map([], |row| Ok((SensorId(row.get(0)?), row.get(1)?)))?;
        let moved = rows.collect::<Result<_, _>>()?;
        let mut erased: HashMap<_, Vec<_>> = HashMap::new();
        let mut statement = connection.prepare(ERASED)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let range = (row.get(1)?, row.get(2)?, row.get(3)?);
            erased.entry(SensorId(row.get(0)?)).or_default().push(range);
        }
        Ok(Self { moved, erased })
    }

    fn has(&self, seq: i64, sensor: SensorId, sample: &Sample) -> bool {
        let time = sample.event_time.as_micros();
        self.moved.get(&sensor).is_some_and(|moved| seq <= *moved)
            || self.erased.get(&sensor).is_some_and(|ranges| {
                ranges.iter().any(|(upto, from, to)| seq <= *upto && *from <= time && time < *to)
            })
    }
}

/// Builds the tail.
pub(super) fn replay(connection: &Connection) -> Result<Tail, ChunkError> {
    let mut tail = Tail::new(connection.query_row(LAST, [], |row| row.get(0))?);
    let gone = Gone::load(connection)?;
    for_each_row(connection, |seq, readings| {
        let mut readings = readings.map_err(|source| ChunkError::Journal { seq, source })?;
        readings.retain(|(sensor, sample)| !gone.has(seq, *sensor, sample));
        tail.adopt(seq, &readings);
        Ok(())
    })?;
    Ok(tail)
}

/// Every row with what it says.
pub(super) fn for_each_row(
    connection: &Connection,
    mut seen: impl FnMut(i64, Result<Vec<(SensorId, Sample)>, Damage>) -> Result<(), ChunkError>,
) -> Result<(), ChunkError> {
    let mut statement = connection.prepare(ROWS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, base): (i64, i64) = (row.get(0)?, row.get(1)?);
        let text = row.get_ref(2)?.as_str().map_err(|_| Damage("it is no text"));
        seen(seq, text.and_then(|text| from_text(base, text)))?;
    }
    Ok(())
}

/// Every row with what of it is neither in chunks nor deleted.
pub(super) fn for_each_waiting(
    connection: &Connection,
    mut seen: impl FnMut(i64, Result<Vec<(SensorId, Sample)>, Damage>) -> Result<(), ChunkError>,
) -> Result<(), ChunkError> {
    let gone = Gone::load(connection)?;
    for_each_row(connection, |seq, mut readings| {
        if let Ok(readings) = &mut readings {
            readings.retain(|(sensor, sample)| !gone.has(seq, *sensor, sample));
        }
        seen(seq, readings)
    })
}

/// Deletes some of the rows before `seq`. `true`: none are left.
pub(super) fn delete_before(connection: &Connection, seq: i64) -> Result<bool, ChunkError> {
    let deleted = connection.prepare_cached(DELETE)?.execute(params![seq, DELETE_STEP])?;
    if (deleted as i64) < DELETE_STEP {
        connection.prepare_cached(DELETE_ERASURES)?.execute([seq])?;
        return Ok(true);
    }
    Ok(false)
}
