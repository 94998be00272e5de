//! Readings in the order in which they arrived, for replays and backtests: a stream with bounded
//! memory, read by a thread of its own.
//!
//! The order is exact, by (received, sensor, event time), for every reading that the query finds, however
//! late. On SQLite a reader that stops taking stops the thread; no read transaction outlasts one
//! window of the range, so that the write-ahead log can be written back meanwhile. A server sorts by itself, and sends as the
//! reader takes.

use futures_util::TryStreamExt;
use rusqlite::InterruptHandle;
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement, StreamTrait};
use tokio::{runtime::Handle, sync::mpsc, task::spawn_blocking};

use super::{Order, Store, StoreError, StoredReading, file::of};
use crate::{
    store::{
        chunks::{ArrivalWindow, ChunkError, Reader},
        engine::Engine,
    },
    telemetry::{Quality, SensorId, Timestamp},
};

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

/// Ingest replaces times further ahead of receipt than five minutes; one more to be safe. Microseconds.
const AHEAD: i64 = 360 * 1_000_000;
/// Readings handed over at once.
const CHUNK: usize = 4_096;
/// Chunks that wait for their reader.
const CHUNKS_AHEAD: usize = 4;

type Chunk = Result<Vec<StoredReading>, StoreError>;

/// A stream of readings; dropping it ends the reading.
pub struct Arrivals {
    /// An empty chunk is the end; without it the thread has died.
    chunks: mpsc::Receiver<Chunk>,
    /// On SQLite.
    interrupt: Option<InterruptHandle>,
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
        if let Some(interrupt) = &self.interrupt {
            interrupt.interrupt();
        }
    }
}

const RANGE: &str = "SELECT min(value) AS low, max(value) AS high FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 AND received_at >= ?4 \
    AND quality < 2 AND value IS NOT NULL";
const LAST: &str = "SELECT event_time, received_at, value, quality FROM reading \
    WHERE sensor_id = ?1 AND event_time < ?2 ORDER BY event_time DESC LIMIT ?3";
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
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let Some(file) = self.file().cloned() else {
            let (readers, statement) = (self.readers.clone(), by_arrival(self.engine, &query));
            // Ends by itself when the reader is dropped: nobody has to wait for it.
            let runtime = Handle::current();
            drop(spawn_blocking(move || {
                let streaming = stream_all(&readers, statement, &sender);
                let last = runtime.block_on(streaming).map(|()| Vec::new());
                drop(sender.blocking_send(last));
            }));
            return Ok(Arrivals { chunks, interrupt: None, is_over: false });
        };
        let opened = spawn_blocking(move || file.connect().map(|connection| (file, connection)));
        let (file, connection) = opened.await.map_err(|_| gone())??;
        let interrupt = connection.get_interrupt_handle();
        // Ends by itself when the reader is dropped: nobody has to wait for it.
        drop(spawn_blocking(move || {
            let reader = file.readings().reader(&connection);
            let last = match send_all(&reader, query, &sender) {
                Ok(()) => Ok(Vec::new()),
                Err(error) => Err(error.into()),
            };
            drop(sender.blocking_send(last));
        }));
        Ok(Arrivals { chunks, interrupt: Some(interrupt), is_over: false })
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
        if let Some(file) = self.file() {
            let find = move |reader: &Reader<'_>| {
                let range = (Timestamp::MIN, before);
                let mut found = reader.scan(sensor, range, Order::Descending, few(count))?;
                found.sort_by_key(|sample| (sample.received_at, sample.event_time));
                Ok(of(sensor, &found))
            };
            return file.read(find).await;
        }
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
        if let Some(file) = self.file() {
            let find = move |reader: &Reader<'_>| {
                Ok(of(sensor, &reader.newest_arrived(sensor, before, few(count))?))
            };
            return file.read(find).await;
        }
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
        let statement = self.engine.statement(sql, values);
        let rows = self.readers.query_all_raw(statement).await?;
        let mut readings = Vec::with_capacity(rows.len());
        for row in rows {
            readings.push(reading(sensor, &row)?);
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
        if let Some(file) = self.file() {
            let find =
                move |reader: &Reader<'_>| reader.value_range(sensor, (from, to), arrived_since);
            return file.read(find).await;
        }
        let times = [from, to, arrived_since].map(|time| time.as_micros().into());
        let values = std::iter::once(sensor.0.into()).chain(times);
        let statement = self.engine.statement(RANGE, values);
        let Some(row) = self.readers.query_one_raw(statement).await? else { return Ok(None) };
        let (low, high): (Option<f64>, Option<f64>) =
            (row.try_get("", "low")?, row.try_get("", "high")?);
        Ok(low.zip(high))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the thread that reads readings has died".to_owned())
}

fn reading(sensor: SensorId, row: &QueryResult) -> Result<StoredReading, StoreError> {
    Ok(StoredReading {
        sensor,
        event_time: Timestamp::from_micros(row.try_get("", "event_time")?),
        received_at: Timestamp::from_micros(row.try_get("", "received_at")?),
        value: row.try_get("", "value")?,
        quality: Quality::from_code(row.try_get("", "quality")?),
    })
}

/// All in one statement: a server sorts what it has no index for on its own disk.
fn by_arrival(engine: Engine, query: &ArrivalQuery) -> Statement {
    let sensors: Vec<_> = query.sensors.iter().map(|sensor| sensor.0.to_string()).collect();
    let sensors = if sensors.is_empty() { "NULL".to_owned() } else { sensors.join(",") };
    let sql = format!(
        "SELECT sensor_id, event_time, received_at, value, quality FROM reading \
         WHERE sensor_id IN ({sensors}) AND event_time >= ?1 AND event_time < ?2 \
         AND received_at >= ?3 AND received_at < ?4 ORDER BY received_at, sensor_id, event_time"
    );
    let (from, to) = (query.from.as_micros(), query.to.as_micros());
    let oldest = query.oldest_event.map_or(i64::MIN, Timestamp::as_micros);
    engine.statement(&sql, [oldest, to.saturating_add(AHEAD), from, to].map(Into::into))
}

async fn stream_all(
    readers: &DatabaseConnection,
    statement: Statement,
    sender: &mpsc::Sender<Chunk>,
) -> Result<(), StoreError> {
    let mut rows = readers.stream_raw(statement).await?;
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Some(row) = rows.try_next().await? {
        chunk.push(reading(SensorId(row.try_get("", "sensor_id")?), &row)?);
        if chunk.len() == CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            if sender.send(Ok(full)).await.is_err() {
                return Ok(());
            }
        }
    }
    if !chunk.is_empty() {
        let _ = sender.send(Ok(chunk)).await;
    }
    Ok(())
}

fn send_all(
    reader: &Reader<'_>,
    query: ArrivalQuery,
    sender: &mpsc::Sender<Chunk>,
) -> Result<(), ChunkError> {
    let ArrivalQuery { sensors, from, to, oldest_event } = query;
    let mut window = ArrivalWindow::new(sensors, (from, to), oldest_event);
    loop {
        let found = reader.arrivals(&mut window)?;
        if found.is_empty() {
            return Ok(());
        }
        for chunk in found.chunks(CHUNK) {
            let chunk = chunk.iter().map(|(sensor, sample)| StoredReading::of(*sensor, sample));
            if sender.blocking_send(Ok(chunk.collect())).is_err() {
                return Ok(());
            }
        }
    }
}

fn few(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
