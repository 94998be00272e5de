//! Which migrations a SQLite file has seen, read without opening it as a store.

use migration::{Migrator, MigratorTrait};
use rusqlite::Connection;

use super::StoreError;

const TABLE: &str =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'";
const APPLIED: &str = "SELECT version FROM seaql_migrations ORDER BY version";

/// Those of this version, oldest first.
pub(super) fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// Those that a file has seen.
///
/// # Errors
/// When the file does not answer, or is no store.
pub(super) fn applied(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let tables: i64 = connection.query_row(TABLE, [], |row| row.get(0))?;
    if tables == 0 {
        return Err(StoreError::NotFound("a store in this file"));
    }
    let mut statement = connection.prepare(APPLIED)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// # Errors
/// When one of them was made by a newer version.
pub(super) fn refuse_newer(applied: &[String]) -> Result<(), StoreError> {
    let known = known();
    match applied.iter().find(|version| !known.contains(version)) {
        Some(version) => Err(StoreError::NewerSchema(version.clone())),
        None => Ok(()),
    }
}

/// # Errors
/// When there are others to apply.
pub(super) fn refuse_older(applied: &[String]) -> Result<(), StoreError> {
    let pending: Vec<_> = known().into_iter().filter(|name| !applied.contains(name)).collect();
    if pending.is_empty() { Ok(()) } else { Err(StoreError::OlderSchema(pending.join(", "))) }
}
