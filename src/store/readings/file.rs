//! Readings in chunks, in the SQLite file: connections to read them, one to change them, and the thread
//! that moves them from memory into chunks.
//!
//! The thread ends with the last handle to the store, or when the store is closed. It changes chunks in
//! steps of a millisecond or so, each under the gate: ingest gets between.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use metrics::counter;
use parking_lot::Condvar;
use rusqlite::{Connection, OpenFlags};
use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
};

use super::{StoreError, StoredReading};
use crate::{
    clock::Clock,
    metrics::names,
    store::{
        StoreSettings,
        chunks::{
            self, ChunkError, ChunkSettings, Compacted, PAGES_MAX, Reader, Readings, Sample, Synced,
        },
        room::Room,
    },
    telemetry::{SensorId, Timestamp},
};

/// Statements that stay prepared on each connection.
const STATEMENTS: usize = 64;
/// How often the thread looks whether readings are old enough to be moved.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries while something can't be moved: what is at fault rarely goes by itself.
const RETRY: Duration = Duration::from_secs(10);
/// A commit looks so often whether there is room in memory again, and so long after the last step that
/// made some; then the batch is refused.
const ROOM_LOOKS: u32 = 100;
const ROOM_LOOK: Duration = Duration::from_millis(100);
/// Steps of the conversion from one line in the log to the next.
const CONVERSION_LINES: u64 = 100;
const HAS_ROWS: &str =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'reading'";

/// What changes chunks waits here for the right to write.
type Gate = Arc<Mutex<()>>;

pub(in crate::store) struct ReadingFile {
    path: PathBuf,
    busy_timeout: Duration,
    readings: Readings,
    gate: Gate,
    /// Connections that nobody reads by; as many as there are permits at most.
    idle: parking_lot::Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    /// Taken for a step.
    changing: parking_lot::Mutex<Connection>,
    synced: Synced,
    mover: OnceLock<Mover>,
    /// Told after each step that moves readings.
    moved: Condvar,
    waiting: parking_lot::Mutex<()>,
    is_ending: AtomicBool,
    pub(in crate::store) room: Room,
    /// Keeps a second Brooklet out as long as anybody may write.
    _lock: File,
}

struct Mover {
    thread: Thread,
    handle: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl ReadingFile {
    /// Opens a file whose schema is up to date; rows of the former table are moved into chunks first.
    pub(in crate::store) async fn open(
        settings: &StoreSettings,
        gate: Gate,
        lock: File,
    ) -> Result<Arc<Self>, StoreError> {
        let settings = settings.clone();
        run(move || {
            let mut changing = connect(&settings.path, settings.busy_timeout, true)?;
            let bounds = ChunkSettings {
                tail_readings_max: settings.readings_in_memory,
                ..ChunkSettings::default()
            };
            let readings = Readings::open(&changing, bounds)?;
            convert(&readings, &mut changing)?;
            let synced = Synced::open(&settings.path).map_err(|error| StoreError::Open {
                path: settings.path.display().to_string(),
                source: error.into(),
            })?;
            let file = Arc::new(Self {
                synced,
                path: settings.path,
                busy_timeout: settings.busy_timeout,
                readings,
                gate,
                idle: parking_lot::Mutex::default(),
                permits: Arc::new(Semaphore::new(settings.readers.max(1) as usize)),
                changing: parking_lot::Mutex::new(changing),
                mover: OnceLock::new(),
                moved: Condvar::new(),
                waiting: parking_lot::Mutex::new(()),
                is_ending: AtomicBool::new(false),
                room: Room::default(),
                _lock: lock,
            });
            file.start()?;
            Ok(file)
        })
        .await
    }

    fn start(self: &Arc<Self>) -> Result<(), StoreError> {
        let file = Arc::downgrade(self);
        let named = thread::Builder::new().name("readings".to_owned());
        let handle = named.spawn(move || move_readings(&file));
        let handle = handle.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let thread = handle.thread().clone();
        let handle = parking_lot::Mutex::new(Some(handle));
        let _ = self.mover.set(Mover { thread, handle });
        Ok(())
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::store) fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Ends the thread; what it has not moved is in the journal.
    pub(in crate::store) async fn close(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        let Some(mover) = self.mover.get() else { return };
        mover.thread.unpark();
        let handle = mover.handle.lock().take();
        let joined = spawn_blocking(move || handle.map(JoinHandle::join));
        if !matches!(joined.await, Ok(None | Some(Ok(())))) {
            tracing::error!("the thread that moves readings into chunks has died");
        }
    }

    /// Called after each commit: wakes the thread when there is something for it.
    pub(in crate::store) fn committed(&self) {
        if self.readings.is_full() {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(mover) = self.mover.get() {
            mover.thread.unpark();
        }
    }

    /// Waits while memory is full of readings that are not in chunks. Blocks; before the gate is taken.
    pub(in crate::store) fn wait_for_room(&self) -> Result<(), StoreError> {
        if !self.readings.is_pressed() {
            return Ok(());
        }
        let mut waiting = self.waiting.lock();
        for _ in 0..ROOM_LOOKS {
            self.wake();
            self.moved.wait_for(&mut waiting, ROOM_LOOK);
            if !self.readings.is_pressed() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("readings can't be moved into chunks".to_owned()))
    }

    /// Reads through a connection of its own, on a thread that may block.
    pub(in crate::store) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Reader<'_>) -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let file = self.clone();
        run(move || {
            let _permit = permit;
            let idle = file.idle.lock().pop();
            let connection = idle.map_or_else(|| file.connect(), Ok)?;
            let outcome = work(&file.readings.reader(&connection));
            file.idle.lock().push(connection);
            Ok(outcome?)
        })
        .await
    }

    /// A connection that reads.
    pub(in crate::store) fn connect(&self) -> Result<Connection, StoreError> {
        Ok(connect(&self.path, self.busy_timeout, false)?)
    }

    /// Does a step that changes chunks, on a thread that may block.
    pub(in crate::store) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Readings, &mut Connection, &Gate) -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = self.clone();
        run(move || Ok(work(&file.readings, &mut file.changing.lock(), &file.gate)?)).await
    }

    /// Moves what is in memory, if it is time; `false` where some of it can't be.
    fn move_due(&self, now: Timestamp) -> bool {
        if !self.readings.is_due(now) {
            return true;
        }
        let mut round = self.readings.begin_round();
        let mut is_done = true;
        while round.has_more() && !self.is_ending.load(Ordering::Relaxed) {
            if let Err(error) = self.step(&mut round) {
                let error = StoreError::from(error);
                counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
                tracing::warn!(%error, "readings stay in memory and in the journal: they can't be moved into chunks");
                return false;
            }
            is_done &= round.damaged.is_empty();
        }
        is_done
    }

    fn step(&self, round: &mut Compacted) -> Result<(), ChunkError> {
        let gate = || self.gate.blocking_lock();
        self.readings.compact(&mut self.changing.lock(), round, gate)?;
        counter!(names::STORE_PACKED).increment(round.readings as u64);
        drop(self.waiting.lock());
        self.moved.notify_all();
        self.write_back();
        for error in &round.damaged {
            tracing::error!(error = %error, "readings of a sensor can't be moved into chunks; `brooklet verify` tells more");
        }
        Ok(())
    }

    fn write_back(&self) {
        let gate = || self.gate.blocking_lock();
        if let Err(error) = chunks::write_back(&self.changing.lock(), &self.synced, gate) {
            tracing::warn!(%error, "the write-ahead log was not written back");
        }
    }
}

/// The thread's work. It holds no handle while it waits.
fn move_readings(file: &Weak<ReadingFile>) {
    let clock = Clock::system();
    loop {
        thread::park_timeout(LOOK);
        let Some(file) = file.upgrade() else { return };
        if file.is_ending.load(Ordering::Relaxed) {
            return;
        }
        let is_done = file.move_due(Timestamp::from_micros(clock.unix_micros()));
        file.write_back();
        drop(file);
        if !is_done {
            thread::park_timeout(RETRY);
        }
    }
}

/// Runs what blocks.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let died = |_| StoreError::Unavailable("the thread that reads readings has died".to_owned());
    spawn_blocking(work).await.map_err(died)?
}

fn connect(path: &Path, busy_timeout: Duration, is_writing: bool) -> rusqlite::Result<Connection> {
    let access = match is_writing {
        true => OpenFlags::SQLITE_OPEN_READ_WRITE,
        false => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(busy_timeout)?;
    if is_writing {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", PAGES_MAX)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Moves the rows of the former table into chunks, and drops it. Goes on where it was cut short.
fn convert(readings: &Readings, connection: &mut Connection) -> Result<(), StoreError> {
    let tables: i64 = connection.query_row(HAS_ROWS, [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(());
    }
    let mut moved = 0;
    for number in 1.. {
        let step = readings.convert(connection, || ())?;
        moved += step.readings;
        if moved > 0 && (!step.has_more || number % CONVERSION_LINES == 0) {
            tracing::info!(readings = moved, "readings are moved into chunks, once");
        }
        if !step.has_more {
            break;
        }
    }
    connection.execute_batch("DROP TABLE reading; DELETE FROM reading_conversion")?;
    Ok(())
}

pub(super) fn of(sensor: SensorId, samples: &[Sample]) -> Vec<StoredReading> {
    samples.iter().map(|sample| StoredReading::of(sensor, sample)).collect()
}

impl From<&StoredReading> for Sample {
    fn from(reading: &StoredReading) -> Self {
        let StoredReading { event_time, received_at, value, quality, .. } = *reading;
        Self { event_time, received_at, value, quality }
    }
}

impl StoredReading {
    pub(in crate::store) fn of(sensor: SensorId, sample: &Sample) -> Self {
        let Sample { event_time, received_at, value, quality } = *sample;
        Self { sensor, event_time, received_at, value, quality }
    }
}

impl From<ChunkError> for StoreError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Database(error) => error.into(),
            damage => match std::error::Error::source(&damage) {
                Some(what) => Self::Damaged(format!("{damage}: {what}")),
                None => Self::Damaged(damage.to_string()),
            },
        }
    }
}
