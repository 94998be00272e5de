//! A SQLite file as it is at one moment, beside whoever writes to it.

use std::{collections::BTreeSet, path::Path};

use rusqlite::Connection;

use super::{
    MoveError, PIECE, READINGS, Sink, Source, refuse_unfinished_file,
    tables::{READING, STALE, Table},
};
use crate::{
    store::{
        Engine, Order, StoreError,
        chunks::{ChunkSettings, Readings},
        engine::{Row, Value, quoted},
        schema,
        verify::open_file,
    },
    telemetry::{SensorId, Timestamp},
};

const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";
const NUMBERS: &str = "SELECT name, seq FROM sqlite_sequence";

pub(super) struct FileSource {
    connection: Connection,
    readings: Readings,
    tables: BTreeSet<String>,
}

impl FileSource {
    pub(super) fn open(path: &Path) -> Result<Self, MoveError> {
        refuse_unfinished_file(&open_file(path)?)?;
        Self::open_marked(path)
    }

    /// Begins a read transaction, which lasts as long as this. The mark may be there.
    pub(super) fn open_marked(path: &Path) -> Result<Self, MoveError> {
        let connection = open_file(path)?;
        connection.execute_batch("BEGIN").map_err(StoreError::from)?;
        let applied = schema::applied(&connection)?;
        schema::refuse_newer(&applied)?;
        schema::refuse_older(&applied)?;
        let tables = tables(&connection)?;
        if tables.contains(READING) {
            let why = "its readings are not in chunks yet: start Brooklet on it once";
            return Err(StoreError::Unavailable(why.to_owned()).into());
        }
        let readings = Readings::open(&connection, ChunkSettings::default());
        let readings = readings.map_err(StoreError::from)?;
        Ok(Self { connection, readings, tables })
    }

    fn pour_readings(&self, sink: &mut dyn Sink) -> Result<(), MoveError> {
        let reader = self.readings.reader(&self.connection);
        for sensor in reader.sensors().map_err(StoreError::from)? {
            let mut from = i64::MIN;
            loop {
                let range = (Timestamp::from_micros(from), Timestamp::from_micros(i64::MAX));
                let samples = reader.scan(sensor, range, Order::Ascending, READINGS);
                let samples = samples.map_err(StoreError::from)?;
                let Some(last) = samples.last() else { break };
                from = last.event_time.as_micros().saturating_add(1);
                sink.readings(sensor, &samples)?;
                if samples.len() < READINGS {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl FileSource {
    /// What is in memory here comes into chunks there, and is in no roll-up yet.
    fn pour_stale(&self, table: &'static Table, sink: &mut dyn Sink) -> Result<(), MoveError> {
        let reader = self.readings.reader(&self.connection);
        let hours = reader.stale_hours().map_err(StoreError::from)?;
        let row = |(sensor, hour): (SensorId, i64)| vec![Value::Int(sensor.0), Value::Int(hour)];
        let mut rows = hours.into_iter().map(row).collect::<Vec<_>>();
        if rows.is_empty() { Ok(()) } else { sink.rows(table, &mut rows) }
    }
}

pub(super) fn tables(connection: &Connection) -> Result<BTreeSet<String>, StoreError> {
    let mut statement = connection.prepare(TABLES)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

impl Source for FileSource {
    fn has(&self, table: &Table) -> bool {
        [READING, STALE].contains(&table.name) || self.tables.contains(table.name)
    }

    fn pour(&mut self, table: &'static Table, sink: &mut dyn Sink) -> Result<(), MoveError> {
        if table.name == READING {
            return self.pour_readings(sink);
        }
        if table.name == STALE {
            self.pour_stale(table, sink)?;
            if !self.tables.contains(STALE) {
                return Ok(());
            }
        }
        let columns = table.columns();
        let sql = super::select(Engine::Sqlite, table, &columns);
        let mut statement = self.connection.prepare(&sql).map_err(StoreError::from)?;
        let mut found = statement.query([]).map_err(StoreError::from)?;
        let (mut rows, mut weight) = (Vec::new(), 0);
        while let Some(row) = found.next().map_err(StoreError::from)? {
            let row = super::values(&Row::Sqlite(row), &columns)?;
            weight += row.iter().map(Value::weight).sum::<usize>();
            rows.push(row);
            if rows.len() >= PIECE.rows || weight >= PIECE.bytes {
                sink.rows(table, &mut rows)?;
                rows.clear();
                weight = 0;
            }
        }
        if rows.is_empty() { Ok(()) } else { sink.rows(table, &mut rows) }
    }

    fn numbers(&mut self) -> Result<Vec<(String, i64)>, MoveError> {
        let read = || {
            let mut statement = self.connection.prepare(NUMBERS)?;
            let numbers = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            numbers.collect::<Result<_, _>>()
        };
        Ok(read().map_err(|error: rusqlite::Error| StoreError::from(error))?)
    }

    fn estimate(&mut self) -> Result<u64, MoveError> {
        let sql = "SELECT coalesce(sum(count), 0) FROM reading_chunk";
        let readings: i64 =
            self.connection.query_row(sql, [], |row| row.get(0)).map_err(StoreError::from)?;
        Ok(u64::try_from(readings).unwrap_or(0))
    }
}

/// Names that may be quoted are, so that they can be counted anywhere.
pub(super) fn found(connection: &Connection, table: &str) -> Result<u64, StoreError> {
    let table = quoted(Engine::Sqlite, table);
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1001)");
    let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(u64::try_from(rows).unwrap_or(0))
}
