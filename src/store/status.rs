//! How the database is: for health checks and the operator.

use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};

use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseStatus {
    pub engine: &'static str,
    pub path: String,
    /// Bytes of the file, and of its write-ahead log.
    pub file_bytes: u64,
    pub log_bytes: u64,
    pub journal_mode: String,
    pub pages: i64,
    pub page_bytes: i64,
    /// Pages that deletions have freed.
    pub free_pages: i64,
    pub reader_connections: u32,
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let statement = Statement::from_string(DatabaseBackend::Sqlite, "SELECT 1");
        self.readers.query_one_raw(statement).await?;
        Ok(())
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn status(&self) -> Result<DatabaseStatus, StoreError> {
        let size = |suffix: &str| {
            let mut path = self.path.as_os_str().to_owned();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        let connections = self.readers.get_sqlite_connection_pool().size();
        Ok(DatabaseStatus {
            engine: "sqlite",
            path: self.path.display().to_string(),
            file_bytes: size(""),
            log_bytes: size("-wal"),
            journal_mode: self.pragma("journal_mode").await?,
            pages: self.pragma("page_count").await?,
            page_bytes: self.pragma("page_size").await?,
            free_pages: self.pragma("freelist_count").await?,
            reader_connections: connections,
        })
    }

    async fn pragma<T: sea_orm::TryGetable>(&self, name: &str) -> Result<T, StoreError> {
        let statement = Statement::from_string(DatabaseBackend::Sqlite, format!("PRAGMA {name}"));
        let row = self.readers.query_one_raw(statement).await?;
        let row = row.ok_or(StoreError::NotFound("the pragma"))?;
        Ok(row.try_get("", name)?)
    }
}
