//! The database: the only room that speaks SQL.
//!
//! SQLite in WAL with `synchronous=FULL`. One writer at a time: the committer's connection
//! ([`Writer`], below SeaORM, driven by its own thread) and the seldom writes of people (SeaORM, one
//! connection) take turns at a fair gate, so that neither waits in SQLite's busy handler. Readers
//! have their own pool and see what is committed.

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
mod arrival_lanes;
mod arrivals;
mod broker_changes;
mod broker_runs;
mod broker_state;
mod devices;
mod disk;
mod envelope;
mod error;
mod history;
mod ingest;
mod jobs;
mod notification_targets;
mod open;
mod outbox;
mod quarantine;
mod removal;
mod rows;
mod sensor_history;
mod since;
mod statistics;
mod status;
mod writer;

use std::sync::Arc;

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
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
pub use arrivals::{ArrivalQuery, Arrivals};
pub use disk::DiskSpace;
pub use envelope::{EnvelopeBucket, EnvelopeQuery, EnvelopeValues};
pub use error::StoreError;
pub use history::{HistoryPage, HistoryQuery, Order};
pub use jobs::{
    CANCELLED, CANCELLING, DONE, FAILED, JOB_STATES, JobProgress, JobQuery, JobRow, NewJob, QUEUED,
    RUNNING,
};
pub use open::StoreSettings;
pub use outbox::{DueNotifications, NotificationQuery, OutboxCount, WaitingNotifications};
pub use removal::{Removed, TimeRange};
pub use rows::{
    DeviceEdit, DeviceRow, HeldMessage, NewDevice, NewQuarantine, NewSensor, QuarantineRow,
    ReportRow, SensorEdit, SensorRow, StoredReading,
};
pub use since::{LeftOut, ReadingsSince, SinceQuery};
pub use statistics::{Bucket, SensorStatistics, StatisticsQuery, ValueStatistics};
pub use status::DatabaseStatus;
pub use writer::{Appended, QuarantineLimits, Transaction, Writer};

/// A handle to the open database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: DatabaseConnection,
    seldom: DatabaseConnection,
    /// Guards the right to write.
    gate: Arc<Mutex<()>>,
    path: Arc<std::path::Path>,
    /// Held as long as any handle lives: keeps a second Brooklet out.
    _lock: Arc<std::fs::File>,
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
        Ok(SeldomWrite { transaction, _gate: gate })
    }
}

impl SeldomWrite<'_> {
    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

#[cfg(test)]
mod tests;
