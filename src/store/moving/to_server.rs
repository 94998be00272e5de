//! Into a server's database that has its schema and nothing else.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    MoveError, Sink, Target, from_server,
    mark::{SET, TAKE_AWAY},
    tables::{READING, Table},
};
use crate::{
    store::{
        Engine, ServerSettings, StoreError, StoredReading,
        chunks::Sample,
        engine::{ServerConnection, Values, put_real, quoted},
        readings,
    },
    telemetry::SensorId,
};

/// Readings of one transaction, about.
const BATCH: usize = 10_000;
/// What a crash of the server takes away is told by the mark, which goes last and safely.
const QUICK_POSTGRES: &str = "SET synchronous_commit = off";
const SAFE_POSTGRES: &str = "SET synchronous_commit = on";
/// A row is numbered as it was.
const QUICK_MARIADB: &str =
    "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_AUTO_VALUE_ON_ZERO')";

pub(super) struct ServerTarget {
    connection: ServerConnection,
    tables: BTreeSet<String>,
    partitions: BTreeSet<String>,
    waiting: Vec<(SensorId, Sample)>,
}

impl ServerTarget {
    /// Connects and sets the mark. The store is open, too, and does nothing: it holds the lock.
    pub(super) fn begin(settings: &ServerSettings) -> Result<Self, MoveError> {
        let mut connection = from_server::connect(settings)?;
        let tables = from_server::tables(&mut connection)?;
        let quick = match connection.engine() {
            Engine::Postgres => QUICK_POSTGRES,
            Engine::MariaDb | Engine::Sqlite => QUICK_MARIADB,
        };
        connection.run(SET).map_err(StoreError::from)?;
        connection.run(quick).map_err(StoreError::from)?;
        let partitions = match connection.engine() {
            Engine::Postgres => connection.run_query(readings::PARTITIONS, |row| row.text(0))?,
            Engine::MariaDb | Engine::Sqlite => Vec::new(),
        };
        let partitions = partitions.into_iter().collect();
        Ok(Self { connection, tables, partitions, waiting: Vec::new() })
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        match self.connection.engine() {
            Engine::Postgres => self.flush_to_postgres(&waiting)?,
            Engine::MariaDb | Engine::Sqlite => self.flush_to_mariadb(&waiting)?,
        }
        self.waiting = waiting;
        self.waiting.clear();
        Ok(())
    }

    fn flush_to_postgres(&mut self, readings: &[(SensorId, Sample)]) -> Result<(), StoreError> {
        let times = readings.iter().map(|(_, sample)| sample.event_time);
        for (table, sql) in readings::partitions_of(times) {
            if !self.partitions.contains(&table) {
                self.connection.run(&sql)?;
                self.partitions.insert(table);
            }
        }
        Ok(self.connection.insert_readings(readings)?)
    }

    fn flush_to_mariadb(&mut self, readings: &[(SensorId, Sample)]) -> Result<(), StoreError> {
        let mut sql = String::with_capacity(readings.len() * 72);
        sql.push_str(
            "INSERT INTO reading (sensor_id, event_time, received_at, value, quality) VALUES ",
        );
        let mut late = String::new();
        for (at, (sensor, sample)) in readings.iter().enumerate() {
            let Sample { event_time, received_at, value, quality } = *sample;
            let (event, received) = (event_time.as_micros(), received_at.as_micros());
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(sql, "{comma}({},{event},{received},", sensor.0);
            match value {
                Some(value) => put_real(&mut sql, value)?,
                None => sql.push_str("NULL"),
            }
            let _ = write!(sql, ",{})", quality.code());
            if readings::is_late(&StoredReading::of(*sensor, sample)) {
                late.push_str(if late.is_empty() { LATE } else { "," });
                let _ = write!(late, "({received},{},{event})", sensor.0);
            }
        }
        self.connection.run("START TRANSACTION")?;
        self.connection.run(&sql)?;
        if !late.is_empty() {
            self.connection.run(&late)?;
        }
        self.connection.run("COMMIT")?;
        Ok(())
    }
}

const LATE: &str = "INSERT INTO reading_late (received_at, sensor_id, event_time) VALUES ";

impl Sink for ServerTarget {
    fn rows(&mut self, table: &'static Table, rows: &mut Vec<Values>) -> Result<(), MoveError> {
        let columns = table.columns();
        Ok(self.connection.insert(table.name, &columns, rows).map_err(StoreError::from)?)
    }

    fn readings(&mut self, sensor: SensorId, samples: &[Sample]) -> Result<(), MoveError> {
        for some in samples.chunks(BATCH) {
            self.waiting.extend(some.iter().map(|sample| (sensor, *sample)));
            if self.waiting.len() >= BATCH {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn end(&mut self, table: &'static Table, _: u64) -> Result<(), MoveError> {
        if table.name == READING {
            self.flush()?;
        }
        Ok(())
    }

    fn numbers(&mut self, numbers: &[(String, i64)]) -> Result<(), MoveError> {
        let engine = self.connection.engine();
        for (table, number) in numbers {
            let name = quoted(engine, table);
            let sql = match engine {
                Engine::Postgres => format!(
                    "SELECT setval(pg_get_serial_sequence('{name}', 'id'), \
                     greatest({number}, (SELECT coalesce(max(id), 1) FROM {name})))"
                ),
                Engine::MariaDb | Engine::Sqlite => {
                    format!("ALTER TABLE {name} AUTO_INCREMENT = {}", number.saturating_add(1))
                }
            };
            self.connection.run(&sql).map_err(StoreError::from)?;
        }
        Ok(())
    }
}

impl Target for ServerTarget {
    fn has(&self, table: &Table) -> bool {
        self.tables.contains(table.name)
    }

    fn engine(&self) -> Engine {
        self.connection.engine()
    }

    fn finish(&mut self) -> Result<(), MoveError> {
        if self.connection.engine() == Engine::Postgres {
            self.connection.run(SAFE_POSTGRES).map_err(StoreError::from)?;
        }
        self.connection.run(TAKE_AWAY).map_err(StoreError::from)?;
        // The planner knows nothing of what came in one go.
        let analyze = match self.connection.engine() {
            Engine::Postgres => "ANALYZE",
            Engine::MariaDb | Engine::Sqlite => "ANALYZE TABLE reading",
        };
        match self.connection.run(analyze) {
            Ok(_) => Ok(()),
            Err(failure) => {
                tracing::warn!(?failure, "the server has no statistics of its tables yet");
                Ok(())
            }
        }
    }
}
