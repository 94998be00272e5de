//! How the database is: for health checks and the operator.

use sea_orm::{ConnectionTrait, TryGetable};

use super::{Store, StoreError, engine::Engine};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseStatus {
    pub engine: &'static str,
    /// The file, or the server without the password.
    pub path: String,
    /// Bytes of the data, and of SQLite's write-ahead log.
    pub file_bytes: u64,
    pub log_bytes: u64,
    /// SQLite's own; empty and 0 elsewhere.
    pub journal_mode: String,
    pub pages: i64,
    pub page_bytes: i64,
    /// Pages that deletions have freed.
    pub free_pages: i64,
    pub reader_connections: u32,
}

impl DatabaseStatus {
    /// Bytes that are in use: pages that deletions have freed are taken for what comes.
    pub fn used_bytes(&self) -> u64 {
        let free = self.free_pages.saturating_mul(self.page_bytes);
        self.file_bytes.saturating_sub(u64::try_from(free).unwrap_or(0))
    }
}

const SIZE_POSTGRES: &str = "SELECT pg_database_size(current_database()) AS bytes";
const SIZE_MARIADB: &str = "SELECT CAST(coalesce(sum(data_length + index_length), 0) AS BIGINT) \
    AS bytes FROM information_schema.tables WHERE table_schema = DATABASE()";

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.readers.query_one_raw(self.engine.statement("SELECT 1", [])).await?;
        Ok(())
    }

    /// Stored readings that are in memory, too, and not in chunks yet. `None` on a server.
    pub fn recent_readings(&self) -> Option<usize> {
        self.file().map(|file| file.readings().tail_readings())
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn status(&self) -> Result<DatabaseStatus, StoreError> {
        match (self.engine, self.file()) {
            (Engine::Postgres, _) => {
                let connections = self.readers.get_postgres_connection_pool().size();
                self.server_status(SIZE_POSTGRES, connections).await
            }
            (Engine::MariaDb, _) => {
                let connections = self.readers.get_mysql_connection_pool().size();
                self.server_status(SIZE_MARIADB, connections).await
            }
            (Engine::Sqlite, file) => {
                let size = |suffix: &str| {
                    let mut path = file.map(|file| file.path().as_os_str().to_owned())?;
                    path.push(suffix);
                    std::fs::metadata(path).ok()
                };
                let size = |suffix| size(suffix).map_or(0, |metadata| metadata.len());
                Ok(DatabaseStatus {
                    engine: self.engine.name(),
                    path: self.shown(),
                    file_bytes: size(""),
                    log_bytes: size("-wal"),
                    journal_mode: self.pragma("journal_mode").await?,
                    pages: self.pragma("page_count").await?,
                    page_bytes: self.pragma("page_size").await?,
                    free_pages: self.pragma("freelist_count").await?,
                    reader_connections: self.readers.get_sqlite_connection_pool().size(),
                })
            }
        }
    }

    async fn server_status(
        &self,
        size: &str,
        reader_connections: u32,
    ) -> Result<DatabaseStatus, StoreError> {
        let row = self.readers.query_one_raw(self.engine.statement(size, [])).await?;
        let bytes: i64 = row.ok_or(StoreError::NotFound("the size"))?.try_get("", "bytes")?;
        Ok(DatabaseStatus {
            engine: self.engine.name(),
            path: self.shown(),
            file_bytes: u64::try_from(bytes).unwrap_or(0),
            log_bytes: 0,
            journal_mode: String::new(),
            pages: 0,
            page_bytes: 0,
            free_pages: 0,
            reader_connections,
        })
    }

    async fn pragma<T: TryGetable>(&self, name: &str) -> Result<T, StoreError> {
        let statement = self.engine.statement(&format!("PRAGMA {name}"), []);
        let row = self.readers.query_one_raw(statement).await?;
        let row = row.ok_or(StoreError::NotFound("the pragma"))?;
        Ok(row.try_get("", name)?)
    }
}
