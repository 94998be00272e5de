//! The mark of a store that is being filled: a table that is there from the first row on until
//! everything was read again and found equal. Nobody opens a store that has it.

use rusqlite::Connection;
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::store::{Engine, StoreError};

pub(in crate::store) const UNFINISHED: &str = "moving_unfinished";
pub(super) const SET: &str = "CREATE TABLE moving_unfinished (id INTEGER NOT NULL)";
pub(super) const TAKE_AWAY: &str = "DROP TABLE moving_unfinished";

const HAS_SQLITE: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'moving_unfinished'";
const HAS_POSTGRES: &str = "SELECT table_name AS name FROM information_schema.tables \
    WHERE table_schema = current_schema() AND table_name = 'moving_unfinished'";
const HAS_MARIADB: &str = "SELECT table_name AS name FROM information_schema.tables \
    WHERE table_schema = DATABASE() AND table_name = 'moving_unfinished'";

/// # Errors
/// [`StoreError::Unfinished`] where the mark is.
pub(in crate::store) async fn refuse_unfinished(
    engine: Engine,
    connection: &DatabaseConnection,
) -> Result<(), StoreError> {
    let sql = match engine {
        Engine::Sqlite => HAS_SQLITE,
        Engine::Postgres => HAS_POSTGRES,
        Engine::MariaDb => HAS_MARIADB,
    };
    match connection.query_one_raw(engine.statement(sql, [])).await? {
        Some(_) => Err(StoreError::Unfinished),
        None => Ok(()),
    }
}

/// The same of a file that is read without being opened as a store.
///
/// # Errors
/// As above.
pub(in crate::store) fn refuse_unfinished_file(connection: &Connection) -> Result<(), StoreError> {
    match connection.prepare(HAS_SQLITE)?.exists([])? {
        true => Err(StoreError::Unfinished),
        false => Ok(()),
    }
}
