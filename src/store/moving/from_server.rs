//! A server's database as it is at one moment: one transaction, beside whoever writes to it.

use std::{collections::BTreeSet, time::Duration};

use super::{
    MoveError, PIECE, READINGS, Sink, Source, mark,
    tables::{READING, Table},
};
use crate::{
    store::{
        Engine, ServerSettings, StoreError,
        chunks::Sample,
        engine::{Failure, Kind, Piece, Row, ServerConnection, Value, quoted, selected},
        open_server, schema,
    },
    telemetry::{Quality, SensorId, Timestamp},
};

/// No answer for so long: the connection is given up.
const PATIENCE: Duration = Duration::from_secs(3_600);
const BEGIN_POSTGRES: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const BEGIN_MARIADB: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
    START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
/// Partitions are part of their table.
const TABLES_POSTGRES: &str = "SELECT c.relname::text FROM pg_class c \
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
    AND NOT c.relispartition";
const TABLES_MARIADB: &str = "SELECT CONVERT(table_name USING utf8mb4) \
    FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'";
const APPLIED: &str = "SELECT version FROM seaql_migrations ORDER BY version";
const NUMBERS_POSTGRES: &str = "SELECT t.relname::text, s.last_value FROM pg_class t \
    JOIN pg_depend d ON d.refobjid = t.oid AND d.deptype IN ('a', 'i') \
    JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' \
    JOIN pg_sequences s ON s.schemaname = current_schema() AND s.sequencename = c.relname \
    WHERE t.relnamespace = current_schema()::regnamespace AND s.last_value IS NOT NULL";
const NUMBERS_MARIADB: &str = "SELECT CONVERT(table_name USING utf8mb4), \
    CAST(auto_increment AS SIGNED) - 1 FROM information_schema.tables \
    WHERE table_schema = DATABASE() AND auto_increment > 1";
const ESTIMATE_POSTGRES: &str = "SELECT CAST(coalesce(sum(greatest(c.reltuples, 0)), 0) AS bigint) \
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
    WHERE i.inhparent = 'reading'::regclass";
const ESTIMATE_MARIADB: &str = "SELECT CAST(coalesce(max(table_rows), 0) AS SIGNED) \
    FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'reading'";

/// Connects, for as long as moving takes.
pub(super) fn connect(settings: &ServerSettings) -> Result<ServerConnection, MoveError> {
    let shown = open_server::shown(&settings.url);
    let opened = |why: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
        path: shown.clone(),
        source: why,
    };
    let address = open_server::address(&settings.url, PATIENCE);
    let address = address.map_err(|error| opened(error.into()))?;
    let mut connection =
        ServerConnection::new(address, PATIENCE).map_err(|error| opened(error.into()))?;
    connection.connect().map_err(|failure| match failure {
        Failure::Lost(why) => StoreError::Away { path: shown.clone(), source: why.into() },
        Failure::Failed(why) | Failure::Refused(why) => opened(why.into()),
    })?;
    Ok(connection)
}

pub(super) fn tables(connection: &mut ServerConnection) -> Result<BTreeSet<String>, StoreError> {
    let sql = match connection.engine() {
        Engine::Postgres => TABLES_POSTGRES,
        Engine::MariaDb | Engine::Sqlite => TABLES_MARIADB,
    };
    let names = connection.run_query(sql, |row| row.text(0))?;
    Ok(names.into_iter().collect())
}

pub(super) struct ServerSource {
    connection: ServerConnection,
    tables: BTreeSet<String>,
}

impl ServerSource {
    pub(super) fn open(settings: &ServerSettings) -> Result<Self, MoveError> {
        let source = Self::open_marked(settings)?;
        match source.tables.contains(mark::UNFINISHED) {
            true => Err(StoreError::Unfinished.into()),
            false => Ok(source),
        }
    }

    /// Begins a read transaction, which lasts as long as this. The mark may be there.
    pub(super) fn open_marked(settings: &ServerSettings) -> Result<Self, MoveError> {
        let mut connection = connect(settings)?;
        let begin = match connection.engine() {
            Engine::Postgres => BEGIN_POSTGRES,
            Engine::MariaDb | Engine::Sqlite => BEGIN_MARIADB,
        };
        connection.run(begin).map_err(StoreError::from)?;
        let tables = tables(&mut connection)?;
        if !tables.contains("seaql_migrations") {
            return Err(StoreError::NotFound("a store in this database").into());
        }
        let applied = connection.run_query(APPLIED, |row| row.text(0))?;
        schema::refuse_newer(&applied)?;
        schema::refuse_older(&applied)?;
        Ok(Self { connection, tables })
    }

    fn pour_readings(&mut self, sink: &mut dyn Sink) -> Result<(), MoveError> {
        let sensors = "SELECT id FROM sensor ORDER BY id";
        let sensors = self.connection.run_query(sensors, |row| row.int(0))?;
        let piece = Piece { rows: READINGS, bytes: usize::MAX };
        let quality = selected(self.connection.engine(), "quality", Kind::Int);
        for sensor in sensors.into_iter().map(SensorId) {
            let sql = format!(
                "SELECT event_time, received_at, value, {quality} FROM reading \
                 WHERE sensor_id = {} ORDER BY event_time",
                sensor.0
            );
            self.connection.pieces(
                &sql,
                piece,
                |row| Ok((sample(row)?, 0)),
                |samples| sink.readings(sensor, &samples),
            )?;
        }
        Ok(())
    }
}

fn sample(row: &Row<'_>) -> Result<Sample, StoreError> {
    Ok(Sample {
        event_time: Timestamp::from_micros(row.int(0)?),
        received_at: Timestamp::from_micros(row.int(1)?),
        value: row.real(2)?.filter(|value| !value.is_nan()),
        quality: Quality::from_code(row.int(3)?),
    })
}

impl Source for ServerSource {
    fn has(&self, table: &Table) -> bool {
        self.tables.contains(table.name)
    }

    fn pour(&mut self, table: &'static Table, sink: &mut dyn Sink) -> Result<(), MoveError> {
        if table.name == READING {
            return self.pour_readings(sink);
        }
        let columns = table.columns();
        let sql = super::select(self.connection.engine(), table, &columns);
        let read = |row: &Row<'_>| {
            let row = super::values(row, &columns)?;
            let weight = row.iter().map(Value::weight).sum();
            Ok((row, weight))
        };
        self.connection.pieces(&sql, PIECE, read, |mut rows| sink.rows(table, &mut rows))
    }

    fn numbers(&mut self) -> Result<Vec<(String, i64)>, MoveError> {
        let sql = match self.connection.engine() {
            Engine::Postgres => NUMBERS_POSTGRES,
            Engine::MariaDb | Engine::Sqlite => NUMBERS_MARIADB,
        };
        Ok(self.connection.run_query(sql, |row| Ok((row.text(0)?, row.int(1)?)))?)
    }

    fn estimate(&mut self) -> Result<u64, MoveError> {
        let sql = match self.connection.engine() {
            Engine::Postgres => ESTIMATE_POSTGRES,
            Engine::MariaDb | Engine::Sqlite => ESTIMATE_MARIADB,
        };
        let readings = self.connection.run_query(sql, |row| row.int(0))?;
        Ok(readings.first().map_or(0, |readings| u64::try_from(*readings).unwrap_or(0)))
    }
}

/// As in a file.
pub(super) fn found(connection: &mut ServerConnection, table: &str) -> Result<u64, StoreError> {
    let table = quoted(connection.engine(), table);
    let sql = format!("SELECT count(*) FROM (SELECT 1 AS one FROM {table} LIMIT 1001) AS few");
    let rows = connection.run_query(&sql, |row| row.int(0))?;
    Ok(rows.first().map_or(0, |rows| u64::try_from(*rows).unwrap_or(0)))
}
