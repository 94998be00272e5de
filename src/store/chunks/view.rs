//! Reading: a sensor's readings as one moment shows them, from the tail and from chunks.

use std::ops::ControlFlow;

use rusqlite::{Connection, Transaction};

use super::{
    Batch, ChunkError, Readings, Sample,
    chunk::Chunk,
    table::{self, Meta, Series},
    tail::Entry,
};
use crate::telemetry::{Quality, SensorId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Reads through one connection; see [`Readings::reader`].
pub struct Reader<'a> {
    pub(super) readings: &'a Readings,
    pub(super) connection: &'a Connection,
    /// A batch that is not committed yet, and is seen all the same.
    pub(super) pending: Option<&'a Batch<'a>>,
}

/// One moment of the database: a transaction, unless the connection is in one.
pub(super) struct Moment<'a>(
    #[allow(dead_code, reason = "ends when it is dropped")] Option<Transaction<'a>>,
);

impl<'a> Moment<'a> {
    pub(super) fn begin(connection: &'a Connection) -> Result<Self, ChunkError> {
        let is_free = connection.is_autocommit();
        Ok(Self(is_free.then(|| connection.unchecked_transaction()).transpose()?))
    }
}

/// A range of one sensor at one moment.
pub(super) struct View<'a> {
    pub(super) connection: &'a Connection,
    pub(super) sensor: SensorId,
    pub(super) series: Series,
    /// Readings that are not in chunks, or take the place of what is there.
    pub(super) tail: Vec<Sample>,
    _moment: Moment<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        readings: &'a Readings,
        connection: &'a Connection,
        pending: Option<&'a Batch<'a>>,
    ) -> Self {
        Self { readings, connection, pending }
    }

    /// What a sensor has with event times from the first on, before the second. `few`: at most so many
    /// are wanted, from that end.
    pub(super) fn view(
        &self,
        sensor: SensorId,
        (from, to): (i64, i64),
        few: Option<(Order, usize)>,
    ) -> Result<View<'a>, ChunkError> {
        // The tail first: what is moved meanwhile is then in chunks, and known to be.
        let entries = {
            let tail = self.readings.tail.read();
            let entries = tail.between(sensor, from, to);
            let some = match few {
                Some((Order::Ascending, limit)) => entries.get(..limit),
                Some((Order::Descending, limit)) => {
                    entries.len().checked_sub(limit).and_then(|begin| entries.get(begin..))
                }
                None => None,
            };
            some.unwrap_or(entries).to_vec()
        };
        let moment = Moment::begin(self.connection)?;
        let series = Series::load(self.connection, sensor)?;
        let mut tail = not_moved(&entries, series.moved_seq);
        if let Some(pending) = self.pending {
            add_pending(&mut tail, pending, sensor, (from, to));
        }
        Ok(View { connection: self.connection, sensor, series, tail, _moment: moment })
    }

    /// A sensor's readings with event times from the first on, before the second; at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged; here and below.
    pub fn scan(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        order: Order,
        limit: usize,
    ) -> Result<Vec<Sample>, ChunkError> {
        let range = (from.as_micros(), to.as_micros());
        if limit == 0 {
            return Ok(Vec::new());
        }
        let view = self.view(sensor, range, Some((order, limit)))?;
        let mut found = Vec::new();
        view.visit(range, order, |sample| {
            found.push(*sample);
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }

    /// Of each sensor the reading with the newest event time, in the order asked.
    ///
    /// # Errors
    /// As above.
    pub fn newest_of(&self, sensors: &[SensorId]) -> Result<Vec<Option<Sample>>, ChunkError> {
        let recent: Vec<_> = {
            let tail = self.readings.tail.read();
            sensors.iter().map(|sensor| tail.newest(*sensor)).collect()
        };
        let _moment = Moment::begin(self.connection)?;
        let mut found = Vec::with_capacity(sensors.len());
        for (sensor, (recent, is_newest)) in sensors.iter().zip(recent) {
            let mut newest = recent;
            // What is in chunks may be newer where the tail has late readings only.
            if !is_newest {
                let stored = Series::load(self.connection, *sensor)?.newest;
                let is_newer = |stored: &Sample| {
                    newest.is_none_or(|newest| newest.event_time < stored.event_time)
                };
                newest = stored.filter(is_newer).or(newest);
            }
            for sample in self.pending.iter().flat_map(|pending| pending.of(*sensor)) {
                if newest.is_none_or(|newest| newest.event_time <= sample.event_time) {
                    newest = Some(sample);
                }
            }
            found.push(newest);
        }
        Ok(found)
    }

    /// How many readings a sensor has with event times from the first on, before the second.
    ///
    /// # Errors
    /// As above.
    pub fn count(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<u64, ChunkError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let view = self.view(sensor, (from, to), None)?;
        let mut count = 0;
        let mut tail = view.tail.as_slice();
        for meta in view.metas(from, to)? {
            let (before, here, rest) = split(tail, meta.first_time, meta.last_time);
            tail = rest;
            count += before.len();
            let is_whole = from <= meta.first_time && meta.last_time < to;
            if is_whole && here.is_empty() {
                count += meta.count;
            } else {
                let _ = view.visit_chunk(&meta, (from, to), here, Order::Ascending, &mut |_| {
                    count += 1;
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok((count + tail.len()) as u64)
    }

    /// The least and the greatest value with an event time from the first on, before the second, that
    /// arrived at `arrived_since` or later; of readings whose quality is not bad.
    ///
    /// # Errors
    /// As above.
    pub fn value_range(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        arrived_since: Timestamp,
    ) -> Result<Option<(f64, f64)>, ChunkError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let view = self.view(sensor, (from, to), None)?;
        let mut range: Option<(f64, f64)> = None;
        let mut widen = |low: f64, high: f64| {
            range = Some(range.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
        };
        let mut add = |sample: &Sample| {
            let counts = sample.quality != Quality::Bad && sample.received_at >= arrived_since;
            if let Some(value) = sample.value.filter(|_| counts) {
                widen(value, value);
            }
            ControlFlow::Continue(())
        };
        let mut wholes = Vec::new();
        let mut tail = view.tail.as_slice();
        for meta in view.metas(from, to)? {
            let (before, here, rest) = split(tail, meta.first_time, meta.last_time);
            tail = rest;
            let _ = before.iter().try_for_each(&mut add);
            let arrived = meta.min_received >= arrived_since.as_micros();
            let is_whole = from <= meta.first_time && meta.last_time < to && arrived;
            if is_whole && here.is_empty() {
                wholes.push(meta.id);
            } else if meta.max_received >= arrived_since.as_micros() || !here.is_empty() {
                let _ = view.visit_chunk(&meta, (from, to), here, Order::Ascending, &mut add)?;
            }
        }
        let _ = tail.iter().try_for_each(&mut add);
        for id in wholes {
            if let Some((low, high)) = table::low_and_high(self.connection, id)? {
                widen(low, high);
            }
        }
        Ok(range)
    }
}

/// Readings before, in and after a span of time, both ends included.
fn split(tail: &[Sample], first: i64, last: i64) -> (&[Sample], &[Sample], &[Sample]) {
    let begin = tail.partition_point(|sample| sample.event_time.as_micros() < first);
    let end = tail.partition_point(|sample| sample.event_time.as_micros() <= last);
    let part = |range: std::ops::Range<usize>| tail.get(range).unwrap_or(&[]);
    (part(0..begin), part(begin..end), part(end..tail.len()))
}

pub(super) fn not_moved(entries: &[Entry], moved_seq: i64) -> Vec<Sample> {
    let still = entries.iter().filter(|entry| entry.seq > moved_seq);
    still.map(|entry| entry.sample).collect()
}

fn add_pending(tail: &mut Vec<Sample>, pending: &Batch<'_>, sensor: SensorId, range: (i64, i64)) {
    for sample in pending.of(sensor) {
        let time = sample.event_time.as_micros();
        if time < range.0 || time >= range.1 {
            continue;
        }
        match tail.binary_search_by_key(&sample.event_time, |sample| sample.event_time) {
            Ok(at) => {
                if let Some(there) = tail.get_mut(at) {
                    *there = sample;
                }
            }
            Err(at) => tail.insert(at, sample),
        }
    }
}

impl View<'_> {
    pub(super) fn metas(&self, from: i64, to: i64) -> Result<Vec<Meta>, ChunkError> {
        table::metas(self.connection, self.sensor, from, to)
    }

    /// The tail's part of a range within the view's.
    pub(super) fn tail_between(&self, from: i64, to: i64) -> &[Sample] {
        let (_, here, _) = split(&self.tail, from, to.saturating_sub(1));
        if from < to { here } else { &[] }
    }

    /// Shows the readings of a range within the view's, in order, until told to stop.
    pub(super) fn visit(
        &self,
        (from, to): (i64, i64),
        order: Order,
        mut sink: impl FnMut(&Sample) -> ControlFlow<()>,
    ) -> Result<(), ChunkError> {
        let mut tail = self.tail_between(from, to);
        let mut metas = self.metas(from, to)?;
        if order == Order::Descending {
            metas.reverse();
        }
        for meta in metas {
            let (before, here, after) = split(tail, meta.first_time, meta.last_time);
            let flow = match order {
                Order::Ascending => {
                    tail = after;
                    before.iter().try_for_each(&mut sink)
                }
                Order::Descending => {
                    tail = before;
                    after.iter().rev().try_for_each(&mut sink)
                }
            };
            if flow.is_break()
                || self.visit_chunk(&meta, (from, to), here, order, &mut sink)?.is_break()
            {
                return Ok(());
            }
        }
        let _ = match order {
            Order::Ascending => tail.iter().try_for_each(&mut sink),
            Order::Descending => tail.iter().rev().try_for_each(&mut sink),
        };
        Ok(())
    }

    /// Shows the readings of a chunk, with those of the tail that lie between its ends.
    pub(super) fn visit_chunk(
        &self,
        meta: &Meta,
        (from, to): (i64, i64),
        tail: &[Sample],
        order: Order,
        sink: &mut impl FnMut(&Sample) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ChunkError> {
        let mut tail = tail.iter().peekable();
        let mut reversed = tail.clone().rev().collect::<Vec<_>>().into_iter().peekable();
        let flow =
            table::with_chunk(self.connection, self.sensor, meta.id, |chunk: &Chunk<'_>| {
                let mut samples = Vec::new();
                let blocks: Box<dyn Iterator<Item = _>> = match order {
                    Order::Ascending => Box::new(chunk.blocks.iter()),
                    Order::Descending => Box::new(chunk.blocks.iter().rev()),
                };
                for block in blocks.filter(|block| block.last_time >= from && block.first_time < to)
                {
                    samples.clear();
                    block.decode(&mut samples)?;
                    let begin = samples.partition_point(|s| s.event_time.as_micros() < from);
                    let end = samples.partition_point(|s| s.event_time.as_micros() < to);
                    let within = samples.get(begin..end).unwrap_or(&[]);
                    let flow = match order {
                        Order::Ascending => weave(within.iter(), &mut tail, |a, b| a < b, sink),
                        Order::Descending => {
                            weave(within.iter().rev(), &mut reversed, |a, b| a > b, sink)
                        }
                    };
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        if flow.is_break() {
            return Ok(flow);
        }
        Ok(match order {
            Order::Ascending => tail.try_for_each(&mut *sink),
            Order::Descending => reversed.try_for_each(&mut *sink),
        })
    }
}

/// Shows both in order; where both have a time, the tail's.
fn weave<'s, 't, T: Iterator<Item = &'t Sample>>(
    samples: impl Iterator<Item = &'s Sample>,
    tail: &mut std::iter::Peekable<T>,
    comes_before: impl Fn(Timestamp, Timestamp) -> bool,
    sink: &mut impl FnMut(&Sample) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for sample in samples {
        while let Some(before) =
            tail.next_if(|other| comes_before(other.event_time, sample.event_time))
        {
            sink(before)?;
        }
        match tail.next_if(|other| other.event_time == sample.event_time) {
            Some(instead) => sink(instead)?,
            None => sink(sample)?,
        }
    }
    ControlFlow::Continue(())
}
