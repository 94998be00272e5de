//! Chunks as rows, and what is kept of a series beside them.

use std::{collections::VecDeque, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{ChunkError, Readings, Sample, chunk::Chunk, chunk::encode};
use crate::telemetry::{Quality, SensorId, Timestamp};

const META: &str = "id, first_time, last_time, min_received, max_received, count";
const LAST_TIME: &str =
    "SELECT last_time FROM reading_chunk WHERE sensor_id = ?1 ORDER BY first_time DESC LIMIT 1";
const DATA: &str = "SELECT data FROM reading_chunk WHERE id = ?1";
const INSERT: &str = "INSERT INTO reading_chunk (id, sensor_id, first_time, last_time, \
    min_received, max_received, count, low, high, data) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const SERIES: &str = "SELECT moved_seq, rolled_upto, raw_from, hours_from, newest_time, \
    newest_received, newest_value, newest_quality FROM reading_series WHERE sensor_id = ?1";
const PUT_SERIES: &str = "INSERT OR REPLACE INTO reading_series (sensor_id, moved_seq, \
    rolled_upto, raw_from, hours_from, newest_time, newest_received, newest_value, \
    newest_quality) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// A chunk's place, without its readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) id: i64,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    pub(super) min_received: i64,
    pub(super) max_received: i64,
    pub(super) count: usize,
}

impl Meta {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            first_time: row.get(1)?,
            last_time: row.get(2)?,
            min_received: row.get(3)?,
            max_received: row.get(4)?,
            count: usize::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
        })
    }
}

/// A chunk to be written.
pub(super) struct NewChunk {
    pub(super) meta: Meta,
    low: Option<f64>,
    high: Option<f64>,
    data: Vec<u8>,
}

impl NewChunk {
    /// `samples` are in order and not none.
    pub(super) fn new(id: i64, samples: &[Sample]) -> Self {
        let time = |sample: Option<&Sample>| sample.map_or(0, |s| s.event_time.as_micros());
        let received = || samples.iter().map(|sample| sample.received_at.as_micros());
        let meta = Meta {
            id,
            first_time: time(samples.first()),
            last_time: time(samples.last()),
            min_received: received().min().unwrap_or(0),
            max_received: received().max().unwrap_or(0),
            count: samples.len(),
        };
        let (low, high) = value_range(samples).unzip();
        Self { meta, low, high, data: encode(samples) }
    }

    pub(super) fn insert(
        &self,
        connection: &Connection,
        sensor: SensorId,
    ) -> Result<(), ChunkError> {
        let Meta { id, first_time, last_time, min_received, max_received, count } = self.meta;
        connection.prepare_cached(INSERT)?.execute(params![
            id,
            sensor.0,
            first_time,
            last_time,
            min_received,
            max_received,
            count as i64,
            self.low,
            self.high,
            self.data
        ])?;
        Ok(())
    }
}

/// The range of values, those of bad quality left out.
pub(super) fn value_range(samples: &[Sample]) -> Option<(f64, f64)> {
    let usable = samples.iter().filter(|sample| sample.quality != Quality::Bad);
    usable.filter_map(|sample| sample.value).fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

pub(super) fn delete(connection: &Connection, id: i64) -> Result<(), ChunkError> {
    connection.prepare_cached("DELETE FROM reading_chunk WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub(super) fn last_time(
    connection: &Connection,
    sensor: SensorId,
) -> Result<Option<i64>, ChunkError> {
    let mut statement = connection.prepare_cached(LAST_TIME)?;
    Ok(statement.query_row([sensor.0], |row| row.get(0)).optional()?)
}

/// The chunks that may have readings with event times from the first on, before the second; in order.
pub(super) fn metas(
    connection: &Connection,
    sensor: SensorId,
    from: i64,
    to: i64,
) -> Result<Vec<Meta>, ChunkError> {
    let sql = format!(
        "SELECT {META} FROM reading_chunk WHERE sensor_id = ?1 AND first_time >= \
         coalesce((SELECT max(first_time) FROM reading_chunk WHERE sensor_id = ?1 \
         AND first_time <= ?2), ?2) AND first_time < ?3 AND last_time >= ?2 ORDER BY first_time"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![sensor.0, from, to], Meta::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A sensor's last chunks while each has fewer than `count` readings, at most `most`; in order.
pub(super) fn last_metas(
    connection: &Connection,
    sensor: SensorId,
    count: usize,
    most: usize,
) -> Result<Vec<Meta>, ChunkError> {
    let sql = format!(
        "SELECT {META} FROM reading_chunk WHERE sensor_id = ?1 ORDER BY first_time DESC LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![sensor.0, most as i64])?;
    let mut metas = Vec::new();
    while let Some(row) = rows.next()? {
        let meta = Meta::from_row(row)?;
        if meta.count >= count {
            break;
        }
        metas.push(meta);
    }
    metas.reverse();
    Ok(metas)
}

/// Reads a chunk through `read`.
pub(super) fn with_chunk<T>(
    connection: &Connection,
    sensor: SensorId,
    id: i64,
    read: impl FnOnce(&Chunk<'_>) -> Result<T, super::Damage>,
) -> Result<T, ChunkError> {
    let mut statement = connection.prepare_cached(DATA)?;
    let mut rows = statement.query([id])?;
    let damaged = |source| ChunkError::Chunk { id, sensor, source };
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let data = row.get_ref(0)?.as_blob().map_err(|_| damaged(super::Damage("it is no blob")))?;
    Chunk::parse(data).and_then(|chunk| read(&chunk)).map_err(damaged)
}

pub(super) fn load(
    connection: &Connection,
    sensor: SensorId,
    id: i64,
) -> Result<Vec<Sample>, ChunkError> {
    with_chunk(connection, sensor, id, |chunk| chunk.decode())
}

/// What is kept of a sensor beside its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Series {
    pub(super) moved_seq: i64,
    pub(super) rolled_upto: Option<i64>,
    pub(super) raw_from: Option<i64>,
    pub(super) hours_from: Option<i64>,
    pub(super) newest: Option<Sample>,
}

impl Series {
    pub(super) fn load(connection: &Connection, sensor: SensorId) -> Result<Self, ChunkError> {
        let mut statement = connection.prepare_cached(SERIES)?;
        let found = statement.query_row([sensor.0], |row| {
            let newest = match (row.get(4)?, row.get::<_, Option<i64>>(5)?) {
                (Some(time), Some(received)) => Some(Sample {
                    event_time: Timestamp::from_micros(time),
                    received_at: Timestamp::from_micros(received),
                    value: row.get(6)?,
                    quality: Quality::from_code(row.get(7)?),
                }),
                _ => None,
            };
            Ok(Self {
                moved_seq: row.get(0)?,
                rolled_upto: row.get(1)?,
                raw_from: row.get(2)?,
                hours_from: row.get(3)?,
                newest,
            })
        });
        Ok(found.optional()?.unwrap_or_default())
    }

    pub(super) fn put(&self, connection: &Connection, sensor: SensorId) -> Result<(), ChunkError> {
        let newest = self.newest;
        connection.prepare_cached(PUT_SERIES)?.execute(params![
            sensor.0,
            self.moved_seq,
            self.rolled_upto,
            self.raw_from,
            self.hours_from,
            newest.map(|sample| sample.event_time.as_micros()),
            newest.map(|sample| sample.received_at.as_micros()),
            newest.and_then(|sample| sample.value),
            newest.map(|sample| sample.quality.code())
        ])?;
        Ok(())
    }
}

/// Chunks that were looked into last, decoded. A chunk's row never changes, so neither does this.
#[derive(Default)]
pub(super) struct Cache(VecDeque<(i64, Arc<Vec<Sample>>)>);

/// About ten megabytes.
const CACHED: usize = 32;

impl Cache {
    pub(super) fn get(&mut self, id: i64) -> Option<Arc<Vec<Sample>>> {
        let at = self.0.iter().position(|(cached, _)| *cached == id)?;
        let found = self.0.remove(at)?;
        let samples = found.1.clone();
        self.0.push_front(found);
        Some(samples)
    }

    fn put(&mut self, id: i64, samples: Arc<Vec<Sample>>) {
        self.0.push_front((id, samples));
        self.0.truncate(CACHED);
    }
}

impl Readings {
    /// The reading that a chunk has under a key.
    pub(super) fn find_in_chunks(
        &self,
        connection: &Connection,
        sensor: SensorId,
        time: Timestamp,
    ) -> Result<Option<Sample>, ChunkError> {
        let micros = time.as_micros();
        let Some(meta) = metas(connection, sensor, micros, micros.saturating_add(1))?.pop() else {
            return Ok(None);
        };
        let samples = match self.remembered(meta.id) {
            Some(samples) => samples,
            None => {
                let samples = Arc::new(load(connection, sensor, meta.id)?);
                self.cache.lock().put(meta.id, samples.clone());
                samples
            }
        };
        let at = samples.binary_search_by_key(&time, |sample| sample.event_time).ok();
        Ok(at.and_then(|at| samples.get(at)).copied())
    }
}

/// The last chunk that begins at a time or before.
pub(super) fn meta_before(
    connection: &Connection,
    sensor: SensorId,
    time: i64,
) -> Result<Option<Meta>, ChunkError> {
    let sql = format!(
        "SELECT {META} FROM reading_chunk WHERE sensor_id = ?1 AND first_time <= ?2 \
         ORDER BY first_time DESC LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![sensor.0, time], Meta::from_row).optional()?)
}

/// The first chunk that begins after a time.
pub(super) fn meta_after(
    connection: &Connection,
    sensor: SensorId,
    time: i64,
) -> Result<Option<Meta>, ChunkError> {
    let sql = format!(
        "SELECT {META} FROM reading_chunk WHERE sensor_id = ?1 AND first_time > ?2 \
         ORDER BY first_time LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![sensor.0, time], Meta::from_row).optional()?)
}

/// The range of a chunk's values, those of bad quality left out.
pub(super) fn low_and_high(
    connection: &Connection,
    id: i64,
) -> Result<Option<(f64, f64)>, ChunkError> {
    let sql = "SELECT low, high FROM reading_chunk WHERE id = ?1";
    let row = |row: &Row<'_>| Ok((row.get::<_, Option<f64>>(0)?, row.get::<_, Option<f64>>(1)?));
    let (low, high) = connection.prepare_cached(sql)?.query_row([id], row)?;
    Ok(low.zip(high))
}
