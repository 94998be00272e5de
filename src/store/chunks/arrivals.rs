//! Readings in the order in which they arrived: for streams that go on, replays and backtests.
//!
//! A chunk says from when to when its readings arrived, so only those that matter are decoded. A long
//! range is read by windows of arrival, each a look of its own at one moment, so that neither memory
//! nor a transaction grows with it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
};

use foldhash::fast::RandomState;
use rusqlite::{Connection, params};

use super::{
    ChunkError, Reader, Sample,
    table::{self, Series},
    tail::Entry,
    view::{Moment, not_moved},
};
use crate::telemetry::{Position, SensorId, Timestamp};

const RECEIVED: &str = "SELECT id, sensor_id, min_received, max_received, count FROM reading_chunk \
    WHERE max_received >= ?1 AND min_received < ?2";
const RECEIVED_OF: &str = "SELECT id, sensor_id, min_received, max_received, count \
    FROM reading_chunk INDEXED BY reading_chunk_time \
    WHERE sensor_id = ?3 AND max_received >= ?1 AND min_received < ?2";
/// So few sensors are looked for one by one.
const FEW: usize = 64;
/// Readings of a window, about.
const WINDOW: usize = 131_072;

pub type Arrival = (SensorId, Sample);

/// What came after a position.
#[derive(Debug, Clone, PartialEq)]
pub struct Missed {
    /// In the order of positions; of more than were asked for, the last.
    pub readings: Vec<Arrival>,
    /// So many before these.
    pub left_out: u64,
}

/// Goes on through a range of arrivals.
#[derive(Debug, Clone)]
pub struct ArrivalWindow {
    sensors: Vec<SensorId>,
    /// Readings behind this position, or received at `from` or later, are still to come.
    after: Option<Position>,
    from: i64,
    to: i64,
    /// Readings with earlier event times are not wanted.
    oldest_event: i64,
}

impl ArrivalWindow {
    /// What arrived from the first time on, before the second, with event times from `oldest_event` on.
    pub fn new(
        mut sensors: Vec<SensorId>,
        (from, to): (Timestamp, Timestamp),
        oldest_event: Option<Timestamp>,
    ) -> Self {
        sensors.sort_unstable();
        sensors.dedup();
        Self {
            sensors,
            after: None,
            from: from.as_micros(),
            to: to.as_micros(),
            oldest_event: oldest_event.map_or(i64::MIN, Timestamp::as_micros),
        }
    }
}

/// A chunk that has arrivals of the range.
struct Found {
    id: i64,
    sensor: SensorId,
    min_received: i64,
    max_received: i64,
    count: usize,
}

/// The tail and the chunks of some sensors at one moment.
struct Look<'a> {
    connection: &'a Connection,
    tail: Vec<(SensorId, Vec<Sample>)>,
    chunks: Vec<Found>,
    _moment: Moment<'a>,
}

fn position((sensor, sample): &Arrival) -> Position {
    let (received_at, event_time) = (sample.received_at, sample.event_time);
    Position { received_at, sensor: *sensor, event_time }
}

impl Reader<'_> {
    /// What came behind one position, up to another that is included; the last `most` of it.
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged; here and below.
    pub fn since(
        &self,
        sensors: &[SensorId],
        (after, upto): (Position, Position),
        most: usize,
    ) -> Result<Missed, ChunkError> {
        let (from, to) = (after.received_at.as_micros(), upto.received_at.as_micros());
        let mut look = self.look(sensors, (from, to.saturating_add(1)))?;
        look.chunks.sort_by_key(|found| Reverse(found.max_received));
        let mut count = 0;
        let mut newest: BinaryHeap<Reverse<(Position, Ranked)>> = BinaryHeap::new();
        look.for_each((from, to.saturating_add(1)), |arrival| {
            let at = position(&arrival);
            if at <= after || at > upto {
                return;
            }
            count += 1;
            newest.push(Reverse((at, Ranked(arrival))));
            if newest.len() > most {
                newest.pop();
            }
        })?;
        let mut readings: Vec<_> =
            newest.into_iter().map(|Reverse((_, ranked))| ranked.0).collect();
        readings.sort_by_key(position);
        Ok(Missed { left_out: count - readings.len() as u64, readings })
    }

    /// The next readings of a range, in the order of arrival; none at its end.
    ///
    /// # Errors
    /// As above.
    pub fn arrivals(&self, window: &mut ArrivalWindow) -> Result<Vec<Arrival>, ChunkError> {
        while window.from < window.to {
            let range = (window.from, window.to);
            let look = self.look(&window.sensors, range)?;
            let end = look.window_end(range, WINDOW);
            let (after, oldest) = (window.after, window.oldest_event);
            let mut found = Vec::new();
            // Where more arrived than was thought, the window ends at this position instead.
            let mut cut: Option<Position> = None;
            look.for_each((window.from, end), |arrival| {
                let at = position(&arrival);
                let is_wanted = after.is_none_or(|after| at > after)
                    && cut.is_none_or(|cut| at <= cut)
                    && arrival.1.event_time.as_micros() >= oldest;
                if is_wanted {
                    found.push(arrival);
                }
                if found.len() > WINDOW * 2 {
                    found.select_nth_unstable_by_key(WINDOW, position);
                    found.truncate(WINDOW);
                    cut = found.iter().map(position).max();
                }
            })?;
            found.sort_unstable_by_key(position);
            match cut {
                Some(cut) => {
                    window.after = Some(cut);
                    window.from = cut.received_at.as_micros();
                }
                None => {
                    window.after = None;
                    window.from = end;
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    fn look(&self, sensors: &[SensorId], range: (i64, i64)) -> Result<Look<'_>, ChunkError> {
        // A late one that is not of the range may hide one in a chunk that is.
        let matters = |entry: &&Entry| {
            let at = entry.sample.received_at.as_micros();
            entry.is_late || range.0 <= at && at < range.1
        };
        let entries: Vec<(SensorId, Vec<Entry>)> = {
            let tail = self.readings.tail.read();
            let of = |sensor: &SensorId| {
                let some: Vec<Entry> = tail.all(*sensor).iter().filter(matters).copied().collect();
                (*sensor, some)
            };
            sensors.iter().map(of).filter(|(_, entries)| !entries.is_empty()).collect()
        };
        let moment = Moment::begin(self.connection)?;
        let mut tail = Vec::new();
        for (sensor, entries) in entries {
            let moved = Series::load(self.connection, sensor)?.moved_seq;
            tail.push((sensor, not_moved(&entries, moved)));
        }
        let chunks = chunks(self.connection, sensors, range)?;
        Ok(Look { connection: self.connection, tail, chunks, _moment: moment })
    }
}

fn chunks(
    connection: &Connection,
    sensors: &[SensorId],
    (from, to): (i64, i64),
) -> Result<Vec<Found>, ChunkError> {
    let found = |row: &rusqlite::Row<'_>| {
        Ok(Found {
            id: row.get(0)?,
            sensor: SensorId(row.get(1)?),
            min_received: row.get(2)?,
            max_received: row.get(3)?,
            count: usize::try_from(row.get::<_, i64>(4)?).unwrap_or(0),
        })
    };
    let mut chunks = Vec::new();
    if sensors.len() <= FEW {
        let mut statement = connection.prepare_cached(RECEIVED_OF)?;
        for sensor in sensors {
            let rows = statement.query_map(params![from, to, sensor.0], found)?;
            chunks.extend(rows.collect::<Result<Vec<_>, _>>()?);
        }
        return Ok(chunks);
    }
    let wanted: HashSet<SensorId, RandomState> = sensors.iter().copied().collect();
    let mut statement = connection.prepare_cached(RECEIVED)?;
    for row in statement.query_map(params![from, to], found)? {
        let row = row?;
        if wanted.contains(&row.sensor) {
            chunks.push(row);
        }
    }
    Ok(chunks)
}

/// Compares equal to all others: only its position ranks it.
struct Ranked(Arrival);

impl PartialEq for Ranked {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Look<'_> {
    /// Shows all that arrived from one time on, before another, in no order.
    fn for_each(
        &self,
        (from, to): (i64, i64),
        mut seen: impl FnMut(Arrival),
    ) -> Result<(), ChunkError> {
        let is_within = |sample: &Sample| {
            let at = sample.received_at.as_micros();
            from <= at && at < to
        };
        let tail: HashMap<SensorId, &[Sample], RandomState> =
            self.tail.iter().map(|(sensor, samples)| (*sensor, samples.as_slice())).collect();
        let mut samples = Vec::new();
        for found in &self.chunks {
            if found.max_received < from || found.min_received >= to {
                continue;
            }
            samples.clear();
            table::with_chunk(self.connection, found.sensor, found.id, |chunk| {
                let touched = chunk
                    .blocks
                    .iter()
                    .filter(|block| block.max_received >= from && block.min_received < to);
                touched.into_iter().try_for_each(|block| block.decode(&mut samples))
            })?;
            let over = tail.get(&found.sensor).copied().unwrap_or(&[]);
            for sample in samples.iter().filter(|sample| is_within(sample)) {
                let hidden =
                    over.binary_search_by_key(&sample.event_time, |other| other.event_time).is_ok();
                if !hidden {
                    seen((found.sensor, *sample));
                }
            }
        }
        for (sensor, samples) in &self.tail {
            for sample in samples.iter().filter(|sample| is_within(sample)) {
                seen((*sensor, *sample));
            }
        }
        Ok(())
    }

    /// Up to when about so many readings arrived, were each chunk's spread evenly over its time.
    fn window_end(&self, (from, to): (i64, i64), readings: usize) -> i64 {
        let tail = self.tail.iter().flat_map(|(_, samples)| samples);
        let tail = tail.map(|sample| (sample.received_at.as_micros(), 1.0));
        // Chunks are cut into pieces, so that a long one does not count whole where it begins.
        let pieces = self.chunks.iter().flat_map(|found| {
            let length = (found.max_received - found.min_received) / 16;
            let each = found.count as f64 / 16.0;
            (0..16).map(move |piece| (found.min_received + length * piece, each))
        });
        let mut arrivals: Vec<(i64, f64)> =
            tail.chain(pieces).filter(|(at, _)| from <= *at && *at < to).collect();
        arrivals.sort_unstable_by_key(|(at, _)| *at);
        let mut sum = 0.0;
        for (at, count) in arrivals {
            sum += count;
            if sum >= readings as f64 && at > from {
                return at;
            }
        }
        to
    }
}
