//! A sensor's readings by pieces of time: how many, between which values, how good. What charts are
//! drawn from.

use std::num::NonZeroI64;

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::{Store, StoreError};
use crate::{
    store::chunks::{self, ChunkError, Reader, Rollup, Sample, Seen, Source},
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
}

const GROUPED: &str = "SELECT event_time - (event_time % ?4 + ?4) % ?4 AS start, \
    count(*) AS count, count(value) AS valued, min(event_time) AS first_at, max(event_time) AS last_at, \
    max(quality) AS quality, min(value) AS low, max(value) AS high, avg(value) AS mean \
    FROM reading WHERE sensor_id = ?1 AND event_time >= ?2 AND event_time < ?3 \
    GROUP BY start ORDER BY start";

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

    async fn of_rows(&self, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, StoreError> {
        let (range, bucket) = ((query.from.as_micros(), query.to.as_micros()), query.bucket.get());
        let snapshot = self.snapshot(query.sensor).await?;
        let mut pieces: Vec<Piece> = Vec::new();
        for (source, range) in snapshot.parts(range, Some(bucket)).await? {
            let rollups = match source {
                Source::Raw => None,
                Source::Rolled(span) => {
                    let rollups = snapshot.rolled(span, range, false).await?;
                    rollups.iter().all(|rollup| rollup.seen.is_some()).then_some(rollups)
                }
                Source::Dropped => Some(snapshot.dropped(range).await?),
            };
            match rollups {
                Some(rollups) => rollups.iter().for_each(|rollup| {
                    put(&mut pieces, Piece::of_rollup(rollup, bucket));
                }),
                None => {
                    let rows = self.grouped(&snapshot.transaction, query, range).await?;
                    rows.iter().for_each(|row| put(&mut pieces, row.piece()));
                }
            }
        }
        snapshot.end().await?;
        Ok(pieces.into_iter().map(Piece::bucket).collect())
    }

    async fn grouped(
        &self,
        connection: &impl ConnectionTrait,
        query: EnvelopeQuery,
        (from, to): (i64, i64),
    ) -> Result<Vec<Grouped>, StoreError> {
        let values: [Value; 4] =
            [query.sensor.0.into(), from.into(), to.into(), query.bucket.get().into()];
        let grouped = self.engine.statement(GROUPED, values);
        Ok(Grouped::find_by_statement(grouped).all(connection).await?)
    }
}

fn in_file(reader: &Reader<'_>, query: EnvelopeQuery) -> Result<Vec<EnvelopeBucket>, ChunkError> {
    let bucket = query.bucket.get();
    let mut pieces: Vec<Piece> = Vec::new();
    reader.walk(query.sensor, (query.from, query.to), bucket, |seen| match seen {
        chunks::Piece::Reading(sample) => {
            let start = start_of(sample.event_time, bucket);
            match pieces.last_mut().filter(|last| last.start == start) {
                Some(piece) => piece.add(sample),
                None => pieces.push(Piece::of(start, sample)),
            }
        }
        chunks::Piece::RolledUp(rollup) => put(&mut pieces, Piece::of_rollup(rollup, bucket)),
    })?;
    Ok(pieces.into_iter().map(Piece::bucket).collect())
}

/// What is put is in the order of time.
fn put(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut().filter(|last| last.start == piece.start) {
        Some(last) => last.take(&piece),
        None => pieces.push(piece),
    }
}

fn start_of(at: Timestamp, bucket: i64) -> i64 {
    let micros = at.as_micros();
    micros - micros.rem_euclid(bucket)
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
}

impl Piece {
    fn of(start: i64, sample: &Sample) -> Self {
        let mut piece = Self {
            start,
            count: 0,
            first_at: sample.event_time,
            last_at: sample.event_time,
            quality: Quality::Good,
            valued: 0,
            sum: 0.0,
            range: None,
        };
        piece.add(sample);
        piece
    }

    /// A reading that is later than all before.
    fn add(&mut self, sample: &Sample) {
        self.count += 1;
        self.last_at = sample.event_time;
        self.quality = self.quality.worst(sample.quality);
        if let Some(value) = sample.value {
            self.widen(1, value, (value, value));
        }
    }

    /// Where it is not known when readings came and how good they were, they came all the time and
    /// were good.
    fn of_rollup(rollup: &Rollup, bucket: i64) -> Self {
        let start = start_of(rollup.start, bucket);
        let seen = rollup.seen.unwrap_or(Seen {
            first_at: rollup.start,
            last_at: Timestamp::from_micros(start + (bucket - 1)),
            quality: Quality::Good,
        });
        Self {
            start,
            count: rollup.count,
            first_at: seen.first_at,
            last_at: seen.last_at,
            quality: seen.quality,
            valued: rollup.valued,
            sum: rollup.sum,
            range: (rollup.valued > 0).then_some((rollup.min, rollup.max)),
        }
    }

    /// Takes one in that lies behind.
    fn take(&mut self, other: &Self) {
        self.count += other.count;
        self.last_at = other.last_at;
        self.quality = self.quality.worst(other.quality);
        if let Some(range) = other.range {
            self.widen(other.valued, other.sum, range);
        }
    }

    fn widen(&mut self, valued: u64, sum: f64, (low, high): (f64, f64)) {
        self.valued += valued;
        self.sum += sum;
        let widened = |(l, h): (f64, f64)| (l.min(low), h.max(high));
        self.range = Some(self.range.map_or((low, high), widened));
    }

    fn bucket(self) -> EnvelopeBucket {
        // Rounding may take the mean out of the range.
        let values = self.range.map(|(min, max)| EnvelopeValues {
            min,
            max,
            mean: (self.sum / self.valued as f64).clamp(min, max),
        });
        EnvelopeBucket {
            start: Timestamp::from_micros(self.start),
            count: self.count,
            first_at: self.first_at,
            last_at: self.last_at,
            values,
            quality: self.quality,
        }
    }
}

impl Grouped {
    fn piece(&self) -> Piece {
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
        }
    }
}
