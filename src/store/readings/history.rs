//! Readings of one or many sensors in the order of their event times, by pages.
//!
//! Each sensor is read in its own primary-key order and the streams are merged, so a page costs by
//! its length and by the number of sensors, not by the range asked for.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::{Order, Store, StoreError, StoredReading};
use crate::{
    store::chunks::{ChunkError, Reader},
    telemetry::{Quality, SensorId, Timestamp},
};

/// A key in the order of pages: (event time, sensor).
pub(super) type Position = (Timestamp, SensorId);

#[derive(Debug, Clone, PartialEq)]
pub struct HistoryQuery {
    /// At most 1,000.
    pub sensors: Vec<SensorId>,
    pub from: Option<Timestamp>,
    /// Not included.
    pub to: Option<Timestamp>,
    pub order: Order,
    /// Rows of the page, at most 10,000.
    pub limit: usize,
    /// The last position of the page before.
    pub after: Option<Position>,
    /// Rows to pass over; for pages by number.
    pub offset: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    pub readings: Vec<StoredReading>,
    pub has_more: bool,
}

/// The fewest rows asked of a sensor at a time.
const FETCH_MIN: u64 = 16;

/// One sensor's stream of the merge.
struct Stream {
    sensor: SensorId,
    buffer: VecDeque<StoredReading>,
    is_exhausted: bool,
}

/// A page in the making: says what to read next, and is given it.
struct Merge<'a> {
    query: &'a HistoryQuery,
    /// Rows asked of a sensor at a time.
    fetch: u64,
    streams: Vec<Stream>,
    /// Streams that have been asked for once.
    begun: usize,
    heads: BinaryHeap<Reverse<((i64, i64), usize)>>,
    passed_over: usize,
    readings: Vec<StoredReading>,
}

/// Rows that the merge can't go on without.
#[derive(Clone, Copy)]
struct Wanted {
    at: usize,
    sensor: SensorId,
    /// Its event times from the first on, before the second.
    range: (i64, i64),
}

impl<'a> Merge<'a> {
    fn new(query: &'a HistoryQuery) -> Self {
        let wanted = (query.limit + 1 + query.offset) as u64;
        let share = wanted / query.sensors.len().max(1) as u64;
        let stream = |sensor: &SensorId| Stream {
            sensor: *sensor,
            buffer: VecDeque::new(),
            is_exhausted: false,
        };
        Self {
            query,
            fetch: (share * 2).max(FETCH_MIN).min(wanted),
            streams: query.sensors.iter().map(stream).collect(),
            begun: 0,
            heads: BinaryHeap::new(),
            passed_over: 0,
            readings: Vec::new(),
        }
    }

    /// Goes on until something has to be read; `None`: the page is whole.
    fn next(&mut self) -> Option<Wanted> {
        if let Some(stream) = self.streams.get(self.begun) {
            let sensor = stream.sensor;
            self.begun += 1;
            return Some(Wanted {
                at: self.begun - 1,
                sensor,
                range: range(sensor, self.query, None),
            });
        }
        while self.readings.len() <= self.query.limit {
            let Reverse((_, at)) = self.heads.pop()?;
            let stream = self.streams.get_mut(at)?;
            let Some(reading) = stream.buffer.pop_front() else { continue };
            let is_empty = stream.buffer.is_empty() && !stream.is_exhausted;
            if self.passed_over < self.query.offset {
                self.passed_over += 1;
            } else {
                self.readings.push(reading);
            }
            if is_empty {
                let sensor = reading.sensor;
                let range = range(sensor, self.query, Some(reading.event_time));
                return Some(Wanted { at, sensor, range });
            }
            self.note_head(at);
        }
        None
    }

    fn give(&mut self, wanted: Wanted, rows: impl ExactSizeIterator<Item = StoredReading>) {
        if let Some(stream) = self.streams.get_mut(wanted.at) {
            stream.is_exhausted = (rows.len() as u64) < self.fetch;
            stream.buffer.extend(rows);
            self.note_head(wanted.at);
        }
    }

    fn note_head(&mut self, at: usize) {
        let stream = self.streams.get(at);
        if let Some(head) = stream.and_then(|stream| stream.buffer.front()) {
            self.heads.push(Reverse((rank(head, self.query.order), at)));
        }
    }

    fn page(mut self) -> HistoryPage {
        let has_more = self.readings.len() > self.query.limit;
        self.readings.truncate(self.query.limit);
        HistoryPage { readings: self.readings, has_more }
    }
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn history(&self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        if let Some(file) = self.file() {
            let query = query.clone();
            return file.read(move |reader| page_in_file(reader, &query)).await;
        }
        let mut merge = Merge::new(query);
        while let Some(wanted) = merge.next() {
            let rows = select(wanted.sensor, wanted.range, query.order, merge.fetch);
            let rows = rows.all(&self.readers).await?;
            merge.give(wanted, rows.into_iter().map(reading));
        }
        Ok(merge.page())
    }

    /// How many readings a query matches in all; for pages by number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_history(&self, query: &HistoryQuery) -> Result<u64, StoreError> {
        let (from, to) = (query.from.unwrap_or(Timestamp::MIN), query.to.unwrap_or(Timestamp::MAX));
        if let Some(file) = self.file() {
            let sensors = query.sensors.clone();
            let count = move |reader: &Reader<'_>| {
                sensors.iter().map(|sensor| reader.count(*sensor, (from, to))).sum()
            };
            return file.read(count).await;
        }
        let mut total = 0;
        for sensor in &query.sensors {
            let counted: Option<i64> = ranged(*sensor, (from.as_micros(), to.as_micros()))
                .select_only()
                .column_as(entity::reading::Column::EventTime.count(), "count")
                .into_tuple()
                .one(&self.readers)
                .await?;
            total += u64::try_from(counted.unwrap_or(0)).unwrap_or(0);
        }
        Ok(total)
    }
}

fn page_in_file(reader: &Reader<'_>, query: &HistoryQuery) -> Result<HistoryPage, ChunkError> {
    let mut merge = Merge::new(query);
    while let Some(wanted) = merge.next() {
        let Wanted { sensor, range: (from, to), .. } = wanted;
        let range = (Timestamp::from_micros(from), Timestamp::from_micros(to));
        let limit = usize::try_from(merge.fetch).unwrap_or(usize::MAX);
        let samples = reader.scan(sensor, range, query.order, limit)?;
        merge.give(wanted, samples.iter().map(|sample| StoredReading::of(sensor, sample)));
    }
    Ok(merge.page())
}

/// Where a sensor's next readings lie: after `last` of its own, or after the position where the page
/// begins.
fn range(sensor: SensorId, query: &HistoryQuery, last: Option<Timestamp>) -> (i64, i64) {
    let mut from = query.from.unwrap_or(Timestamp::MIN).as_micros();
    let mut to = query.to.map_or(i64::MAX, Timestamp::as_micros);
    // At the position's own time, sensors after the position's are still to come.
    let bound = match (last, query.after) {
        (Some(last), _) => Some((last, false)),
        (None, Some((time, at))) => {
            let comes_after = match query.order {
                Order::Ascending => sensor > at,
                Order::Descending => sensor < at,
            };
            Some((time, comes_after))
        }
        (None, None) => None,
    };
    if let Some((time, is_included)) = bound {
        let time = time.as_micros();
        match query.order {
            Order::Ascending => from = from.max(time + i64::from(!is_included)),
            Order::Descending => to = to.min(time + i64::from(is_included)),
        }
    }
    (from, to)
}

fn ranged(sensor: SensorId, (from, to): (i64, i64)) -> Select<entity::reading::Entity> {
    use entity::reading::Column;
    entity::reading::Entity::find()
        .filter(Column::SensorId.eq(sensor.0))
        .filter(Column::EventTime.gte(from))
        .filter(Column::EventTime.lt(to))
}

fn select(
    sensor: SensorId,
    range: (i64, i64),
    order: Order,
    count: u64,
) -> Select<entity::reading::Entity> {
    let order = match order {
        Order::Ascending => sea_orm::Order::Asc,
        Order::Descending => sea_orm::Order::Desc,
    };
    ranged(sensor, range).order_by(entity::reading::Column::EventTime, order).limit(count)
}

/// Sorts streams: the smaller comes first.
fn rank(reading: &StoredReading, order: Order) -> (i64, i64) {
    let rank = (reading.event_time.as_micros(), reading.sensor.0);
    match order {
        Order::Ascending => rank,
        Order::Descending => (-rank.0, -rank.1),
    }
}

pub(super) fn reading(row: entity::reading::Model) -> StoredReading {
    StoredReading {
        sensor: SensorId(row.sensor_id),
        event_time: Timestamp::from_micros(row.event_time),
        received_at: Timestamp::from_micros(row.received_at),
        value: row.value,
        quality: Quality::from_code(row.quality),
    }
}
