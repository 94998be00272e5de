//! The three engines below the store: what each is called, how one statement reads in each, how
//! values go in and rows come out, and the one connection that the committer writes by.
//!
//! Statements are written once, in SQLite's words: `?1` for a value, `"key"` for a name that is a
//! reserved word somewhere, `ON CONFLICT`. [`dialect`] turns them into the others'.

mod bind;
mod bulk;
mod connection;
mod dialect;
mod row;
mod value;

pub(super) use bind::{Bind, binds};
pub(super) use bulk::{Piece, put_real, quoted, selected};
pub(super) use connection::{Address, Failure, ServerConnection};
pub(super) use dialect::Dialect;
pub(super) use row::Row;
pub(super) use value::{Kind, Value, Values};

use sea_orm::{DatabaseBackend, Statement};

/// What keeps the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
            Self::MariaDb => "mariadb",
        }
    }

    pub(super) fn backend(self) -> DatabaseBackend {
        match self {
            Self::Sqlite => DatabaseBackend::Sqlite,
            Self::Postgres => DatabaseBackend::Postgres,
            Self::MariaDb => DatabaseBackend::MySql,
        }
    }

    /// A statement for SeaORM, in this engine's words.
    pub(super) fn statement(
        self,
        sql: &str,
        values: impl IntoIterator<Item = sea_orm::Value>,
    ) -> Statement {
        let dialect = Dialect::of(self, sql);
        let values: Vec<sea_orm::Value> = values.into_iter().collect();
        let values = match dialect.order() {
            None => values,
            Some(order) => order.iter().filter_map(|at| values.get(*at).cloned()).collect(),
        };
        Statement::from_sql_and_values(self.backend(), dialect.text(), values)
    }
}
