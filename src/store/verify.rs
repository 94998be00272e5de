//! Whether a store holds together: `brooklet verify`.
//!
//! A SQLite file is looked at in one read transaction, through a connection that can't write, beside
//! a server that runs or without one. On a server readings are rows, whose pages the server checks by
//! itself; there it is seen whether everything can be read.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    Engine, ServerSettings, StoreError, StoreLocation,
    chunks::{self, ChunkError, Finding},
    moving::{refuse_unfinished, refuse_unfinished_file},
    open::refuse_newer,
    open_server, schema,
};

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Health {
    /// Readings are in chunks; else they are rows of a table.
    pub has_chunks: bool,
    pub devices: u64,
    pub sensors: u64,
    pub readings: u64,
    pub chunks: u64,
    pub roll_ups: u64,
    pub journal_rows: u64,
    pub alarms: u64,
    pub faults: Vec<Fault>,
    /// Those that are not told.
    pub more: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// "device/sensor (sensor 7)", where it is about one.
    pub sensor: Option<String>,
    pub what: String,
    pub advice: &'static str,
}

/// How long a statement waits while somebody outside has the file locked.
const BUSY: Duration = Duration::from_secs(10);
/// A table that is counted row by row takes its time.
const SERVER_TIMEOUT: Duration = Duration::from_secs(3_600);
const NAME: &str = "SELECT d.key || '/' || s.name FROM sensor s JOIN device d ON d.id = s.device_id \
    WHERE s.id = ?1";
const OF_READINGS: &str = "restore a backup; or delete all of the sensor's readings of that time, its \
    end included (DELETE /api/data), and import them again";
const OF_ROLL_UPS: &str = "statistics of that time are not to be relied on; readings are not concerned. \
    Restore a backup where the readings themselves are gone";
const OF_JOURNAL: &str = "restore a backup: what was in this row has no other place";
const OF_FILE: &str = "stop Brooklet, put the file aside and restore a backup";

/// Looks at the store, wherever it is.
///
/// # Errors
/// When it can't be opened, is no store, or has another schema than this version.
pub async fn verify(location: &StoreLocation) -> Result<Health, StoreError> {
    match location {
        StoreLocation::File(settings) => {
            let path = settings.path.clone();
            let verified = tokio::task::spawn_blocking(move || verify_file(&path)).await;
            verified.map_err(|_| StoreError::Unavailable("the check has died".to_owned()))?
        }
        StoreLocation::Server(settings) => verify_server(settings).await,
    }
}

/// A connection to a file that somebody else may have open, and that it can't change.
pub(super) fn open_file(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let connection = opened.map_err(|source| StoreError::Open {
        path: path.display().to_string(),
        source: source.into(),
    })?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// # Errors
/// As [`verify`].
pub(super) fn verify_file(path: &Path) -> Result<Health, StoreError> {
    let mut connection = open_file(path)?;
    refuse_unfinished_file(&connection)?;
    let moment = connection.transaction()?;
    let applied = schema::applied(&moment)?;
    schema::refuse_newer(&applied)?;
    schema::refuse_older(&applied)?;
    let mut health = Health { has_chunks: true, ..Health::default() };
    check_pages(&moment, &mut health)?;
    match chunks::verify(&moment) {
        Ok(verified) => {
            health.readings = verified.readings;
            health.chunks = verified.chunks;
            health.journal_rows = verified.journal_rows;
            health.more = verified.more;
            for finding in verified.findings {
                let fault = fault(&moment, finding);
                health.faults.push(fault);
            }
        }
        // The pages themselves: told above.
        Err(ChunkError::Database(error)) if is_damage(&error) => health.note(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    let count = |table: &str| -> rusqlite::Result<u64> {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = moment.query_row(&sql, [], |row| row.get(0))?;
        Ok(u64::try_from(rows).unwrap_or(0))
    };
    let mut counts = [0; 4];
    let tables = ["device", "sensor", "alarm", "reading_hour"];
    for (counted, table) in counts.iter_mut().zip(tables) {
        match count(table) {
            Ok(rows) => *counted = rows,
            Err(error) if is_damage(&error) => health.note(format!("{table}: {error}")),
            Err(error) => return Err(error.into()),
        }
    }
    [health.devices, health.sensors, health.alarms, health.roll_ups] = counts;
    for table in ["reading_day", "reading_minute"] {
        health.roll_ups += count(table).unwrap_or(0);
    }
    Ok(health)
}

impl Health {
    /// Of the file as such.
    fn note(&mut self, what: String) {
        self.faults.push(Fault { sensor: None, what, advice: OF_FILE });
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// SQLite's own look at pages, indexes and references.
fn check_pages(connection: &Connection, health: &mut Health) -> Result<(), StoreError> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        match line {
            Ok(line) if line == "ok" => {}
            Ok(line) => health.note(line),
            Err(error) if is_damage(&error) => {
                health.note(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let broken = statement.query_map([], |row| {
        let (table, of): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of {table} belongs to a row of {of} that is not there"))
    })?;
    for line in broken.take(100) {
        health.note(line?);
    }
    Ok(())
}

fn fault(connection: &Connection, finding: Finding) -> Fault {
    let advice = match (&finding.sensor, finding.is_of_readings) {
        (None, _) => OF_JOURNAL,
        (Some(_), true) => OF_READINGS,
        (Some(_), false) => OF_ROLL_UPS,
    };
    let sensor = finding.sensor.map(|sensor| {
        let name: Result<String, _> = connection.query_row(NAME, [sensor.0], |row| row.get(0));
        let name = name.unwrap_or_else(|_| "a sensor that is not registered".to_owned());
        format!("{name} (sensor {})", sensor.0)
    });
    Fault { sensor, what: finding.what, advice }
}

async fn verify_server(settings: &ServerSettings) -> Result<Health, StoreError> {
    let settings = ServerSettings { timeout: SERVER_TIMEOUT, ..settings.clone() };
    let (engine, connection) = open_server::looking(&settings)?;
    refuse_newer(engine, &connection).await?;
    refuse_unfinished(engine, &connection).await?;
    let mut health = Health::default();
    let mut counts = [0; 4];
    let tables = ["device", "sensor", "alarm", "reading"];
    for (counted, table) in counts.iter_mut().zip(tables) {
        *counted = count(engine, &connection, table).await?;
    }
    [health.devices, health.sensors, health.alarms, health.readings] = counts;
    Ok(health)
}

async fn count(
    engine: Engine,
    connection: &sea_orm::DatabaseConnection,
    table: &str,
) -> Result<u64, StoreError> {
    use sea_orm::ConnectionTrait;
    let statement = engine.statement(&format!("SELECT count(*) AS rows_there FROM {table}"), []);
    let row = connection.query_one_raw(statement).await?;
    let rows: i64 = row.ok_or(StoreError::NotFound("the count"))?.try_get("", "rows_there")?;
    Ok(u64::try_from(rows).unwrap_or(0))
}
