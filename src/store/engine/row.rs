//! A row on its way out of a statement of the committer's, whichever engine gave it.

use sqlx::{Row as _, mysql::MySqlRow, postgres::PgRow};

use crate::store::StoreError;

pub(in crate::store) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a PgRow),
    MariaDb(&'a MySqlRow),
}

impl Row<'_> {
    /// Of whatever width it is.
    pub(in crate::store) fn int(&self, at: usize) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            // Some of its own numbers have no sign.
            Self::MariaDb(row) => row
                .try_get::<i64, _>(at)
                .or_else(|error| {
                    let unsigned = row.try_get::<u64, _>(at)?;
                    i64::try_from(unsigned).map_err(|_| error)
                })
                .map_err(unreadable),
            Self::Postgres(row) => row
                .try_get::<i64, _>(at)
                .or_else(|_| row.try_get::<i32, _>(at).map(i64::from))
                .or_else(|_| row.try_get::<i16, _>(at).map(i64::from))
                .map_err(unreadable),
        }
    }

    pub(in crate::store) fn real(&self, at: usize) -> Result<Option<f64>, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => row.try_get(at).map_err(unreadable),
            Self::MariaDb(row) => row.try_get(at).map_err(unreadable),
        }
    }

    pub(in crate::store) fn text(&self, at: usize) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => row.try_get(at).map_err(unreadable),
            Self::MariaDb(row) => row.try_get(at).map_err(unreadable),
        }
    }

    pub(in crate::store) fn blob(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => row.try_get(at).map_err(unreadable),
            Self::MariaDb(row) => row.try_get(at).map_err(unreadable),
        }
    }
}

fn unreadable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(format!("a row can't be read: {error}"))
}
