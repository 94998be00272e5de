//! The compactor: moves readings from the tail into chunks, sensor by sensor, in small steps.
//!
//! A sensor's last chunk grows until it has some hundred readings, then the next is begun; when enough
//! of these are there for a full one they are put together, and their hours are rolled up. So a reading
//! is written a bounded number of times. What comes late goes into the chunk that its time lies in.

use rusqlite::{Connection, TransactionBehavior};

use super::{
    ChunkError, Readings, Sample, journal,
    rollup::HOUR,
    stage::{LARGE, Plan, Stage, hours_of},
    table::{self, Meta},
};
use crate::telemetry::{SensorId, Timestamp};

/// A chunk with fewer readings is written again with what comes.
const OPEN: usize = if cfg!(test) { 8 } else { 512 };
/// Chunks at a series' end that are put together at most.
const RUN: usize = 64;
/// Readings and sensors of a step: its transaction takes about a millisecond.
const STEP_READINGS: usize = 16_384;
const STEP_SENSORS: usize = if cfg!(test) { 1 } else { 64 };

/// A round in progress: the sensors that are to be moved still.
#[derive(Debug, Default)]
pub struct Compacted {
    /// Readings moved by the last step.
    pub readings: usize,
    /// What the last step left where it is: these readings stay in memory and in the journal.
    pub damaged: Vec<ChunkError>,
    sensors: Vec<SensorId>,
    has_more: bool,
}

impl Compacted {
    /// There is more to do at once.
    pub fn has_more(&self) -> bool {
        self.has_more
    }
}

impl Readings {
    /// Whether it is time for a round.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let tail = self.tail.read();
        let old = |oldest| now.micros_since(oldest) >= self.settings.tail_age_max_micros;
        tail.count() >= self.settings.tail_readings_max || tail.oldest_received().is_some_and(old)
    }

    /// Begins a round: moves everything that is in the tail at this moment, by [`Readings::compact`].
    pub fn begin_round(&self) -> Compacted {
        let mut sensors = self.tail.read().sensors();
        sensors.reverse();
        Compacted { sensors, has_more: true, ..Compacted::default() }
    }

    /// Does a step of a round. The connection is in no transaction; `gate` waits for the right to write
    /// and holds it as long as what it returns lives.
    ///
    /// # Errors
    /// When the database does not answer; nothing is changed then. Sensors whose chunks are damaged are
    /// passed over.
    pub fn compact<G>(
        &self,
        connection: &mut Connection,
        round: &mut Compacted,
        gate: impl FnOnce() -> G,
    ) -> Result<(), ChunkError> {
        let _upkeep = self.upkeep.lock();
        let mut plans = Vec::new();
        let mut readings = 0;
        round.damaged.clear();
        while readings < STEP_READINGS
            && plans.len() < STEP_SENSORS
            && let Some(sensor) = round.sensors.last().copied()
        {
            let (entries, adopted) = {
                let tail = self.tail.read();
                (tail.all(sensor).to_vec(), tail.adopted())
            };
            if !entries.is_empty() {
                let samples: Vec<Sample> = entries.iter().map(|entry| entry.sample).collect();
                match self.plan_moving(connection, sensor, &samples, Some(adopted)) {
                    Ok(plan) => plans.push((plan, adopted)),
                    Err(error) if error.is_damage() => round.damaged.push(error),
                    Err(error) => return Err(error),
                }
            }
            readings += entries.len();
            round.sensors.pop();
        }
        let needless = self.tail.read().needless_before();
        let mut is_clean = true;
        if !plans.is_empty() || needless.is_some() {
            let gate = gate();
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            plans.iter().try_for_each(|(plan, _)| plan.apply(&transaction))?;
            if let Some(seq) = needless {
                is_clean = journal::delete_before(&transaction, seq)?;
            }
            transaction.commit()?;
            drop(gate);
        }
        let mut tail = self.tail.write();
        for (plan, adopted) in &plans {
            tail.trim(plan.sensor, *adopted);
        }
        if let Some(seq) = needless.filter(|_| is_clean) {
            tail.note_deleted_before(seq);
        }
        round.readings = readings;
        round.has_more = !round.sensors.is_empty() || !is_clean || tail.needless_before().is_some();
        Ok(())
    }

    /// Moves what the tail has of one sensor; `upkeep` is held.
    pub(super) fn move_sensor<G>(
        &self,
        connection: &mut Connection,
        sensor: SensorId,
        gate: impl FnOnce() -> G,
    ) -> Result<(), ChunkError> {
        let (entries, adopted) = {
            let tail = self.tail.read();
            (tail.all(sensor).to_vec(), tail.adopted())
        };
        let samples: Vec<Sample> = entries.iter().map(|entry| entry.sample).collect();
        let plan = self.plan_moving(connection, sensor, &samples, Some(adopted))?;
        let gate = gate();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        plan.apply(&transaction)?;
        transaction.commit()?;
        drop(gate);
        self.tail.write().trim(sensor, adopted);
        Ok(())
    }

    /// How a sensor's readings, in order, come into chunks; up to which journal row they are its all.
    pub(super) fn plan_moving(
        &self,
        connection: &Connection,
        sensor: SensorId,
        samples: &[Sample],
        upto: Option<i64>,
    ) -> Result<Plan, ChunkError> {
        let mut stage = Stage::new(self, connection, sensor)?;
        let raw_from = stage.series.raw_from.unwrap_or(i64::MIN);
        let dropped = samples.partition_point(|sample| sample.event_time.as_micros() < raw_from);
        let (folded, kept) = samples.split_at_checked(dropped).unwrap_or((&[], samples));
        stage.add_to_rollups(folded)?;
        let last_time = table::last_time(connection, sensor)?.unwrap_or(i64::MIN);
        let late = kept.partition_point(|sample| sample.event_time.as_micros() <= last_time);
        let (late, onward) = kept.split_at_checked(late).unwrap_or((&[], kept));
        let trailing = table::last_metas(connection, sensor, LARGE / 2, RUN)?;
        // Where no chunk is before the last ones, they take what is before them too.
        let trailing_from = match trailing.first() {
            None => i64::MAX,
            Some(meta) => {
                let before = meta.first_time.saturating_sub(1);
                let is_first = table::meta_before(connection, sensor, before)?.is_none();
                if is_first { i64::MIN } else { meta.first_time }
            }
        };
        let inner = late.partition_point(|s| s.event_time.as_micros() < trailing_from);
        let (inner, outer) = late.split_at_checked(inner).unwrap_or((late, &[]));
        merge_late(connection, &mut stage, sensor, inner)?;
        let sealed = extend(&mut stage, &trailing, outer, onward)?;
        stage.series.moved_seq = upto.unwrap_or(stage.series.moved_seq);
        stage.roll_again(&hours_of(kept))?;
        if let Some(sealed) = sealed {
            stage.roll_up_to(sealed.div_euclid(HOUR) * HOUR)?;
        }
        let newest = kept.last().copied();
        let is_newer = |newest: &Sample| {
            stage.series.newest.is_none_or(|known| known.event_time <= newest.event_time)
        };
        if let Some(newest) = newest.filter(is_newer) {
            stage.series.newest = Some(newest);
        }
        Ok(stage.finish())
    }
}

/// Puts late readings into the full chunks that their times lie in, or are next to.
fn merge_late(
    connection: &Connection,
    stage: &mut Stage<'_>,
    sensor: SensorId,
    mut late: &[Sample],
) -> Result<(), ChunkError> {
    let Some(first) = late.first() else { return Ok(()) };
    let from = first.event_time.as_micros();
    let to = late.last().map_or(from, |last| last.event_time.as_micros()).saturating_add(1);
    let mut metas = cover(connection, sensor, from, to)?.into_iter().peekable();
    while let Some(meta) = metas.next() {
        // Up to where the next chunk begins; what is before all chunks goes into the first.
        let end = metas.peek().map_or(i64::MAX, |next| next.first_time);
        let here = late.partition_point(|sample| sample.event_time.as_micros() < end);
        let (here, rest) = late.split_at_checked(here).unwrap_or((late, &[]));
        if !here.is_empty() {
            let samples = merged(stage.take(&meta)?, here);
            stage.put_evenly(samples);
        }
        late = rest;
    }
    Ok(())
}

/// The chunks from the one before `from`, or the first of all, to `to`.
fn cover(
    connection: &Connection,
    sensor: SensorId,
    from: i64,
    to: i64,
) -> Result<Vec<Meta>, ChunkError> {
    let before = table::meta_before(connection, sensor, from)?;
    let mut metas: Vec<Meta> = before.into_iter().collect();
    let known = metas.first().map(|meta| meta.id);
    let following = table::metas(connection, sensor, from, to)?;
    metas.extend(following.into_iter().filter(|meta| Some(meta.id) != known));
    if metas.is_empty() {
        metas.extend(table::meta_after(connection, sensor, from)?);
    }
    Ok(metas)
}

/// Puts readings behind a series' end, and late ones into its last chunks. Returns the last time of
/// what is full, if anything has become so.
fn extend(
    stage: &mut Stage<'_>,
    trailing: &[Meta],
    late: &[Sample],
    onward: &[Sample],
) -> Result<Option<i64>, ChunkError> {
    let there: usize = trailing.iter().map(|meta| meta.count).sum();
    if there + late.len() + onward.len() >= LARGE {
        let mut samples = Vec::with_capacity(there + late.len() + onward.len());
        for meta in trailing {
            samples.extend(stage.take(meta)?);
        }
        let mut samples = merged(samples, late);
        samples.extend_from_slice(onward);
        let full = samples.len() / LARGE * LARGE;
        let sealed = full.checked_sub(1).and_then(|at| samples.get(at));
        let sealed = sealed.map(|sample| sample.event_time.as_micros());
        stage.put(samples);
        return Ok(sealed);
    }
    let mut late = late;
    let mut rest = trailing.iter().peekable();
    let mut is_extended = onward.is_empty();
    while let Some(meta) = rest.next() {
        let end = rest.peek().map_or(i64::MAX, |next| next.first_time);
        let here = late.partition_point(|sample| sample.event_time.as_micros() < end);
        let (here, later) = late.split_at_checked(here).unwrap_or((late, &[]));
        late = later;
        let grows = rest.peek().is_none() && !is_extended && meta.count < OPEN;
        if here.is_empty() && !grows {
            continue;
        }
        let mut samples = merged(stage.take(meta)?, here);
        if grows {
            samples.extend_from_slice(onward);
            is_extended = true;
        }
        stage.put(samples);
    }
    if !is_extended {
        stage.put(onward.to_vec());
    }
    Ok(None)
}

/// Readings in order; the later of two with one time counts.
fn merged(samples: Vec<Sample>, late: &[Sample]) -> Vec<Sample> {
    if late.is_empty() {
        return samples;
    }
    let mut all = Vec::with_capacity(samples.len() + late.len());
    let mut late = late.iter().copied().peekable();
    for sample in samples {
        while let Some(before) = late.next_if(|late| late.event_time < sample.event_time) {
            all.push(before);
        }
        all.push(late.next_if(|late| late.event_time == sample.event_time).unwrap_or(sample));
    }
    all.extend(late);
    all
}
