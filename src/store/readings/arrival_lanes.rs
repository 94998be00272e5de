//! Readings put into the order of their arrival, though the table is in that of event times.
//!
//! A sensor's prompt readings are read by pages of event times. One that has not been read has a
//! later event time, and none is stamped more than [`AHEAD`] ahead of its arrival: so what arrived
//! that much before the last event time read is complete and goes out. What lies further than
//! [`BEHIND`] behind its arrival (back-fill) is found by a scan beforehand and sorted in a temporary
//! table, which the disk holds. Prompt readings and back-fill meet in a merge: the order is exact,
//! and memory is bounded by what a sensor sends in `AHEAD + BEHIND`.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use rusqlite::{Connection, params};

use super::{ArrivalQuery, StoreError, StoredReading};
use crate::telemetry::{Quality, SensorId, Timestamp};

/// Ingest replaces times further ahead than five minutes; one more to be safe. Microseconds.
pub(super) const AHEAD: i64 = 360 * 1_000_000;
/// A device that saves a quarter of an hour for one message is still prompt.
const BEHIND: i64 = 900 * 1_000_000;

/// Rows of a page, whatever the number of sensors; and the fewest of one sensor.
const PAGES_TOTAL: usize = 65_536;
const PAGE_MAX: usize = 8_192;
const PAGE_MIN: usize = 64;

pub(super) const PROMPT: &str = "SELECT sensor_id, event_time, received_at, value, quality \
    FROM main.reading WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 \
    AND received_at >= ?4 AND received_at < ?5 \
    AND received_at - event_time BETWEEN -360000000 AND 900000000 ORDER BY event_time LIMIT ?6";
const CREATE_BACKFILL: &str = "CREATE TEMP TABLE backfill (received_at INTEGER, \
    sensor_id INTEGER, event_time INTEGER, value REAL, quality INTEGER, \
    PRIMARY KEY (received_at, sensor_id, event_time)) WITHOUT ROWID";
const FIND_BACKFILL: &str = "INSERT INTO temp.backfill (sensor_id, event_time, received_at, value, \
    quality) SELECT sensor_id, event_time, received_at, value, quality \
    FROM main.reading WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 \
    AND received_at >= ?4 AND received_at < ?5 \
    AND received_at - event_time NOT BETWEEN -360000000 AND 900000000 ORDER BY received_at";
const BACKFILL: &str = "SELECT sensor_id, event_time, received_at, value, quality \
    FROM temp.backfill WHERE (received_at, sensor_id, event_time) > (?1, ?2, ?3) \
    ORDER BY received_at, sensor_id, event_time LIMIT ?4";

/// Where a lane's rows come from.
enum Source {
    /// One sensor's prompt readings, from this event time on.
    Prompt { sensor: SensorId, next_event: i64 },
    /// The back-fill of all sensors, after this row.
    Backfill { after: (i64, i64, i64) },
}

/// One stream of the merge, sorted by arrival.
struct Lane {
    source: Source,
    /// Sorted by arrival; those before `at` are gone, those before `ready` may go.
    rows: Vec<StoredReading>,
    at: usize,
    ready: usize,
    is_exhausted: bool,
}

/// A lane's place in the merge: (received, sensor, lane).
type Rank = (i64, i64, usize);

pub(super) struct Merge<'a> {
    connection: &'a Connection,
    /// Arrivals from and to, in microseconds.
    range: (i64, i64),
    page: usize,
    lanes: Vec<Lane>,
    heads: BinaryHeap<Reverse<Rank>>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        query: &ArrivalQuery,
    ) -> Result<Self, StoreError> {
        let (from, to) = (query.from.as_micros(), query.to.as_micros());
        let oldest = query.oldest_event.map_or(i64::MIN, Timestamp::as_micros);
        let mut sensors = query.sensors.clone();
        sensors.sort_unstable();
        sensors.dedup();
        let backfill = Source::Backfill { after: (i64::MIN, 0, 0) };
        let mut lanes = vec![Lane::new(backfill)];
        connection.execute_batch(CREATE_BACKFILL)?;
        for sensor in &sensors {
            connection.prepare_cached(FIND_BACKFILL)?.execute(params![
                sensor.0,
                oldest,
                to.saturating_add(AHEAD),
                from,
                to
            ])?;
            let next_event = oldest.max(from.saturating_sub(BEHIND));
            lanes.push(Lane::new(Source::Prompt { sensor: *sensor, next_event }));
        }
        let page = (PAGES_TOTAL / lanes.len()).clamp(PAGE_MIN, PAGE_MAX);
        let heads = BinaryHeap::with_capacity(lanes.len());
        let mut merge = Self { connection, range: (from, to), page, lanes, heads };
        for at in 0..merge.lanes.len() {
            if let Some(rank) = merge.rank(at)? {
                merge.heads.push(Reverse(rank));
            }
        }
        Ok(merge)
    }

    /// The next readings, at most `count`; none after the last.
    pub(super) fn next(&mut self, count: usize) -> Result<Vec<StoredReading>, StoreError> {
        let mut readings = Vec::with_capacity(count);
        while readings.len() < count
            && let Some(Reverse((_, _, lane))) = self.heads.peek().copied()
        {
            readings.extend(self.take(lane));
            let next = self.rank(lane)?;
            // In place: a lane that goes on mostly keeps the lead.
            if let Some(mut head) = self.heads.peek_mut() {
                match next {
                    Some(rank) => *head = Reverse(rank),
                    None => drop(PeekMut::pop(head)),
                }
            }
        }
        Ok(readings)
    }

    fn take(&mut self, lane: usize) -> Option<StoredReading> {
        let lane = self.lanes.get_mut(lane)?;
        let taken = lane.rows.get(lane.at).copied();
        lane.at += 1;
        taken
    }

    /// Where a lane stands in the merge, once its next row is known.
    fn rank(&mut self, at: usize) -> Result<Option<Rank>, StoreError> {
        let Some(lane) = self.lanes.get_mut(at) else { return Ok(None) };
        while lane.at >= lane.ready && !lane.is_exhausted {
            lane.fill(self.connection, self.range, self.page)?;
        }
        let head = lane.rows.get(lane.at);
        Ok(head.map(|reading| (reading.received_at.as_micros(), reading.sensor.0, at)))
    }
}

impl Lane {
    fn new(source: Source) -> Self {
        Self { source, rows: Vec::new(), at: 0, ready: 0, is_exhausted: false }
    }

    /// Reads a page on, and finds out what may go.
    fn fill(
        &mut self,
        connection: &Connection,
        (from, to): (i64, i64),
        page: usize,
    ) -> Result<(), StoreError> {
        self.rows.drain(..self.at);
        self.at = 0;
        let known = self.rows.len();
        // Where a sensor sends more in the window than a page has, pages grow with it.
        let limit = i64::try_from(page.max(known)).unwrap_or(i64::MAX);
        match &mut self.source {
            Source::Backfill { after: (received_at, sensor, event_time) } => {
                let after = params![*received_at, *sensor, *event_time, limit];
                read(connection, BACKFILL, after, &mut self.rows)?;
                if let Some(last) = self.rows.last() {
                    *received_at = last.received_at.as_micros();
                    *sensor = last.sensor.0;
                    *event_time = last.event_time.as_micros();
                }
                self.ready = self.rows.len();
            }
            Source::Prompt { sensor, next_event } => {
                let end = to.saturating_add(AHEAD);
                let range = params![sensor.0, *next_event, end, from, to, limit];
                read(connection, PROMPT, range, &mut self.rows)?;
                let last = self.rows.last().map_or(end, |row| row.event_time.as_micros());
                *next_event = last.saturating_add(1);
                // Two sorted runs: this takes about as long as looking at them.
                self.rows.sort_by_key(|row| (row.received_at, row.event_time));
                let complete = Timestamp::from_micros(last.saturating_sub(AHEAD));
                self.ready = self.rows.partition_point(|row| row.received_at <= complete);
            }
        }
        if ((self.rows.len() - known) as i64) < limit {
            self.is_exhausted = true;
            self.ready = self.rows.len();
        }
        Ok(())
    }
}

fn read(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    into: &mut Vec<StoredReading>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    while let Some(row) = rows.next()? {
        into.push(StoredReading {
            sensor: SensorId(row.get(0)?),
            event_time: Timestamp::from_micros(row.get(1)?),
            received_at: Timestamp::from_micros(row.get(2)?),
            value: row.get(3)?,
            quality: Quality::from_code(row.get(4)?),
        });
    }
    Ok(())
}
