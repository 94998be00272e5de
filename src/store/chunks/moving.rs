//! All readings of a file, out and in: for moving from one engine to another.
//!
//! What comes in goes straight into full chunks, of sensors that have none yet; roll-ups come beside,
//! as they were.

use std::collections::BTreeSet;

use rusqlite::{Connection, TransactionBehavior};

use super::{
    ChunkError, Damage, Reader, Readings, Sample,
    chunk::{Chunk, encode},
    rollup::HOUR,
    stage::{LARGE, Stage, hours_of},
    table::{self, NewChunk, Series},
    view::not_moved,
};
use crate::telemetry::SensorId;

const SENSORS: &str = "SELECT id FROM sensor UNION SELECT sensor_id FROM reading_series \
    UNION SELECT sensor_id FROM reading_chunk ORDER BY 1";
/// Hours that are made again at once.
const HOURS: usize = 256;
/// A series with more chunks and no roll-up at all gets them step by step.
const CHUNKS_WITHOUT: usize = 64;

impl Reader<'_> {
    /// Every sensor that readings may be kept of, in order.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub fn sensors(&self) -> Result<BTreeSet<SensorId>, ChunkError> {
        let mut sensors: BTreeSet<SensorId> =
            self.readings.tail.read().sensors().into_iter().collect();
        let mut statement = self.connection.prepare_cached(SENSORS)?;
        for sensor in statement.query_map([], |row| row.get(0))? {
            sensors.insert(SensorId(sensor?));
        }
        Ok(sensors)
    }
}

impl Reader<'_> {
    /// Hours whose roll-ups don't have all of their readings yet: some of them are in memory.
    ///
    /// # Errors
    /// As above.
    pub fn stale_hours(&self) -> Result<BTreeSet<(SensorId, i64)>, ChunkError> {
        let mut hours = BTreeSet::new();
        let sensors = self.readings.tail.read().sensors();
        for sensor in sensors {
            let entries = self.readings.tail.read().all(sensor).to_vec();
            let series = Series::load(self.connection, sensor)?;
            let rolled = series.rolled_upto.unwrap_or(i64::MIN);
            let mut waiting = not_moved(&entries, series.moved_seq);
            waiting.retain(|sample| sample.event_time.as_micros() < rolled);
            hours.extend(hours_of(&waiting).into_iter().map(|hour| (sensor, hour)));
        }
        Ok(hours)
    }
}

/// Some thousand readings of one sensor, in order, as a blob with a checksum.
pub fn pack(samples: &[Sample]) -> Vec<u8> {
    encode(samples)
}

/// # Errors
/// When the blob is not what was packed.
pub fn unpack(blob: &[u8]) -> Result<Vec<Sample>, Damage> {
    Chunk::parse(blob)?.decode()
}

/// Readings of a full chunk.
pub const FULL: usize = LARGE;

/// Puts readings into chunks: sensor by sensor, each in the order of its event times, none twice.
pub struct Filling {
    next_chunk: i64,
    sensor: Option<SensorId>,
    waiting: Vec<Sample>,
    newest: Option<Sample>,
}

impl Filling {
    /// # Errors
    /// As above.
    pub fn new(connection: &Connection) -> Result<Self, ChunkError> {
        let last = "SELECT coalesce(max(id), 0) FROM reading_chunk";
        let last: i64 = connection.query_row(last, [], |row| row.get(0))?;
        Ok(Self { next_chunk: last + 1, sensor: None, waiting: Vec::new(), newest: None })
    }

    /// # Errors
    /// As above.
    pub fn add(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
        samples: &[Sample],
    ) -> Result<(), ChunkError> {
        if self.sensor != Some(sensor) {
            self.end(connection)?;
            self.sensor = Some(sensor);
        }
        self.newest = samples.last().copied().or(self.newest);
        self.waiting.extend_from_slice(samples);
        while self.waiting.len() >= LARGE {
            let rest = self.waiting.split_off(LARGE);
            let full = std::mem::replace(&mut self.waiting, rest);
            self.put(connection, sensor, &full)?;
        }
        Ok(())
    }

    /// Ends the last sensor's series.
    ///
    /// # Errors
    /// As above.
    pub fn end(&mut self, connection: &Connection) -> Result<(), ChunkError> {
        let Some(sensor) = self.sensor.take() else { return Ok(()) };
        let rest = std::mem::take(&mut self.waiting);
        if !rest.is_empty() {
            self.put(connection, sensor, &rest)?;
        }
        let series = Series { newest: self.newest.take(), ..Series::default() };
        series.put(connection, sensor)
    }

    fn put(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
        samples: &[Sample],
    ) -> Result<(), ChunkError> {
        NewChunk::new(self.next_chunk, samples).insert(connection, sensor)?;
        self.next_chunk += 1;
        Ok(())
    }
}

impl Readings {
    /// Makes the roll-ups of these hours again, in order of sensors, and those of long series that have
    /// none: elsewhere they were not made yet.
    ///
    /// # Errors
    /// As above.
    pub fn complete_rollups(
        &self,
        connection: &mut Connection,
        stale: &[(SensorId, i64)],
    ) -> Result<(), ChunkError> {
        let _upkeep = self.upkeep.lock();
        for of_sensor in stale.chunk_by(|a, b| a.0 == b.0) {
            for some in of_sensor.chunks(HOURS) {
                let Some((sensor, _)) = some.first() else { continue };
                let hours: BTreeSet<i64> = some.iter().map(|(_, hour)| *hour).collect();
                self.staged(connection, *sensor, |stage| stage.roll_again(&hours))?;
            }
            if let Some((sensor, _)) = of_sensor.first() {
                self.fold(connection, *sensor)?;
            }
        }
        let sensors: Vec<i64> = {
            let sql = "SELECT sensor_id FROM reading_series WHERE rolled_upto IS NULL";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for sensor in sensors.into_iter().map(SensorId) {
            let metas = table::metas(connection, sensor, i64::MIN, i64::MAX)?;
            if metas.len() <= CHUNKS_WITHOUT {
                continue;
            }
            for meta in metas.iter().filter(|meta| meta.count >= LARGE) {
                let upto = meta.last_time.div_euclid(HOUR) * HOUR;
                self.staged(connection, sensor, |stage| stage.roll_up_to(upto))?;
            }
        }
        Ok(())
    }

    /// What came late for a time whose raw readings are dropped is left in roll-ups alone.
    fn fold(&self, connection: &mut Connection, sensor: SensorId) -> Result<(), ChunkError> {
        let raw_from = Series::load(connection, sensor)?.raw_from.unwrap_or(i64::MIN);
        let before = table::metas(connection, sensor, i64::MIN, raw_from)?;
        for meta in before {
            self.staged(connection, sensor, |stage| {
                let samples = stage.take(&meta)?;
                let at = samples.partition_point(|s| s.event_time.as_micros() < raw_from);
                let (folded, kept) = samples.split_at_checked(at).unwrap_or((&samples, &[]));
                stage.add_to_rollups(folded)?;
                stage.put_evenly(kept.to_vec());
                stage.find_newest()
            })?;
        }
        Ok(())
    }

    fn staged(
        &self,
        connection: &mut Connection,
        sensor: SensorId,
        change: impl FnOnce(&mut Stage<'_>) -> Result<(), ChunkError>,
    ) -> Result<(), ChunkError> {
        let mut stage = Stage::new(self, connection, sensor)?;
        change(&mut stage)?;
        let plan = stage.finish();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        plan.apply(&transaction)?;
        Ok(transaction.commit()?)
    }
}
