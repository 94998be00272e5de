//! Whether what is stored holds together: every chunk, every roll-up, the journal.

use rusqlite::Connection;

use super::{
    ChunkError, Rollup, Sample,
    hours::{self, Span},
    journal, minutes,
    rollup::{DAY, HOUR, by_span},
    table::{self, Meta, NewChunk, Series},
};
use crate::telemetry::{SensorId, Timestamp};

/// More are counted, not told.
const FINDINGS_MAX: usize = 1_000;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub sensor: Option<SensorId>,
    /// Else roll-ups, which are made of them.
    pub is_of_readings: bool,
    pub what: String,
}

#[derive(Debug, Default)]
pub struct Verified {
    pub chunks: u64,
    /// In chunks, and in the journal where they are not in chunks.
    pub readings: u64,
    pub journal_rows: u64,
    pub findings: Vec<Finding>,
    /// Findings that are not told.
    pub more: u64,
}

impl Verified {
    /// Of readings.
    fn note(&mut self, sensor: Option<SensorId>, what: String) {
        self.add(Finding { sensor, what, is_of_readings: true });
    }

    fn note_rollup(&mut self, sensor: SensorId, what: String) {
        self.add(Finding { sensor: Some(sensor), what, is_of_readings: false });
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Looks at everything, at one moment if the connection is in a transaction.
///
/// # Errors
/// When the database does not answer; damage is a finding.
pub fn verify(connection: &Connection) -> Result<Verified, ChunkError> {
    let mut verified = Verified::default();
    let sensors = "SELECT sensor_id FROM reading_series UNION SELECT sensor_id FROM reading_chunk \
        UNION SELECT sensor_id FROM reading_hour UNION SELECT sensor_id FROM reading_day \
        UNION SELECT sensor_id FROM reading_minute";
    let mut statement = connection.prepare(sensors)?;
    let sensors = statement.query_map([], |row| row.get(0))?;
    for sensor in sensors {
        let sensor = SensorId(sensor?);
        match verify_sensor(connection, sensor, &mut verified) {
            Err(error @ ChunkError::Rollup { source, .. }) => {
                verified.note_rollup(sensor, format!("{error}: {source}"));
            }
            looked => looked?,
        }
    }
    journal::for_each_waiting(connection, |seq, readings| {
        verified.journal_rows += 1;
        match readings {
            Ok(readings) => verified.readings += readings.len() as u64,
            Err(damage) => verified.note(None, format!("journal row {seq}: {damage}")),
        }
        Ok(())
    })?;
    Ok(verified)
}

fn verify_sensor(
    connection: &Connection,
    sensor: SensorId,
    verified: &mut Verified,
) -> Result<(), ChunkError> {
    let series = Series::load(connection, sensor)?;
    let raw_from = series.raw_from.unwrap_or(i64::MIN);
    let rolled = series.rolled_upto.unwrap_or(i64::MIN);
    let mut made: Vec<Rollup> = Vec::new();
    let mut is_readable = true;
    let mut newest: Option<Sample> = None;
    let mut last_time = None;
    for meta in table::metas(connection, sensor, i64::MIN, i64::MAX)? {
        verified.chunks += 1;
        if last_time.is_some_and(|last| meta.first_time <= last) {
            let what = format!("chunk {}, {}, overlaps the one before", meta.id, times(&meta));
            verified.note(Some(sensor), what);
        }
        last_time = Some(meta.last_time);
        let samples = match table::load(connection, sensor, meta.id) {
            Ok(samples) => samples,
            Err(ChunkError::Chunk { id, source, .. }) => {
                let what = format!("chunk {id}, {}: {source}", times(&meta));
                verified.note(Some(sensor), what);
                is_readable = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        verified.readings += samples.len() as u64;
        compare_row(connection, sensor, &meta, &samples, verified)?;
        newest = samples.last().copied();
        let is_rolled = |sample: &&Sample| sample.event_time.as_micros() < rolled;
        let some: Vec<Sample> = samples.iter().filter(is_rolled).copied().collect();
        for hour in by_span(&some, HOUR) {
            match made.last_mut().filter(|last| last.start == hour.start) {
                Some(last) => {
                    last.merge(&hour);
                    last.last = if hour.valued > 0 { hour.last } else { last.last };
                }
                None => made.push(hour),
            }
        }
    }
    if is_readable {
        made.retain(|hour| hour.start.as_micros() >= raw_from);
        compare_hours(connection, sensor, (raw_from, rolled), &made, verified)?;
        compare_days(connection, sensor, &series, verified)?;
        let key = |sample: &Sample| sample.event_time;
        if newest.as_ref().map(key) != series.newest.as_ref().map(key) {
            verified.note(Some(sensor), "its newest reading is another".to_owned());
        }
    }
    match minutes::check(connection, sensor) {
        Ok(true) => {}
        Ok(false) => verified.note_rollup(sensor, "minutes are out of their range".to_owned()),
        Err(ChunkError::Rollup { source, .. }) => verified.note_rollup(sensor, source.to_string()),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What a chunk's row says of the times in it.
fn times(meta: &Meta) -> String {
    let at = Timestamp::from_micros;
    format!("{} to {}", at(meta.first_time), at(meta.last_time))
}

fn compare_row(
    connection: &Connection,
    sensor: SensorId,
    meta: &Meta,
    samples: &[Sample],
    verified: &mut Verified,
) -> Result<(), ChunkError> {
    let same = NewChunk::new(meta.id, samples).meta == *meta;
    let range = table::low_and_high(connection, meta.id)?;
    if !same || range != table::value_range(samples) {
        let times = times(meta);
        let what = format!("chunk {}, {times}, has other readings than its row says", meta.id);
        verified.note(Some(sensor), what);
    }
    Ok(())
}

fn compare_hours(
    connection: &Connection,
    sensor: SensorId,
    (raw_from, rolled): (i64, i64),
    made: &[Rollup],
    verified: &mut Verified,
) -> Result<(), ChunkError> {
    let range = (raw_from.div_euclid(HOUR), i64::MAX);
    let stored = hours::between(connection, sensor, Span::Hour, range)?;
    let is_beyond = |hour: &Rollup| hour.start.as_micros() >= rolled;
    if stored.iter().any(is_beyond) {
        verified.note_rollup(sensor, "an hour is rolled up before its time".to_owned());
    }
    compare(sensor, "hour", &stored, made, verified);
    Ok(())
}

/// Days against their hours.
fn compare_days(
    connection: &Connection,
    sensor: SensorId,
    series: &Series,
    verified: &mut Verified,
) -> Result<(), ChunkError> {
    let hours_from = series.hours_from.unwrap_or(i64::MIN);
    let rolled = series.rolled_upto.unwrap_or(i64::MIN).div_euclid(DAY);
    let range = (hours_from.div_euclid(HOUR), i64::MAX);
    let mut made: Vec<Rollup> = Vec::new();
    for hour in hours::between(connection, sensor, Span::Hour, range)? {
        let day = hour.start.as_micros().div_euclid(DAY);
        let start = Timestamp::from_micros(day * DAY);
        if day >= rolled {
            break;
        }
        if made.last().is_none_or(|last| last.start != start) {
            made.push(Rollup::new(start));
        }
        if let Some(last) = made.last_mut() {
            last.merge(&hour);
            last.last = if hour.valued > 0 { hour.last } else { last.last };
        }
    }
    let range = (hours_from.div_euclid(DAY), i64::MAX);
    let stored = hours::between(connection, sensor, Span::Day, range)?;
    compare(sensor, "day", &stored, &made, verified);
    Ok(())
}

fn compare(
    sensor: SensorId,
    span: &str,
    stored: &[Rollup],
    made: &[Rollup],
    verified: &mut Verified,
) {
    if stored.len() != made.len() {
        let what = format!("{} roll-ups by {span}, {} expected", stored.len(), made.len());
        verified.note_rollup(sensor, what);
        return;
    }
    for (stored, made) in stored.iter().zip(made) {
        let is_near = |a: f64, b: f64| (a - b).abs() <= (a.abs() + b.abs()) * 1e-6 || a == b;
        let is_same = stored.start == made.start
            && (stored.count, stored.valued) == (made.count, made.valued)
            && (made.valued == 0 || stored.min == made.min && stored.max == made.max)
            // Infinite values of both signs have no sum.
            && (!made.sum.is_finite() || is_near(stored.sum, made.sum))
            && stored.sketch == made.sketch
            // It may be older than what is kept.
            && (stored.seen.is_none() || stored.seen == made.seen);
        if !is_same {
            let what = format!("the roll-up of the {span} {} is wrong", made.start);
            verified.note_rollup(sensor, what);
        }
    }
}
