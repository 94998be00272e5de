//! The committer's session at a database server.
//!
//! It holds a lock on the server as long as it is connected, so that two Brooklets never write to one
//! database. Every batch moves a number along in its own transaction: when the connection breaks
//! while a COMMIT is under way, the number says afterwards whether it took place. Until that is
//! known nothing is answered, and no other batch begins.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use metrics::counter;

use crate::{
    metrics::names,
    store::{
        StoreError,
        engine::{Engine, Failure, Row, ServerConnection},
    },
};

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// For so long a lock is waited for: the server may not have noticed yet that a process is dead.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Demands {
    /// A server that may lose what it has committed is refused.
    pub(in crate::store) requires_durability: bool,
}

/// What the writer's thread and others tell each other.
#[derive(Debug, Default)]
pub struct WriterSignals {
    /// The process ends: no more is waited for a server that is away.
    give_up: AtomicBool,
    /// The connection broke during a commit, and the server has not been asked yet.
    is_in_doubt: AtomicBool,
    /// The number that the server gave the connection which holds the lock; 0: there is none.
    holder: AtomicI64,
}

impl WriterSignals {
    pub fn give_up(&self) {
        self.give_up.store(true, Ordering::Relaxed);
    }

    /// Whether it waits to learn what became of a commit.
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt.load(Ordering::Relaxed)
    }

    pub(in crate::store) fn holder(&self) -> i64 {
        self.holder.load(Ordering::Relaxed)
    }
}

pub(in crate::store) struct Session {
    connection: ServerConnection,
    settings: Demands,
    signals: Arc<WriterSignals>,
    /// Of the last batch that was begun.
    number: i64,
    is_in_transaction: bool,
}

impl Session {
    /// Connects, takes the lock and looks at the server's settings. Blocks.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another Brooklet has the lock.
    pub(in crate::store) fn open(
        connection: ServerConnection,
        settings: Demands,
        shown: &str,
    ) -> Result<Self, StoreError> {
        let signals = Arc::default();
        let mut session =
            Self { connection, settings, signals, number: 0, is_in_transaction: false };
        let opened = |why: String| StoreError::Open { path: shown.to_owned(), source: why.into() };
        session.connection.connect().map_err(|failure| match failure {
            Failure::Lost(why) => StoreError::Away { path: shown.to_owned(), source: why.into() },
            Failure::Failed(why) | Failure::Refused(why) => opened(why),
        })?;
        for attempt in 0.. {
            if session.take_lock()? {
                break;
            }
            if attempt == LOCK_TRIES {
                return Err(StoreError::InUse { path: shown.to_owned() });
            }
            thread::park_timeout(LOCK_PAUSE);
        }
        session.look_at_settings().map_err(opened)?;
        Ok(session)
    }

    /// Reads the number of the last batch; once the table is there.
    pub(in crate::store) fn start(&mut self) -> Result<(), StoreError> {
        self.number = self.stored_number()?;
        Ok(())
    }

    pub(in crate::store) fn signals(&self) -> Arc<WriterSignals> {
        self.signals.clone()
    }

    pub(super) fn connection(&mut self) -> &mut ServerConnection {
        &mut self.connection
    }

    /// Begins a transaction, on a connection that is made where there is none.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        // A panic has left one behind.
        if std::mem::take(&mut self.is_in_transaction) {
            self.roll_back();
        }
        if !self.connection.is_connected() {
            self.reconnect()?;
        }
        let number = self.number + 1;
        let begin = format!("BEGIN; UPDATE writer_mark SET number = {number} WHERE id = 1");
        if let Err(failure) = self.connection.run(&begin) {
            // It may have begun.
            self.connection.disconnect();
            self.note_lock();
            return Err(failure.into());
        }
        self.number = number;
        self.is_in_transaction = true;
        Ok(())
    }

    pub(super) fn roll_back(&mut self) {
        self.is_in_transaction = false;
        self.connection.partitions.clear();
        if self.connection.is_connected() && self.connection.run("ROLLBACK").is_err() {
            self.connection.disconnect();
        }
        self.note_lock();
    }

    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        self.is_in_transaction = false;
        match self.connection.run("COMMIT") {
            Ok(_) => Ok(()),
            Err(Failure::Lost(why)) => self.resolve(&why),
            Err(failure) => {
                self.connection.disconnect();
                self.note_lock();
                Err(failure.into())
            }
        }
    }

    /// Finds out whether the last batch was committed, however long the server is away.
    fn resolve(&mut self, why: &str) -> Result<(), StoreError> {
        tracing::error!(
            why,
            "the connection to the database broke during a commit; the server will be asked what became of it"
        );
        counter!(names::STORE_ERRORS, "kind" => "in_doubt").increment(1);
        self.note_lock();
        self.signals.is_in_doubt.store(true, Ordering::Relaxed);
        let mut pause = RETRY_FIRST;
        let stored = loop {
            match self.reconnect().and_then(|()| self.stored_number()) {
                Ok(stored) => break stored,
                Err(error) if self.signals.give_up.load(Ordering::Relaxed) => return Err(error),
                Err(error) => tracing::debug!(%error, "the database is still away"),
            }
            thread::park_timeout(pause);
            pause = (pause * 2).min(RETRY_LAST);
        };
        self.signals.is_in_doubt.store(false, Ordering::Relaxed);
        let was_committed = stored == self.number;
        tracing::info!(was_committed, "the database is back, and says what became of the commit");
        match was_committed {
            true => Ok(()),
            false => Err(StoreError::Unavailable("it went away during a commit".to_owned())),
        }
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        let outcome = self.try_reconnect();
        if outcome.is_err() {
            self.connection.disconnect();
        }
        self.note_lock();
        outcome
    }

    fn try_reconnect(&mut self) -> Result<(), StoreError> {
        self.connection.connect()?;
        if !self.take_lock()? {
            let why =
                "another Brooklet writes to it, or our last connection has not ended there yet";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        self.look_at_settings().map_err(StoreError::Unavailable)
    }

    /// No connection, no lock.
    fn note_lock(&self) {
        if !self.connection.is_connected() {
            self.signals.holder.store(0, Ordering::Relaxed);
        }
    }

    fn take_lock(&mut self) -> Result<bool, StoreError> {
        let sql = match self.connection.engine() {
            Engine::Postgres => LOCK_POSTGRES,
            Engine::MariaDb | Engine::Sqlite => LOCK_MARIADB,
        };
        let row = |row: &Row<'_>| Ok((row.int(0)?, row.int(1)?));
        let (is_taken, connection) =
            self.connection.run_query(sql, row)?.into_iter().next().unwrap_or_default();
        if is_taken == 1 {
            self.signals.holder.store(connection, Ordering::Relaxed);
        }
        Ok(is_taken == 1)
    }

    /// Waits for a transaction of ours that the server may still be ending.
    fn stored_number(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT number FROM writer_mark WHERE id = 1 FOR UPDATE";
        let numbers = self.connection.run_query(sql, |row| row.int(0))?;
        let number = numbers.into_iter().next();
        number.ok_or_else(|| StoreError::Unavailable("writer_mark is empty".to_owned()))
    }

    fn look_at_settings(&mut self) -> Result<(), String> {
        let sql = match self.connection.engine() {
            Engine::Postgres => SETTINGS_POSTGRES,
            Engine::MariaDb | Engine::Sqlite => SETTINGS_MARIADB,
        };
        let columns = |row: &Row<'_>| (0..8).map(|at| row.text(at)).collect::<Result<Vec<_>, _>>();
        let rows = self.connection.run_query(sql, columns).map_err(|error| error.to_string())?;
        let found = rows.into_iter().next().unwrap_or_default();
        let complaint = match self.connection.engine() {
            Engine::Postgres => complaint_postgres(&found, self.settings),
            Engine::MariaDb | Engine::Sqlite => complaint_mariadb(&found, self.settings),
        };
        complaint.map_or(Ok(()), Err)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.disconnect();
    }
}

const LOCK_POSTGRES: &str = "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('brooklet.' || \
    current_schema(), 0)) THEN 1 ELSE 0 END, pg_backend_pid()";
const LOCK_MARIADB: &str = "SELECT GET_LOCK(CONCAT('brooklet.', SHA1(DATABASE())), 0), \
    CONNECTION_ID()";
/// Whether the connection of that number has the lock.
pub(in crate::store) const HELD_POSTGRES: &str = "SELECT pid FROM pg_locks \
    WHERE locktype = 'advisory' AND granted AND pid = CAST(?1 AS BIGINT) LIMIT 1";
pub(in crate::store) const HELD_MARIADB: &str = "SELECT 1 AS pid FROM (SELECT \
    IS_USED_LOCK(CONCAT('brooklet.', SHA1(DATABASE()))) AS holder) AS l WHERE l.holder = ?1";

const SETTINGS_POSTGRES: &str = "SELECT current_setting('server_version_num'), \
    current_setting('server_encoding'), current_setting('fsync'), \
    current_setting('synchronous_commit'), current_setting('full_page_writes'), \
    CAST(pg_is_in_recovery() AS text), current_setting('default_transaction_read_only'), ''";
const SETTINGS_MARIADB: &str = "SELECT VERSION(), @@character_set_client, \
    CAST(@@innodb_flush_log_at_trx_commit AS CHAR), CAST(@@innodb_doublewrite AS CHAR), \
    CAST(@@read_only AS CHAR), CAST(@@log_bin AS CHAR), CAST(@@sync_binlog AS CHAR), @@sql_mode";

const OLDEST_POSTGRES: i64 = 130_000;
const OLDEST_MARIADB: (u32, u32) = (10, 6);
const OVERRIDE: &str =
    "what is acknowledged could be lost; database.require_durability = false takes that on";

fn complaint_postgres(found: &[String], settings: Demands) -> Option<String> {
    let [version, encoding, fsync, synchronous, pages, recovery, read_only, ..] = found else {
        return Some("the server does not tell its settings".to_owned());
    };
    if version.parse::<i64>().unwrap_or(0) < OLDEST_POSTGRES {
        return Some("PostgreSQL 13 or a later one is needed".to_owned());
    }
    if encoding != "UTF8" {
        return Some(format!("the database's encoding is {encoding}, and has to be UTF8"));
    }
    if recovery == "true" || read_only == "on" {
        return Some("the server is read-only".to_owned());
    }
    let settings =
        [("fsync", fsync), ("synchronous_commit", synchronous), ("full_page_writes", pages)]
            .into_iter()
            .filter(|(_, value)| settings.requires_durability && *value == "off");
    let off: Vec<_> = settings.map(|(name, _)| name).collect();
    (!off.is_empty()).then(|| format!("the server has {} off: {OVERRIDE}", off.join(" and ")))
}

fn complaint_mariadb(found: &[String], settings: Demands) -> Option<String> {
    let [version, characters, flush, doublewrite, read_only, has_log, sync_log, mode] = found
    else {
        return Some("the server does not tell its settings".to_owned());
    };
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let numbers = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if !version.contains("MariaDB") || numbers < OLDEST_MARIADB {
        return Some(format!("MariaDB 10.6 or a later one is needed, and this is {version}"));
    }
    if characters != "utf8mb4" {
        return Some(format!("the connection speaks {characters}, and has to speak utf8mb4"));
    }
    if !mode.contains("STRICT_") {
        return Some("sql_mode has to have STRICT_TRANS_TABLES".to_owned());
    }
    if !matches!(read_only.as_str(), "0" | "OFF") {
        return Some("the server is read-only".to_owned());
    }
    if !settings.requires_durability {
        return None;
    }
    if flush != "1" {
        return Some(format!(
            "the server has innodb_flush_log_at_trx_commit = {flush}, not 1: {OVERRIDE}"
        ));
    }
    if matches!(doublewrite.as_str(), "0" | "OFF") {
        return Some(format!("the server has innodb_doublewrite off: {OVERRIDE}"));
    }
    let has_log = matches!(has_log.as_str(), "1" | "ON");
    (has_log && sync_log != "1")
        .then(|| format!("the server has sync_binlog = {sync_log}, not 1: {OVERRIDE}"))
}
