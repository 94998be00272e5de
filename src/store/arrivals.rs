//! Readings in the order in which they arrived, for replays and backtests: a stream with bounded
//! memory, read by a thread of its own.
//!
//! The order is exact, by (received, sensor), for every reading that the query finds, however late.
//! A reader that stops taking stops the thread; no read transaction outlasts one page, so that the
//! write-ahead log can be written back meanwhile.

use std::path::Path;

use rusqlite::{Connection, InterruptHandle, OpenFlags};
use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{Store, StoreError, StoredReading, arrival_lanes::Merge};
use crate::telemetry::{Quality, SensorId, Timestamp};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalQuery {
    pub sensors: Vec<SensorId>,
    /// Arrived at `from` or later,
    pub from: Timestamp,
    /// and before `to`.
    pub to: Timestamp,
    /// Back-fill of an earlier event time is not looked for. `None` finds all, at the price of a look
    /// at everything that the sensors have from before `to`.
    pub oldest_event: Option<Timestamp>,
}

/// Readings handed over at once.
const CHUNK: usize = 4_096;
/// Chunks that wait for their reader.
const CHUNKS_AHEAD: usize = 4;

type Chunk = Result<Vec<StoredReading>, StoreError>;

/// A stream of readings; dropping it ends the reading.
pub struct Arrivals {
    /// An empty chunk is the end; without it the thread has died.
    chunks: mpsc::Receiver<Chunk>,
    interrupt: InterruptHandle,
    is_over: bool,
}

impl Arrivals {
    /// The next readings, at most some thousands; `None` after the last.
    ///
    /// # Errors
    /// When the database does not answer; nothing comes after that.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredReading>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let chunk = self.chunks.recv().await;
        self.taken(chunk)
    }

    /// As [`Arrivals::next`], for a thread that may block.
    ///
    /// # Errors
    /// As above.
    pub fn next_blocking(&mut self) -> Result<Option<Vec<StoredReading>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let chunk = self.chunks.blocking_recv();
        self.taken(chunk)
    }

    fn taken(&mut self, chunk: Option<Chunk>) -> Result<Option<Vec<StoredReading>>, StoreError> {
        let chunk = chunk.unwrap_or_else(|| Err(gone()));
        self.is_over = chunk.as_ref().map_or(true, Vec::is_empty);
        Ok(Some(chunk?).filter(|chunk| !chunk.is_empty()))
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.chunks.close();
        self.interrupt.interrupt();
    }
}

pub(super) const RANGE: &str = "SELECT min(value) AS low, max(value) AS high FROM reading \
    WHERE sensor_id = ? AND event_time >= ? AND event_time < ? AND received_at >= ? \
    AND quality < 2 AND value IS NOT NULL";
pub(super) const LAST: &str = "SELECT event_time, received_at, value, quality FROM reading \
    WHERE sensor_id = ? AND event_time < ? ORDER BY event_time DESC LIMIT ?";
/// No reading is stamped further ahead of its arrival than the lanes allow.
const LAST_ARRIVED: &str = "SELECT event_time, received_at, value, quality FROM reading \
    WHERE sensor_id = ?1 AND event_time < ?2 + 360000000 AND received_at < ?2 \
    ORDER BY event_time DESC LIMIT ?3";

impl Store {
    /// What arrived at some sensors in a time, in the order of arrival.
    ///
    /// Readings that arrive while this runs are found where they belong to the range. `to` is best
    /// not in the future: what then comes may be missed.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub async fn readings_by_arrival(&self, query: ArrivalQuery) -> Result<Arrivals, StoreError> {
        let path = self.path.clone();
        let opened = spawn_blocking(move || open(&path)).await.map_err(|_| gone())?;
        let connection = opened?;
        let interrupt = connection.get_interrupt_handle();
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        // Ends by itself when the reader is dropped: nobody has to wait for it.
        drop(spawn_blocking(move || {
            let last = match send_all(&connection, &query, &sender) {
                Ok(()) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            drop(sender.blocking_send(last));
        }));
        Ok(Arrivals { chunks, interrupt, is_over: false })
    }

    /// The `count` readings of a sensor with the newest event times before `before`, in the order in
    /// which they arrived.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn last_readings(
        &self,
        sensor: SensorId,
        before: Timestamp,
        count: u64,
    ) -> Result<Vec<StoredReading>, StoreError> {
        self.last(LAST, sensor, before, count).await
    }

    /// The `count` readings of a sensor with the newest event times among those that arrived before
    /// `before`, in the order in which they arrived.
    ///
    /// # Errors
    /// As above.
    pub async fn last_arrived(
        &self,
        sensor: SensorId,
        before: Timestamp,
        count: u64,
    ) -> Result<Vec<StoredReading>, StoreError> {
        self.last(LAST_ARRIVED, sensor, before, count).await
    }

    async fn last(
        &self,
        sql: &str,
        sensor: SensorId,
        before: Timestamp,
        count: u64,
    ) -> Result<Vec<StoredReading>, StoreError> {
        let values = [sensor.0.into(), before.as_micros().into(), count.into()];
        let statement = Statement::from_sql_and_values(DatabaseBackend::Sqlite, sql, values);
        let rows = self.readers.query_all_raw(statement).await?;
        let mut readings = Vec::with_capacity(rows.len());
        for row in rows {
            readings.push(StoredReading {
                sensor,
                event_time: Timestamp::from_micros(row.try_get("", "event_time")?),
                received_at: Timestamp::from_micros(row.try_get("", "received_at")?),
                value: row.try_get("", "value")?,
                quality: Quality::from_code(row.try_get("", "quality")?),
            });
        }
        readings.sort_by_key(|reading| (reading.received_at, reading.event_time));
        Ok(readings)
    }

    /// The least and the greatest value of a sensor with an event time from `from` to `to` (not
    /// included) that arrived at `arrived_since` or later; of readings whose quality is not bad.
    ///
    /// # Errors
    /// As above.
    pub async fn value_range(
        &self,
        sensor: SensorId,
        from: Timestamp,
        to: Timestamp,
        arrived_since: Timestamp,
    ) -> Result<Option<(f64, f64)>, StoreError> {
        let times = [from, to, arrived_since].map(|time| time.as_micros().into());
        let values = std::iter::once(sensor.0.into()).chain(times);
        let statement = Statement::from_sql_and_values(DatabaseBackend::Sqlite, RANGE, values);
        let Some(row) = self.readers.query_one_raw(statement).await? else { return Ok(None) };
        let (low, high): (Option<f64>, Option<f64>) =
            (row.try_get("", "low")?, row.try_get("", "high")?);
        Ok(low.zip(high))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the thread that reads readings has died".to_owned())
}

/// A connection that can't write to the file, and keeps what it sorts in a file of its own.
fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    Ok(connection)
}

fn send_all(
    connection: &Connection,
    query: &ArrivalQuery,
    sender: &mpsc::Sender<Chunk>,
) -> Result<(), StoreError> {
    let mut merge = Merge::new(connection, query)?;
    loop {
        let chunk = merge.next(CHUNK)?;
        if chunk.is_empty() || sender.blocking_send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}
