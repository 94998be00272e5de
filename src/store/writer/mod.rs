//! The committer's way into the database: one transaction per batch, all of it stored or none.
//!
//! On SQLite a connection of its own, below SeaORM: prepared statements, no task switch. On a server
//! a [`session`](server::Session) that holds the lock which keeps other Brooklets out. Statements are
//! written once; see `store::engine`.

mod deliveries;
mod devices;
mod quarantine;
mod server;
mod transaction;

use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::Mutex;

pub use quarantine::QuarantineLimits;
pub use server::WriterSignals;
pub use transaction::Transaction;

pub(super) use server::{Demands, HELD_MARIADB, HELD_POSTGRES, Session};
pub(super) use transaction::always;

use super::{
    StoreError,
    chunks::PAGES_MAX,
    readings::{ReadingFile, Rolled},
};
use quarantine::QuarantineUse;

/// Statements that stay prepared.
const STATEMENTS: usize = 96;
/// A session that nobody writes by at the moment.
pub(super) type Parked = Arc<parking_lot::Mutex<Option<Box<Session>>>>;

pub struct Writer {
    way: Way,
    gate: Arc<Mutex<()>>,
    quarantine: Option<QuarantineUse>,
}

enum Way {
    Sqlite {
        connection: Box<Connection>,
        file: Arc<ReadingFile>,
    },
    /// Goes back to its place when the writer ends. `None` only then.
    Server {
        session: Option<Box<Session>>,
        place: Parked,
        rolled: Arc<Rolled>,
    },
}

impl Writer {
    pub(super) fn sqlite(
        file: &Arc<ReadingFile>,
        busy_timeout: Duration,
        gate: Arc<Mutex<()>>,
    ) -> Result<Self, StoreError> {
        let connection = Connection::open(file.path())?;
        connection.busy_timeout(busy_timeout)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", PAGES_MAX)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let way = Way::Sqlite { connection: Box::new(connection), file: file.clone() };
        Ok(Self { way, gate, quarantine: None })
    }

    /// `None`: another writer has the session.
    pub(super) fn server(
        place: &Parked,
        gate: Arc<Mutex<()>>,
        rolled: &Arc<Rolled>,
    ) -> Option<Self> {
        let session = place.lock().take()?;
        let way =
            Way::Server { session: Some(session), place: place.clone(), rolled: rolled.clone() };
        Some(Self { way, gate, quarantine: None })
    }

    /// Runs `work` in a transaction and commits it to disk; rolls back when it fails. Blocks.
    ///
    /// # Errors
    /// What `work` or the database says; [`StoreError::is_poison`] tells which is at fault.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Way::Sqlite { file, .. } = &self.way {
            file.room.check()?;
            file.wait_for_room()?;
        }
        let _gate = self.gate.blocking_lock();
        match &mut self.way {
            Way::Sqlite { connection, file } => {
                let immediate = TransactionBehavior::Immediate;
                let inner = connection.transaction_with_behavior(immediate)?;
                let batch = file.readings().batch();
                let mut transaction = Transaction::sqlite(inner, batch, self.quarantine);
                let result = work(&mut transaction)?;
                let quarantine = transaction.quarantine;
                transaction.commit_sqlite()?;
                self.quarantine = quarantine;
                file.committed();
                Ok(result)
            }
            Way::Server { session, rolled, .. } => {
                let session = session.as_mut().ok_or_else(ended)?;
                session.begin()?;
                let mut transaction =
                    Transaction::server(session.connection(), rolled, self.quarantine);
                let outcome = work(&mut transaction);
                let (quarantine, has_failed) = transaction.end();
                match outcome {
                    // A server does not commit what has failed, and does not say so.
                    Ok(result) if !has_failed => {
                        session.commit()?;
                        self.quarantine = quarantine;
                        Ok(result)
                    }
                    outcome => {
                        session.roll_back();
                        let error = StoreError::Unavailable("a statement has failed".to_owned());
                        Err(outcome.err().unwrap_or(error))
                    }
                }
            }
        }
    }

    /// Runs `work` in a transaction that is rolled back. Blocks.
    ///
    /// # Errors
    /// As above.
    pub fn rehearse<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _gate = self.gate.blocking_lock();
        match &mut self.way {
            Way::Sqlite { connection, file } => {
                let immediate = TransactionBehavior::Immediate;
                let inner = connection.transaction_with_behavior(immediate)?;
                let batch = file.readings().batch();
                let mut transaction = Transaction::sqlite(inner, batch, self.quarantine);
                let result = work(&mut transaction)?;
                transaction.write_readings()?;
                Ok(result)
            }
            Way::Server { session, rolled, .. } => {
                let session = session.as_mut().ok_or_else(ended)?;
                session.begin()?;
                let outcome =
                    work(&mut Transaction::server(session.connection(), rolled, self.quarantine));
                session.roll_back();
                outcome
            }
        }
    }

    /// The `synchronous` setting in force; 2 is FULL.
    #[cfg(test)]
    pub(super) fn synchronous(&self) -> i64 {
        match &self.way {
            Way::Sqlite { connection, .. } => {
                connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap_or(-1)
            }
            Way::Server { .. } => -1,
        }
    }

    /// Forgets what is known of the quarantine's size: somebody else has changed it.
    pub fn recount_quarantine(&mut self) {
        self.quarantine = None;
    }

    /// What others see of the writer, and may tell it, while it works.
    pub fn signals(&self) -> Arc<WriterSignals> {
        match &self.way {
            Way::Server { session: Some(session), .. } => session.signals(),
            _ => Arc::default(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Way::Server { session, place, .. } = &mut self.way {
            *place.lock() = session.take();
        }
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("the writer has ended".to_owned())
}
