//! Readings at speed and at rest on SQLite: a journal that takes them, chunks that keep them.
//!
//! A commit writes one journal row with the readings of its batch. They stay in memory too (the tail)
//! until the compactor has moved them into compressed chunks, each some thousand readings of one
//! sensor; roll-ups by hour and day are made when chunks are full. Blocking code over plain connections:
//! no task, no clock; whoever calls decides on which thread.
//!
//! Invariants:
//! - Appends are made by one caller at a time, under the gate, and adopted before the gate is left; so
//!   the tail has every committed reading whose journal number is above its sensor's `moved_seq`.
//! - What moves readings writes chunks, roll-ups and `moved_seq` in one transaction, then trims the
//!   tail. A reader takes the tail's part first, begins its snapshot then, and drops what
//!   `moved_seq` says is in chunks: no gap and no double, at any moment.
//! - A sensor's chunks don't overlap. A key that the tail and a chunk both have was replaced: the tail's
//!   reading counts.
//! - Chunks, roll-ups and `reading_series` are changed under `upkeep` only.
//! - Roll-ups of all hours before a series' `rolled_upto` are there and equal what the chunks have; before
//!   `raw_from` raw readings are dropped, and what comes late is added to the roll-ups.

mod arrivals;
mod batch;
mod bits;
mod chunk;
mod column;
mod compact;
mod convert;
mod edge;
mod erase;
mod hours;
mod journal;
mod minutes;
mod moving;
mod parts;
mod recent;
mod retention;
mod rollup;
mod sketch;
mod stage;
mod statistics;
mod sums;
mod table;
mod tail;
mod verify;
mod view;
mod write_back;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use migration::{READING_CHUNKS, ROLLUP_TIMES};
use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

pub use arrivals::{Arrival, ArrivalWindow, Missed};
pub use batch::{Appended, Batch};
pub use compact::Compacted;
pub use convert::Converted;
pub use erase::Erased;
pub use moving::{FULL, Filling, pack, unpack};
pub use retention::{Dropped, KeepMinutes};
pub use rollup::{Rollup, Seen};
pub use sketch::Sketch;
pub use statistics::Envelope;
pub use statistics::Piece;
pub use verify::{Finding, Verified, verify};
pub use view::{Order, Reader};
pub use write_back::{PAGES_MAX, Synced, write_back};

pub(in crate::store) use hours::{COLUMNS, Span};
pub(in crate::store) use parts::{Known, Source, next_part};
pub(in crate::store) use rollup::{DAY, HOUR};
pub(in crate::store) use sums::Sums;

use crate::telemetry::{Quality, SensorId, Timestamp};
use table::Cache;
use tail::Tail;

/// A reading, its sensor known from where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub event_time: Timestamp,
    pub received_at: Timestamp,
    pub value: Option<f64>,
    pub quality: Quality,
}

impl Sample {
    /// Whether both have the same value, to the last bit.
    fn has_value_of(&self, other: &Self) -> bool {
        self.value.map(f64::to_bits) == other.value.map(f64::to_bits)
    }
}

/// Makes the tables where there are none, as the migrations do.
///
/// # Errors
/// When the database does not answer.
pub fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(READING_CHUNKS)?;
    connection.execute_batch(&ROLLUP_TIMES.join(";"))
}

/// What is wrong with stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub &'static str);

#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    #[error("the database did not answer")]
    Database(#[from] rusqlite::Error),
    #[error("chunk {id} of sensor {} is damaged", sensor.0)]
    Chunk { id: i64, sensor: SensorId, source: Damage },
    #[error("journal row {seq} is damaged")]
    Journal { seq: i64, source: Damage },
    #[error("a roll-up of sensor {} is damaged", sensor.0)]
    Rollup { sensor: SensorId, source: Damage },
}

impl ChunkError {
    /// What is stored is at fault, of one sensor alone: others can be read and written.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Database(_))
    }
}

#[derive(Debug, Clone, Copy)]
pub struct ChunkSettings {
    /// Readings in memory at which they are moved into chunks. Ingest that is faster than the compactor
    /// passes it: see [`Readings::is_pressed`].
    pub tail_readings_max: usize,
    /// Readings are moved when they are so old, however few.
    pub tail_age_max_micros: i64,
}

impl Default for ChunkSettings {
    fn default() -> Self {
        Self { tail_readings_max: 262_144, tail_age_max_micros: 600_000_000 }
    }
}

/// The readings of one database file, shared by everybody.
pub struct Readings {
    settings: ChunkSettings,
    /// Held for moments. Bound: the compactor's limit and what comes during a round.
    tail: RwLock<Tail>,
    /// Taken by whoever changes chunks, for a step.
    upkeep: Mutex<()>,
    cache: Mutex<Cache>,
    /// Of the next chunk; none is used twice while the process lives, so that the cache stays true.
    next_chunk: AtomicI64,
}

impl Readings {
    /// Reads what the journal has that is not in chunks yet.
    ///
    /// # Errors
    /// When the database does not answer or the journal can't be read.
    pub fn open(connection: &Connection, settings: ChunkSettings) -> Result<Self, ChunkError> {
        let tail = journal::replay(connection)?;
        let newest = "SELECT coalesce(max(id), 0) FROM reading_chunk";
        let newest: i64 = connection.query_row(newest, [], |row| row.get(0))?;
        Ok(Self {
            settings,
            tail: RwLock::new(tail),
            upkeep: Mutex::new(()),
            cache: Mutex::new(Cache::default()),
            next_chunk: AtomicI64::new(newest + 1),
        })
    }

    /// What reads through a connection.
    ///
    /// The connection is in no transaction; or in one that was begun under the gate, which is still held.
    pub fn reader<'a>(&'a self, connection: &'a Connection) -> Reader<'a> {
        Reader::new(self, connection, None)
    }

    /// Readings that are in memory.
    pub fn tail_readings(&self) -> usize {
        self.tail.read().count()
    }

    /// Readings in memory are so many that it is time to move them.
    pub fn is_full(&self) -> bool {
        self.tail_readings() >= self.settings.tail_readings_max
    }

    /// The compactor is far behind: whoever appends had better wait for it.
    pub fn is_pressed(&self) -> bool {
        self.tail_readings() > self.settings.tail_readings_max.saturating_mul(4)
    }

    fn chunk_id(&self) -> i64 {
        self.next_chunk.fetch_add(1, Ordering::Relaxed)
    }

    fn remembered(&self, id: i64) -> Option<Arc<Vec<Sample>>> {
        self.cache.lock().get(id)
    }
}

#[cfg(test)]
mod chunk_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod store_tests;
