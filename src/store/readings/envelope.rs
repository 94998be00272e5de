//! A sensor's readings by pieces of time: how many, between which values, how good. What charts are
//! drawn from.

use std::{collections::HashMap, num::NonZeroI64};

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::{Bucket, Store, StoreError};
use crate::{
    store::chunks::{ChunkError, Piece as Seen, Reader, Rollup, Sample},
    telemetry::{Quality, SensorId, Timestamp},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeQuery {
    pub sensor: SensorId,
    pub from: Timestamp,
    /// Not included.
    pub to: Timestamp,
    /// Length of a piece in microseconds; pieces begin at its multiples. The caller bounds how many the
    /// range has.
    pub bucket: NonZeroI64,
}

/// What of a piece of time is in the range; pieces without readings are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvelopeBucket {
    pub start: Timestamp,
    /// Readings, those without a value included.
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// `None`: no reading has a value.
    pub values: Option<EnvelopeValues>,
    /// The worst.
    pub quality: Quality,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvelopeValues {
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub first: f64,
    pub last: f64,
}

/// Servers' planners group without sorting; but for the values at the edges.
const GROUPED: &str = "SELECT event_time - (event_time % ?4 + ?4) % ?4 AS start, \
    count(*) AS count, count(value) AS valued, min(event_time) AS first_at, max(event_time) AS last_at, \
    max(quality) AS quality, min(value) AS low, max(value) AS high, avg(value) AS mean, \
    min(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS first_valued, \
    max(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS last_valued \
    FROM reading WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 \
    GROUP BY start ORDER BY start";
/// The values at the edges of the pieces.
const EDGES: &str = "SELECT r.event_time, r.value FROM (SELECT \
    min(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS at_first, \
    max(CASE WHEN value IS NULL THEN NULL ELSE event_time END) AS at_last FROM reading \
    WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 \
    GROUP BY event_time - (event_time % ?4 + ?4) % ?4) AS g \
    JOIN reading r ON r.sensor_id = ?1 AND r.event_time IN (g.at_first, g.at_last)";

#[derive(Debug, FromQueryResult)]
struct Grouped {
    start: i64,
    count: i64,
    valued: i64,
    first_at: i64,
    last_at: i64,
    quality: i64,
    low: Option<f64>,
    high: Option<f64>,
    mean: Option<f64>,
    first_valued: Option<i64>,
    last_valued: Option<i64>,
}

#[derive(Debug, FromQueryResult)]
struct Edge {
    event_time: i64,
    value: f64,
}

impl Store {
    /// The readings of a sensor, piece by piece, in the order of time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn envelope(&self, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, StoreError> {
        match self.file() {
            Some(file) => file.read(move |reader| in_file(reader, query)).await,
            None => self.of_rows(query).await,
        }
    }

    /// Roll-ups where readings are dropped, rows from there on.
    async fn of_rows(&self, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, StoreError> {
        let (from, to, bucket) = (query.from.as_micros(), query.to.as_micros(), query.bucket.get());
        let snapshot = self.snapshot(query.sensor).await?;
        let raw_from = snapshot.raw_from((from, to));
        let mut pieces: Vec<Piece> = Vec::new();
        if from < raw_from {
            for rollup in snapshot.dropped((from, raw_from)).await? {
                add(&mut pieces, rollup.start, bucket, |piece| piece.add_dropped(&rollup));
            }
        }
        for piece in self.grouped(&snapshot.transaction, query, raw_from).await? {
            match pieces.last_mut().filter(|last| last.start == piece.start) {
                Some(last) => last.take(&piece),
                None => pieces.push(piece),
            }
        }
        snapshot.end().await?;
        Ok(pieces.into_iter().map(Piece::bucket).collect())
    }

    async fn grouped(
        &self,
        connection: &impl ConnectionTrait,
        query: EnvelopeQuery,
        from: i64,
    ) -> Result<Vec<Piece>, StoreError> {
        let values: [Value; 4] = [
            query.sensor.0.into(),
            from.into(),
            query.to.as_micros().into(),
            query.bucket.get().into(),
        ];
        let grouped = self.engine.statement(GROUPED, values.clone());
        let grouped = Grouped::find_by_statement(grouped).all(connection).await?;
        let edges = self.engine.statement(EDGES, values);
        let edges = Edge::find_by_statement(edges).all(connection).await?;
        let edges: HashMap<_, _> =
            edges.into_iter().map(|edge| (edge.event_time, edge.value)).collect();
        Ok(grouped.into_iter().map(|row| row.piece(&edges)).collect())
    }
}

/// Adds to the last piece, which is begun where another was: what is seen is in order.
fn add(pieces: &mut Vec<Piece>, at: Timestamp, bucket: i64, add: impl FnOnce(&mut Piece)) {
    let micros = at.as_micros();
    let start = micros - micros.rem_euclid(bucket);
    if pieces.last().is_none_or(|piece| piece.start != start) {
        pieces.push(Piece::new(start, at));
    }
    if let Some(piece) = pieces.last_mut() {
        add(piece);
    }
}

/// What of a piece of time has been seen so far.
struct Piece {
    start: i64,
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    quality: Quality,
    valued: u64,
    sum: f64,
    range: Option<(f64, f64)>,
    edges: Option<(f64, f64)>,
}

fn in_file(reader: &Reader<'_>, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, ChunkError> {
    let bucket = query.bucket.get();
    let mut pieces: Vec<Piece> = Vec::new();
    let is_fine = bucket % Bucket::Hour.micros() != 0;
    reader.walk(query.sensor, (query.from, query.to), is_fine, |seen| {
        let at = match seen {
            Seen::Reading(sample) => sample.event_time,
            Seen::Dropped(rollup) => rollup.start,
        };
        add(&mut pieces, at, bucket, |piece| match seen {
            Seen::Reading(sample) => piece.add(sample),
            Seen::Dropped(rollup) => piece.add_dropped(rollup),
        });
    })?;
    Ok(pieces.into_iter().map(Piece::bucket).collect())
}

impl Piece {
    fn new(start: i64, at: Timestamp) -> Self {
        Self {
            start,
            count: 0,
            first_at: at,
            last_at: at,
            quality: Quality::Good,
            valued: 0,
            sum: 0.0,
            range: None,
            edges: None,
        }
    }

    /// A reading that is later than all before.
    fn add(&mut self, sample: &Sample) {
        self.count += 1;
        self.last_at = sample.event_time;
        if sample.quality.code() > self.quality.code() {
            self.quality = sample.quality;
        }
        if let Some(value) = sample.value {
            self.widen(1, value, (value, value), (value, value));
        }
    }

    fn add_dropped(&mut self, rollup: &Rollup) {
        self.count += rollup.count;
        self.last_at = rollup.start;
        if rollup.valued > 0 {
            let (range, edges) = ((rollup.min, rollup.max), (rollup.first, rollup.last));
            self.widen(rollup.valued, rollup.sum, range, edges);
        }
    }

    /// Takes one in that lies behind.
    fn take(&mut self, other: &Self) {
        self.count += other.count;
        self.last_at = other.last_at;
        if other.quality.code() > self.quality.code() {
            self.quality = other.quality;
        }
        if let Some((range, edges)) = other.range.zip(other.edges) {
            self.widen(other.valued, other.sum, range, edges);
        }
    }

    fn widen(&mut self, valued: u64, sum: f64, (low, high): (f64, f64), edges: (f64, f64)) {
        self.valued += valued;
        self.sum += sum;
        let widened = |(l, h): (f64, f64)| (l.min(low), h.max(high));
        self.range = Some(self.range.map_or((low, high), widened));
        self.edges = Some((self.edges.map_or(edges.0, |(first, _)| first), edges.1));
    }

    fn bucket(self) -> EnvelopeBucket {
        let mean = (self.valued > 0).then(|| self.sum / self.valued as f64);
        EnvelopeBucket {
            start: Timestamp::from_micros(self.start),
            count: self.count,
            first_at: self.first_at,
            last_at: self.last_at,
            values: values(self.range.unzip(), mean, self.edges.unzip()),
            quality: self.quality,
        }
    }
}

impl Grouped {
    fn piece(&self, edges: &HashMap<i64, f64>) -> Piece {
        let edge = |at: Option<i64>| edges.get(&at?).copied();
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        Piece {
            start: self.start,
            count: unsigned(self.count),
            first_at: Timestamp::from_micros(self.first_at),
            last_at: Timestamp::from_micros(self.last_at),
            quality: Quality::from_code(self.quality),
            valued: unsigned(self.valued),
            sum: self.mean.map_or(0.0, |mean| mean * self.valued as f64),
            range: self.low.zip(self.high),
            edges: edge(self.first_valued).zip(edge(self.last_valued)),
        }
    }
}

/// `None` where no reading has a value.
fn values(
    (min, max): (Option<f64>, Option<f64>),
    mean: Option<f64>,
    (first, last): (Option<f64>, Option<f64>),
) -> Option<EnvelopeValues> {
    let (((min, max), mean), (first, last)) = min.zip(max).zip(mean).zip(first.zip(last))?;
    Some(EnvelopeValues { min, max, mean: mean.clamp(min, max), first, last })
}
