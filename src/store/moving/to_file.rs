//! Into a SQLite file that has its schema and nothing else; readings straight into chunks.

use std::path::Path;

use rusqlite::{Connection, ToSql, params_from_iter, types::ToSqlOutput, types::ValueRef};

use super::{
    MoveError, Sink, Target,
    mark::{SET, TAKE_AWAY},
    tables::{READING, SERIES, STALE, Table},
};
use crate::{
    store::{
        Engine, StoreError,
        chunks::{ChunkSettings, Filling, Readings, Sample},
        engine::{Value, Values, quoted},
    },
    telemetry::SensorId,
};

/// What a server has not rolled up again waits here until it is, at the end.
const MAKE_STALE: &str = "CREATE TABLE reading_stale (sensor_id INTEGER NOT NULL, \
    hour INTEGER NOT NULL, PRIMARY KEY (sensor_id, hour)) WITHOUT ROWID";
const STALE_HOURS: &str = "SELECT sensor_id, hour FROM reading_stale ORDER BY sensor_id, hour";
/// Chunks have made the row where there are readings.
const BOUNDS: &str = " ON CONFLICT (sensor_id) DO UPDATE SET rolled_upto = excluded.rolled_upto, \
    raw_from = excluded.raw_from, hours_from = excluded.hours_from";

pub(super) struct FileTarget {
    connection: Connection,
    filling: Filling,
}

impl FileTarget {
    /// Opens it and sets the mark. The store is open, too, and does nothing: it holds the lock.
    pub(super) fn begin(path: &Path) -> Result<Self, MoveError> {
        let connection = Connection::open(path).map_err(StoreError::from)?;
        // What a crash of the machine takes away is told by the mark.
        let begin = format!("PRAGMA synchronous = NORMAL; {SET}; {MAKE_STALE}");
        connection.execute_batch(&begin).map_err(StoreError::from)?;
        let filling = Filling::new(&connection).map_err(StoreError::from)?;
        Ok(Self { connection, filling })
    }

    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, MoveError> {
        self.connection.execute_batch("BEGIN").map_err(StoreError::from)?;
        let done = work(self);
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.connection.execute_batch(end).map_err(StoreError::from);
        let done = done?;
        ended?;
        Ok(done)
    }
}

impl FileTarget {
    fn complete(&mut self) -> Result<(), StoreError> {
        let readings = Readings::open(&self.connection, ChunkSettings::default())?;
        let stale: Vec<(SensorId, i64)> = {
            let mut statement = self.connection.prepare(STALE_HOURS)?;
            let hours = statement.query_map([], |row| Ok((SensorId(row.get(0)?), row.get(1)?)))?;
            hours.collect::<Result<_, _>>()?
        };
        readings.complete_rollups(&mut self.connection, &stale)?;
        let end = format!(
            "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA synchronous = FULL; \
             BEGIN; DROP TABLE {STALE}; {TAKE_AWAY}; COMMIT"
        );
        Ok(self.connection.execute_batch(&end)?)
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Bool(is) => ValueRef::Integer(i64::from(*is)),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Sink for FileTarget {
    fn rows(&mut self, table: &'static Table, rows: &mut Vec<Values>) -> Result<(), MoveError> {
        let names: Vec<String> =
            table.columns().iter().map(|(name, _)| quoted(Engine::Sqlite, name)).collect();
        let places = vec!["?"; names.len()].join(", ");
        // A row a sensor is there already where it has readings.
        let (more, values, conflict) = match table.name {
            SERIES => (", moved_seq", ", 0", BOUNDS),
            _ => ("", "", ""),
        };
        let name = quoted(Engine::Sqlite, table.name);
        let names = names.join(", ");
        let sql = format!("INSERT INTO {name} ({names}{more}) VALUES ({places}{values}){conflict}");
        self.write(|target| {
            let mut statement = target.connection.prepare_cached(&sql)?;
            for row in rows {
                statement.execute(params_from_iter(row.iter()))?;
            }
            Ok(())
        })
    }

    fn readings(&mut self, sensor: SensorId, samples: &[Sample]) -> Result<(), MoveError> {
        self.write(|target| Ok(target.filling.add(&target.connection, sensor, samples)?))
    }

    fn end(&mut self, table: &'static Table, _: u64) -> Result<(), MoveError> {
        match table.name {
            READING => self.write(|target| Ok(target.filling.end(&target.connection)?)),
            _ => Ok(()),
        }
    }

    fn numbers(&mut self, numbers: &[(String, i64)]) -> Result<(), MoveError> {
        self.write(|target| {
            for (table, number) in numbers {
                let changed = target.connection.execute(
                    "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
                    (table, number),
                )?;
                if changed == 0 {
                    let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
                    target.connection.execute(sql, (table, number))?;
                }
            }
            Ok(())
        })
    }
}

impl Target for FileTarget {
    fn has(&self, _: &Table) -> bool {
        true
    }

    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn finish(&mut self) -> Result<(), MoveError> {
        Ok(self.complete()?)
    }
}
