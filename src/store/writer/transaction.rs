//! A batch in progress. Each room of the store adds what it writes; here is how a statement runs.

use std::cell::{Cell, RefCell};

use rusqlite::{Connection, params_from_iter};

use super::quarantine::QuarantineUse;
use crate::store::{
    StoreError,
    chunks::{Batch, Reader},
    engine::{Bind, Engine, Row, ServerConnection},
    readings::Rolled,
};

/// A batch in progress: all of it is stored, or none.
pub struct Transaction<'a> {
    inner: Inner<'a>,
    pub(super) quarantine: Option<QuarantineUse>,
}

enum Inner<'a> {
    Sqlite {
        inner: rusqlite::Transaction<'a>,
        batch: Box<Batch<'a>>,
    },
    Server {
        connection: RefCell<&'a mut ServerConnection>,
        has_failed: Cell<bool>,
        rolled: &'a Rolled,
    },
}

impl<'a> Transaction<'a> {
    pub(super) fn sqlite(
        inner: rusqlite::Transaction<'a>,
        batch: Batch<'a>,
        quarantine: Option<QuarantineUse>,
    ) -> Self {
        let batch = Box::new(batch);
        Self { inner: Inner::Sqlite { inner, batch }, quarantine }
    }

    pub(super) fn server(
        connection: &'a mut ServerConnection,
        rolled: &'a Rolled,
        quarantine: Option<QuarantineUse>,
    ) -> Self {
        let connection = RefCell::new(connection);
        let has_failed = Cell::new(false);
        Self { inner: Inner::Server { connection, has_failed, rolled }, quarantine }
    }

    /// Writes the readings that have gathered; the last thing that is done.
    pub(super) fn write_readings(&mut self) -> Result<(), StoreError> {
        if let Some((connection, batch)) = self.readings() {
            batch.write(connection)?;
        }
        Ok(())
    }

    /// Under the gate, which is held until everybody can see the readings.
    pub(super) fn commit_sqlite(mut self) -> Result<(), StoreError> {
        self.write_readings()?;
        if let Inner::Sqlite { inner, batch } = self.inner {
            inner.commit()?;
            batch.adopt();
        }
        Ok(())
    }

    /// On SQLite: the connection, and the readings that the batch has so far.
    pub(in crate::store) fn readings(&mut self) -> Option<(&Connection, &mut Batch<'a>)> {
        match &mut self.inner {
            Inner::Sqlite { inner, batch } => Some((inner, batch)),
            Inner::Server { .. } => None,
        }
    }

    /// On SQLite: what reads readings, those of the batch included.
    pub(in crate::store) fn reader(&self) -> Option<Reader<'_>> {
        match &self.inner {
            Inner::Sqlite { inner, batch } => Some(batch.reader(inner)),
            Inner::Server { .. } => None,
        }
    }

    /// What is known of the quarantine, and whether a statement has failed.
    pub(super) fn end(self) -> (Option<QuarantineUse>, bool) {
        let has_failed = match &self.inner {
            Inner::Sqlite { .. } => false,
            Inner::Server { has_failed, .. } => has_failed.get(),
        };
        (self.quarantine, has_failed)
    }

    pub(in crate::store) fn engine(&self) -> Engine {
        match &self.inner {
            Inner::Sqlite { .. } => Engine::Sqlite,
            Inner::Server { connection, .. } => connection.borrow().engine(),
        }
    }

    /// Runs a statement; returns how many rows it changed.
    pub(in crate::store) fn execute(
        &self,
        sql: &'static str,
        values: &[Bind<'_>],
    ) -> Result<u64, StoreError> {
        match &self.inner {
            Inner::Sqlite { inner, .. } => {
                let changed = inner.prepare_cached(sql)?.execute(params_from_iter(values))?;
                Ok(changed as u64)
            }
            Inner::Server { connection, has_failed, .. } => {
                let outcome = connection.borrow_mut().execute(sql, values);
                has_failed.set(has_failed.get() || outcome.is_err());
                Ok(outcome?)
            }
        }
    }

    /// Runs a query, and reads its rows.
    pub(in crate::store) fn query<T>(
        &self,
        sql: &'static str,
        values: &[Bind<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match &self.inner {
            Inner::Sqlite { inner, .. } => {
                let mut statement = inner.prepare_cached(sql)?;
                let mut rows = statement.query(params_from_iter(values))?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(read(&Row::Sqlite(row))?);
                }
                Ok(found)
            }
            Inner::Server { connection, has_failed, .. } => {
                let outcome = connection.borrow_mut().query(sql, values, read);
                has_failed.set(has_failed.get() || outcome.is_err());
                outcome
            }
        }
    }

    /// The same, where there is one row at most.
    pub(in crate::store) fn query_one<T>(
        &self,
        sql: &'static str,
        values: &[Bind<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match &self.inner {
            Inner::Sqlite { inner, .. } => {
                let mut statement = inner.prepare_cached(sql)?;
                let mut rows = statement.query(params_from_iter(values))?;
                rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
            }
            Inner::Server { .. } => Ok(self.query(sql, values, read)?.into_iter().next()),
        }
    }

    /// Runs statements of numbers alone, on a server, and reads the rows that come.
    pub(in crate::store) fn run_query<T>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match &self.inner {
            Inner::Sqlite { .. } => Ok(Vec::new()),
            Inner::Server { connection, has_failed, .. } => {
                let outcome = connection.borrow_mut().run_query(sql, read);
                has_failed.set(has_failed.get() || outcome.is_err());
                outcome
            }
        }
    }

    /// On a server: which hours are rolled up.
    pub(in crate::store) fn rolled(&self) -> Option<&Rolled> {
        match &self.inner {
            Inner::Sqlite { .. } => None,
            Inner::Server { rolled, .. } => Some(rolled),
        }
    }

    /// Whether a partition is known to be there.
    pub(in crate::store) fn knows_partition(&self, table: &str) -> bool {
        match &self.inner {
            Inner::Sqlite { .. } => true,
            Inner::Server { connection, .. } => connection.borrow().partitions.contains(table),
        }
    }

    pub(in crate::store) fn note_partition(&self, table: String) {
        if let Inner::Server { connection, .. } = &self.inner {
            connection.borrow_mut().partitions.insert(table);
        }
    }
}

/// The row that a statement always gives.
pub(in crate::store) fn always<T>(row: Option<T>) -> Result<T, StoreError> {
    row.ok_or_else(|| StoreError::Unavailable("a row is missing".to_owned()))
}
