//! How fast readings go into the store, how much is written and kept for each, how long looks take.
//!
//!     cargo run --release --example readings_load -- FOLDER --readings 10000000
//!
//! Makes a file in the folder, a database of readings only: as journal and chunks, or to compare as the
//! clustered table or a table that is only appended to. Bytes written are those of the process
//! (`/proc/self/io`), the log and its way back into the file included.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a tool of its own, outside the broker's rooms")]

mod looks;
mod pace;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use brooklet::store::chunks::{
    ChunkSettings, PAGES_MAX, Readings, Synced, create_tables, write_back,
};
use clap::{Parser, ValueEnum};
use rusqlite::{Connection, TransactionBehavior, params};

use self::{
    pace::{Pace, processor_seconds, written},
    walk::Walk,
};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const CLUSTERED: &str = "CREATE TABLE reading (sensor_id INTEGER NOT NULL, \
    event_time INTEGER NOT NULL, received_at INTEGER NOT NULL, value REAL, \
    quality INTEGER NOT NULL, PRIMARY KEY (sensor_id, event_time)) WITHOUT ROWID";
const APPENDED: &str = "CREATE TABLE reading (sensor_id INTEGER NOT NULL, \
    event_time INTEGER NOT NULL, received_at INTEGER NOT NULL, value REAL, quality INTEGER NOT NULL)";
const INSERT: &str = "INSERT INTO reading (sensor_id, event_time, received_at, value, quality) \
    VALUES (?1, ?2, ?3, ?4, ?5)";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Chunks,
    /// A row a reading, by sensor and time
    Clustered,
    /// A row a reading, without an index: what SQLite can do at most
    Appended,
}

#[derive(Debug, Parser)]
#[command(about = "Readings into the store: speed, bytes written, bytes kept, looks")]
pub(crate) struct Options {
    /// Where to make the file
    folder: PathBuf,
    #[arg(long, default_value_t = 10_000_000)]
    readings: u64,
    /// Sensors that report in turn
    #[arg(long, default_value_t = 1_000)]
    pub(crate) sensors: u64,
    /// Readings of a commit
    #[arg(long, default_value_t = 1_000)]
    batch: u64,
    /// FULL or NORMAL
    #[arg(long, default_value = "FULL")]
    synchronous: String,
    #[arg(long, value_enum, default_value_t = Form::Chunks)]
    form: Form,
}

impl Options {
    fn path(&self) -> PathBuf {
        self.folder.join("readings-load.db")
    }

    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        let connection = Connection::open(self.path())?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", &self.synchronous)?;
        let pages = if matches!(self.form, Form::Chunks) { PAGES_MAX } else { 4_000 };
        connection.pragma_update(None, "wal_autocheckpoint", pages)?;
        connection.set_prepared_statement_cache_capacity(128);
        Ok(connection)
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.path().exists() {
        return Err(format!("{} exists already", options.path().display()).into());
    }
    println!(
        "{:?}: {} readings, {} sensors in turn, {} a commit, synchronous={}",
        options.form, options.readings, options.sensors, options.batch, options.synchronous
    );
    let connection = options.connect()?;
    match options.form {
        Form::Chunks => chunks(&options, connection),
        Form::Clustered => rows(&options, connection, CLUSTERED),
        Form::Appended => rows(&options, connection, APPENDED),
    }
}

fn rows(options: &Options, mut connection: Connection, schema: &str) -> Result<(), Failure> {
    connection.execute_batch(schema)?;
    let mut walk = Walk::new(options.sensors);
    let mut pace = Pace::new(options.readings, written());
    while pace.done() < options.readings {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for _ in 0..options.batch {
            let (sensor, sample) = walk.step();
            transaction.prepare_cached(INSERT)?.execute(params![
                sensor.0,
                sample.event_time.as_micros(),
                sample.received_at.as_micros(),
                sample.value,
                sample.quality.code()
            ])?;
        }
        transaction.commit()?;
        pace.add(options.batch, &options.path(), 0);
    }
    pace.finish(&connection)
}

fn chunks(options: &Options, connection: Connection) -> Result<(), Failure> {
    create_tables(&connection)?;
    let readings = Readings::open(&connection, ChunkSettings::default())?;
    let load = Load {
        options,
        readings: &readings,
        gate: Mutex::new(()),
        is_over: AtomicBool::new(false),
        longest_step: AtomicU64::new(0),
        longest_write_back: AtomicU64::new(0),
        longest_commit: AtomicU64::new(0),
    };
    let mut pace = Pace::new(options.readings, written());
    thread::scope(|scope| -> Result<(), Failure> {
        let compactor = scope.spawn(|| load.compact());
        let ingested = load.ingest(&mut pace);
        load.is_over.store(true, Ordering::Release);
        let compacted = compactor.join().map_err(|_| "the compactor died")??;
        let each = |seconds: f64| seconds / pace.done() as f64 * 1e9;
        println!(
            "  processor time of a reading: ingest {:.0} ns, compaction {:.0} ns",
            each(ingested?),
            each(compacted)
        );
        Ok(())
    })?;
    let micros = |longest: &AtomicU64| longest.load(Ordering::Relaxed);
    println!(
        "  longest at the gate: a step of compaction {} us, writing back the log {} us; longest commit {} us",
        micros(&load.longest_step),
        micros(&load.longest_write_back),
        micros(&load.longest_commit)
    );
    pace.finish(&connection)?;
    looks::look(options, &readings, pace.done())
}

/// Ingest and compaction, in turns at the gate.
struct Load<'a> {
    options: &'a Options,
    readings: &'a Readings,
    gate: Mutex<()>,
    is_over: AtomicBool,
    longest_step: AtomicU64,
    longest_write_back: AtomicU64,
    /// Waiting for the gate included.
    longest_commit: AtomicU64,
}

impl Load<'_> {
    /// Returns the processor time that it took.
    fn ingest(&self, pace: &mut Pace) -> Result<f64, Failure> {
        let mut connection = self.options.connect()?;
        let mut walk = Walk::new(self.options.sensors);
        while pace.done() < self.options.readings {
            while self.readings.is_pressed() {
                thread::park_timeout(Duration::from_millis(1));
            }
            let began = Instant::now();
            let gate = self.gate.lock();
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut batch = self.readings.batch();
            for _ in 0..self.options.batch {
                let (sensor, sample) = walk.step();
                batch.append(&transaction, sensor, sample)?;
            }
            batch.write(&transaction)?;
            transaction.commit()?;
            batch.adopt();
            drop(gate);
            note(&self.longest_commit, began);
            let path: &Path = &self.options.path();
            pace.add(self.options.batch, path, self.readings.tail_readings());
        }
        Ok(processor_seconds())
    }

    /// The same, until everything is in chunks.
    fn compact(&self) -> Result<f64, Failure> {
        let mut connection = self.options.connect()?;
        let file = Synced::open(&self.options.path())?;
        loop {
            let is_last = self.is_over.load(Ordering::Acquire);
            if is_last || self.readings.is_full() {
                let mut round = self.readings.begin_round();
                while round.has_more() {
                    let mut held = Instant::now();
                    self.readings.compact(&mut connection, &mut round, || {
                        let gate = self.gate.lock();
                        held = Instant::now();
                        gate
                    })?;
                    note(&self.longest_step, held);
                    let mut held = None;
                    write_back(&connection, &file, || {
                        let gate = self.gate.lock();
                        held = Some(Instant::now());
                        gate
                    })?;
                    if let Some(held) = held {
                        note(&self.longest_write_back, held);
                    }
                }
            } else {
                thread::park_timeout(Duration::from_millis(5));
            }
            if is_last {
                return Ok(processor_seconds());
            }
        }
    }
}

fn note(longest: &AtomicU64, since: Instant) {
    let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    longest.fetch_max(micros, Ordering::Relaxed);
}
