//! The database: the only room that speaks SQL.
//!
//! SQLite in WAL with `synchronous=FULL`, or a PostgreSQL or MariaDB server (`engine`). One writer
//! at a time: the committer's connection ([`Writer`], below SeaORM, driven by its own thread) and the
//! seldom writes of people (SeaORM, one connection) take turns at a fair gate, so that neither waits
//! in SQLite's busy handler, and what one has read the other does not change meanwhile. Readers have
//! their own pool and see what is committed.

mod access;
mod alarm_changes;
mod alarm_marks;
mod alarm_retention;
mod alarm_rows;
mod alarm_rules;
mod alarm_summary;
mod alarms;
mod alarms_since;
mod answers;
mod backup;
mod broker_changes;
mod broker_runs;
mod broker_state;
pub mod chunks;
mod devices;
mod disk;
mod engine;
mod error;
mod ingest;
mod jobs;
mod moving;
mod notification_targets;
mod open;
mod open_server;
mod outbox;
mod quarantine;
mod readings;
mod removal;
mod room;
mod rows;
mod schema;
mod status;
mod unjudged;
mod verify;
mod writer;

use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::{Mutex, MutexGuard};

pub use access::{
    ApiKeyEdit, ApiKeyRow, AuditFilter, AuditRow, CredentialRow, Digest, NewApiKey, NewAudit,
    NewCredential, NewSession, NewUser, Proof, SessionRow, SessionUse, UserEdit, UserRow,
};
pub use alarm_marks::{AlarmMark, DeviceAlarms};
pub use alarm_rows::{
    AlarmEventRow, AlarmRow, AlarmRuleEdit, AlarmRuleRow, AlarmRuleVersionRow, BrokerRun,
    NewNotification, NotificationRow, NotificationState, NotificationTargetEdit,
    NotificationTargetRow, Provisioned, RAISED, SilenceEdit, SilenceRow,
};
pub use alarm_summary::{
    AlarmCount, AlarmSummary, ChatteringAlarm, DeviceOccurrences, RuleOccurrences,
};
pub use alarms::{AlarmPage, AlarmPosition, AlarmQuery};
pub use alarms_since::{AlarmHappening, HappeningsSince};
pub use answers::{CALLER_BYTES, HttpAnswer};
pub use backup::{
    BackupError, BackupFile, BackupHeader, BackupOrder, BackupPart, PartHeader, back_up,
    check_backup, look_at_backup, restore_backup,
};
pub use disk::DiskSpace;
pub use engine::Engine;
pub use error::StoreError;
pub use jobs::{
    CANCELLED, CANCELLING, DONE, FAILED, JOB_STATES, JobProgress, JobQuery, JobRow, NewJob, QUEUED,
    RUNNING,
};
pub use moving::{MoveError, Moved, MovedTable, Phase, Step, Tally, compare, copy};
pub use open::{StoreLocation, StoreSettings};
pub use open_server::{InvalidUrl, ServerSettings, check_url};
pub use outbox::{DueNotifications, NotificationQuery, OutboxCount, WaitingNotifications};
pub use readings::{
    Appended, ArrivalQuery, Arrivals, Bucket, EnvelopeBucket, EnvelopeQuery, EnvelopeValues,
    HistoryPage, HistoryQuery, LeftOut, Old, Order, ReadingsSince, Removed, RollUps, RolledUp,
    SensorStatistics, SinceQuery, StatisticsQuery, TimeRange, ValueStatistics,
};
pub use room::{RoomLimits, RoomSeen};
pub use rows::{
    DeviceEdit, DeviceRow, HeldMessage, NewDevice, NewQuarantine, NewSensor, QuarantineRow,
    ReportRow, SensorEdit, SensorRow, StoredReading,
};
pub use status::DatabaseStatus;
pub use verify::{Fault, Health, verify};
pub use writer::{QuarantineLimits, Transaction, Writer, WriterSignals};

/// A handle to the open database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: DatabaseConnection,
    seldom: DatabaseConnection,
    /// Guards the right to write.
    gate: Arc<Mutex<()>>,
    engine: Engine,
    place: Place,
}

/// Where the data is, and what keeps a second Brooklet out as long as any handle lives.
#[derive(Clone)]
enum Place {
    File(Arc<readings::ReadingFile>),
    Server {
        /// Without its password.
        shown: Arc<str>,
        settings: Arc<ServerSettings>,
        /// Holds the lock; the committer's while there is one.
        session: writer::Parked,
        signals: Arc<WriterSignals>,
        rolled: Arc<readings::Rolled>,
    },
}

/// A person's write in progress: the gate, and the transaction behind it.
struct SeldomWrite<'a> {
    transaction: DatabaseTransaction,
    _gate: MutexGuard<'a, ()>,
}

impl Store {
    async fn begin(&self) -> Result<SeldomWrite<'_>, StoreError> {
        let gate = self.gate.lock().await;
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self.seldom.begin_with_options(options).await?;
        let held = match self.engine {
            Engine::Sqlite => return Ok(SeldomWrite { transaction, _gate: gate }),
            Engine::Postgres => writer::HELD_POSTGRES,
            Engine::MariaDb => writer::HELD_MARIADB,
        };
        // The lock went with the committer's connection: somebody else may have it.
        let holder = match &self.place {
            Place::Server { signals, .. } => signals.holder(),
            Place::File(_) => 0,
        };
        let held = self.engine.statement(held, [holder.into()]);
        match transaction.query_one_raw(held).await? {
            Some(_) => Ok(SeldomWrite { transaction, _gate: gate }),
            None => {
                let why = "the connection that holds its lock is not there";
                Err(StoreError::Unavailable(why.to_owned()))
            }
        }
    }
}

impl SeldomWrite<'_> {
    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

#[cfg(test)]
mod tests;
