//! What is kept of dropped raw readings by minute: statistics in columns, one blob for each chunk.

use rusqlite::{Connection, params};

use super::{
    ChunkError, Damage, Rollup, Sketch,
    bits::{Input, put_unsigned},
    column::{put_values, put_whole_numbers, values, whole_numbers},
    rollup::MINUTE,
};
use crate::telemetry::{SensorId, Timestamp};

const VERSION: u8 = 1;
/// More minutes than a blob has: a chunk has no more readings.
const MINUTES_MAX: usize = 1 << 20;
const BETWEEN: &str = "SELECT id, first_time, last_time, data FROM reading_minute \
    WHERE sensor_id = ?1 AND first_time < ?3 AND last_time >= ?2 ORDER BY first_time";
const INSERT: &str = "INSERT INTO reading_minute (sensor_id, first_time, last_time, data) \
    VALUES (?1, ?2, ?3, ?4)";

/// Blobs that go and come.
#[derive(Default)]
pub(super) struct MinuteChanges {
    removed: Vec<i64>,
    added: Vec<Vec<Rollup>>,
}

struct Stored {
    id: i64,
    first_time: i64,
    last_time: i64,
    minutes: Vec<Rollup>,
}

impl MinuteChanges {
    pub(super) fn add(&mut self, minutes: Vec<Rollup>) {
        if !minutes.is_empty() {
            self.added.push(minutes);
        }
    }

    /// Takes out the minutes that lie in a range.
    pub(super) fn erase(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
        (from, to): (i64, i64),
    ) -> Result<(), ChunkError> {
        for mut stored in load(connection, sensor, (from, to))? {
            self.removed.push(stored.id);
            stored.minutes.retain(|minute| {
                let start = minute.start.as_micros();
                start < from || start.saturating_add(MINUTE) > to
            });
            self.add(stored.minutes);
        }
        Ok(())
    }

    pub(super) fn apply(
        &self,
        connection: &Connection,
        sensor: SensorId,
    ) -> Result<(), ChunkError> {
        for id in &self.removed {
            connection.prepare_cached("DELETE FROM reading_minute WHERE id = ?1")?.execute([id])?;
        }
        for minutes in &self.added {
            let time = |minute: Option<&Rollup>| minute.map_or(0, |m| m.start.as_micros());
            let (first, last) = (time(minutes.first()), time(minutes.last()));
            let last = last.saturating_add(MINUTE - 1);
            let values = params![sensor.0, first, last, encode(minutes)];
            connection.prepare_cached(INSERT)?.execute(values)?;
        }
        Ok(())
    }
}

/// The minutes that begin in a range, in order; two for a minute that two chunks had.
pub(super) fn between(
    connection: &Connection,
    sensor: SensorId,
    (from, to): (i64, i64),
) -> Result<Vec<Rollup>, ChunkError> {
    let stored = load(connection, sensor, (from, to))?;
    let mut minutes: Vec<Rollup> = stored.into_iter().flat_map(|stored| stored.minutes).collect();
    minutes.retain(|minute| (from..to).contains(&minute.start.as_micros()));
    Ok(minutes)
}

/// Whether every blob can be read and says what its row says.
pub(super) fn check(connection: &Connection, sensor: SensorId) -> Result<bool, ChunkError> {
    let all = load(connection, sensor, (i64::MIN, i64::MAX))?;
    Ok(all.iter().all(|stored| {
        let within = |minute: &Rollup| {
            (stored.first_time..=stored.last_time).contains(&minute.start.as_micros())
        };
        stored.minutes.iter().all(within)
    }))
}

fn load(
    connection: &Connection,
    sensor: SensorId,
    (from, to): (i64, i64),
) -> Result<Vec<Stored>, ChunkError> {
    let mut statement = connection.prepare_cached(BETWEEN)?;
    let mut rows = statement.query(params![sensor.0, from, to])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let damaged = |source| ChunkError::Rollup { sensor, source };
        let data = row.get_ref(3)?.as_blob().map_err(|_| damaged(Damage("minutes are no blob")))?;
        found.push(Stored {
            id: row.get(0)?,
            first_time: row.get(1)?,
            last_time: row.get(2)?,
            minutes: decode(data).map_err(damaged)?,
        });
    }
    Ok(found)
}

fn encode(minutes: &[Rollup]) -> Vec<u8> {
    let mut body = Vec::new();
    put_unsigned(&mut body, minutes.len() as u64);
    let numbers: [fn(&Rollup) -> i64; 3] = [
        |minute| minute.start.as_micros().div_euclid(MINUTE),
        |minute| minute.count as i64,
        |minute| minute.valued as i64,
    ];
    for number in numbers {
        put_whole_numbers(&mut body, &minutes.iter().map(number).collect::<Vec<_>>());
    }
    let values: [fn(&Rollup) -> f64; 6] = [
        |minute| minute.min,
        |minute| minute.max,
        |minute| minute.first,
        |minute| minute.last,
        short_sum,
        // Good to seven digits, which is enough for a spread.
        |minute| f64::from(minute.m2 as f32),
    ];
    let valued: Vec<&Rollup> = minutes.iter().filter(|minute| minute.valued > 0).collect();
    for value in values {
        put_values(&mut body, &valued.iter().map(|minute| value(minute)).collect::<Vec<_>>());
    }
    let mut blob = vec![VERSION];
    blob.extend(crc32fast::hash(&body).to_le_bytes());
    blob.append(&mut body);
    blob
}

/// The sum without what adding up made of its last digits: values rarely have more than six places.
fn short_sum(minute: &Rollup) -> f64 {
    let short = (minute.sum * 1e6).round() / 1e6;
    let is_near = (short - minute.sum).abs() <= minute.sum.abs() * 1e-12;
    if is_near { short } else { minute.sum }
}

fn decode(blob: &[u8]) -> Result<Vec<Rollup>, Damage> {
    let mut input = Input::new(blob);
    if input.byte()? != VERSION {
        return Err(Damage("minutes have an unknown version"));
    }
    let sum: [u8; 4] = input.take(4)?.try_into().map_err(|_| Damage("it ends too early"))?;
    if crc32fast::hash(input.rest()) != u32::from_le_bytes(sum) {
        return Err(Damage("the checksum of minutes is wrong"));
    }
    let count = input.count(MINUTES_MAX)?;
    let mut numbers = || whole_numbers(&mut input, count);
    let (starts, counts, valued) = (numbers()?, numbers()?, numbers()?);
    let some = valued.iter().filter(|valued| **valued > 0).count();
    let mut columns = Vec::new();
    for _ in 0..6 {
        columns.push(values(&mut input, some)?.into_iter());
    }
    let rows = starts.into_iter().zip(counts).zip(valued);
    let minutes = rows.map(|((start, count), valued)| {
        let start = Timestamp::from_micros(start.saturating_mul(MINUTE));
        let mut minute = Rollup { count: unsigned(count), ..Rollup::new(start) };
        if valued > 0 {
            let mut next = columns.iter_mut().map(|column| column.next().unwrap_or(0.0));
            let mut value = || next.next().unwrap_or(0.0);
            minute.valued = unsigned(valued);
            (minute.min, minute.max) = (value(), value());
            (minute.first, minute.last) = (value(), value());
            (minute.sum, minute.m2) = (value(), value());
            minute.sketch = Sketch::default();
        }
        minute
    });
    Ok(minutes.collect())
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
