//! Opening and closing: folder, lock, connections, migrations.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr};
use tokio::sync::Mutex;

use super::{
    Engine, Place, ServerSettings, Store, StoreError, Writer,
    chunks::{ChunkSettings, PAGES_MAX},
    moving::refuse_unfinished,
    readings::ReadingFile,
};

/// Where the data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    File(StoreSettings),
    Server(ServerSettings),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The SQLite file; its folder is made when it is missing.
    pub path: PathBuf,
    /// Connections that only read.
    pub readers: u32,
    /// How long a statement waits for a lock that somebody outside holds.
    pub busy_timeout: Duration,
    /// Readings in memory at which they are moved into chunks; about 50 bytes each, and four times as
    /// many when ingest is faster than that.
    pub readings_in_memory: usize,
}

impl StoreSettings {
    pub fn new(path: PathBuf) -> Self {
        let readings_in_memory = ChunkSettings::default().tail_readings_max;
        Self { path, readers: 4, busy_timeout: Duration::from_secs(5), readings_in_memory }
    }
}

/// Nothing in an empty database.
const MIGRATIONS_TABLE: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'";
const MIGRATIONS_TABLE_POSTGRES: &str = "SELECT table_name AS name FROM information_schema.tables \
    WHERE table_schema = current_schema() AND table_name = 'seaql_migrations'";
const MIGRATIONS_TABLE_MARIADB: &str = "SELECT table_name AS name FROM information_schema.tables \
    WHERE table_schema = DATABASE() AND table_name = 'seaql_migrations'";
const MIGRATIONS: &str = "SELECT version FROM seaql_migrations ORDER BY version";

impl Store {
    /// Opens the database, wherever it is.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::connect`].
    pub async fn at(location: &StoreLocation) -> Result<Self, StoreError> {
        match location {
            StoreLocation::File(settings) => Self::open(settings).await,
            StoreLocation::Server(settings) => Self::connect(settings).await,
        }
    }

    /// Opens a SQLite file, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file can't be opened or written, is in use by another Brooklet, or has a newer schema.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        let shown = settings.path.display().to_string();
        let lock = lock(&settings.path)?;
        let opened = |error: DbErr| StoreError::Open { path: shown.clone(), source: error.into() };
        let seldom = connect(settings, 1, false).await.map_err(opened)?;
        refuse_newer(Engine::Sqlite, &seldom).await?;
        refuse_unfinished(Engine::Sqlite, &seldom).await?;
        Migrator::up(&seldom, None).await.map_err(opened)?;
        let gate = Arc::new(Mutex::new(()));
        let file = ReadingFile::open(settings, gate.clone(), lock).await?;
        let readers = connect(settings, settings.readers.max(1), true).await.map_err(opened)?;
        Ok(Self { readers, seldom, gate, engine: Engine::Sqlite, place: Place::File(file) })
    }

    /// The connection for the committer; there should be one only.
    ///
    /// # Errors
    /// When the file can't be opened; on a server, when there is one already.
    pub fn writer(&self, busy_timeout: Duration) -> Result<Writer, StoreError> {
        match &self.place {
            Place::File(file) => Writer::sqlite(file, busy_timeout, self.gate.clone()),
            Place::Server { session, shown, rolled, .. } => {
                Writer::server(session, self.gate.clone(), rolled)
                    .ok_or_else(|| StoreError::InUse { path: shown.to_string() })
            }
        }
    }

    /// Where the database is, for whoever looks at it beside this.
    pub fn location(&self) -> StoreLocation {
        match &self.place {
            Place::File(file) => StoreLocation::File(StoreSettings::new(file.path().to_owned())),
            Place::Server { settings, .. } => StoreLocation::Server((**settings).clone()),
        }
    }

    /// Where the database is, without a password.
    pub fn shown(&self) -> String {
        match &self.place {
            Place::File(file) => file.path().display().to_string(),
            Place::Server { shown, .. } => shown.to_string(),
        }
    }

    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The file, where it is one.
    pub(super) fn file(&self) -> Option<&Arc<ReadingFile>> {
        match &self.place {
            Place::File(file) => Some(file),
            Place::Server { .. } => None,
        }
    }

    /// Writes the log back into the file and closes the connections. The writer is gone by then.
    pub async fn close(self) {
        if let Place::Server { session, .. } = &self.place {
            // Gives the lock back; the server would notice by itself.
            drop(session.lock().take());
            return close(self.readers, self.seldom).await;
        }
        if let Some(file) = self.file() {
            file.close().await;
        }
        let checkpoint = self.seldom.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
        if let Err(error) = checkpoint {
            tracing::warn!(%error, "the write-ahead log was not written back");
        }
        close(self.readers, self.seldom).await;
    }
}

async fn close(readers: DatabaseConnection, seldom: DatabaseConnection) {
    for (name, connection) in [("readers", readers), ("writer", seldom)] {
        if let Err(error) = connection.close().await {
            tracing::warn!(%error, name, "a database pool did not close");
        }
    }
}

/// Keeps other Brooklets out while it lives; makes the folder where it is missing.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let failed = |error: std::io::Error| StoreError::Open {
        path: path.display().to_string(),
        source: error.into(),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(lock_path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::InUse { path: path.display().to_string() })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

async fn connect(
    settings: &StoreSettings,
    connections: u32,
    read_only: bool,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.sqlx_logging(false).max_connections(connections).min_connections(1);
    options.acquire_timeout(Duration::from_secs(10));
    let path = settings.path.clone();
    let busy_timeout = settings.busy_timeout;
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .in_memory(false)
            .shared_cache(false)
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(busy_timeout)
            .pragma("wal_autocheckpoint", PAGES_MAX.to_string())
            .pragma("query_only", if read_only { "1" } else { "0" })
    });
    Database::connect(options).await
}

/// A database that has seen a migration which this binary does not have is left alone.
pub(super) async fn refuse_newer(
    engine: Engine,
    connection: &DatabaseConnection,
) -> Result<(), StoreError> {
    let table = match engine {
        Engine::Sqlite => MIGRATIONS_TABLE,
        Engine::Postgres => MIGRATIONS_TABLE_POSTGRES,
        Engine::MariaDb => MIGRATIONS_TABLE_MARIADB,
    };
    if connection.query_one_raw(engine.statement(table, [])).await?.is_none() {
        return Ok(());
    }
    let rows = connection.query_all_raw(engine.statement(MIGRATIONS, [])).await?;
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    for row in rows {
        let version: String = row.try_get("", "version")?;
        if !known.contains(&version) {
            return Err(StoreError::NewerSchema(version));
        }
    }
    Ok(())
}
