//! What is left of many readings when only their statistics are wanted. Pure.

use super::{Sample, Sketch};
use crate::telemetry::{Quality, Timestamp};

pub(super) const MINUTE: i64 = 60_000_000;
pub(in crate::store) const HOUR: i64 = 60 * MINUTE;
pub(in crate::store) const DAY: i64 = 24 * HOUR;

/// Statistics of a span of time; of values, those of bad quality included.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// When the span begins.
    pub start: Timestamp,
    /// Readings, those without a value included.
    pub count: u64,
    pub valued: u64,
    pub min: f64,
    pub max: f64,
    pub sum: f64,
    /// Sum of squared distances from the mean.
    pub m2: f64,
    /// The values of the first and the last reading that has one.
    pub first: f64,
    pub last: f64,
    /// `None`: there are no readings, or it was not kept.
    pub seen: Option<Seen>,
    pub sketch: Sketch,
}

/// Between when readings were seen, and the worst of their qualities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub quality: Quality,
}

impl Seen {
    fn of(sample: &Sample) -> Self {
        let at = sample.event_time;
        Self { first_at: at, last_at: at, quality: sample.quality }
    }

    fn and(self, other: Self) -> Self {
        Self {
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
            quality: self.quality.worst(other.quality),
        }
    }
}

impl Rollup {
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            count: 0,
            valued: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            m2: 0.0,
            first: 0.0,
            last: 0.0,
            seen: None,
            sketch: Sketch::default(),
        }
    }

    /// Takes a reading that is later than all before.
    pub fn add(&mut self, sample: &Sample) {
        self.add_plain(sample);
        if let Some(value) = sample.value {
            self.sketch.add(value);
        }
    }

    /// The same without percentiles.
    pub(super) fn add_plain(&mut self, sample: &Sample) {
        self.see(Some(Seen::of(sample)));
        self.count += 1;
        let Some(value) = sample.value else { return };
        if self.valued == 0 {
            self.first = value;
        }
        self.last = value;
        let before = self.mean_or_zero();
        self.valued += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.m2 += (value - before) * (value - self.mean_or_zero());
        if self.valued == 1 {
            self.m2 = 0.0;
        }
    }

    /// Takes a span in that lies behind this one, or within it: then first and last stay. `start` does.
    pub fn merge(&mut self, other: &Self) {
        if other.count > 0 {
            self.see(other.seen);
        }
        self.count += other.count;
        self.sketch.merge(&other.sketch);
        if other.valued == 0 {
            return;
        }
        if self.valued == 0 {
            self.first = other.first;
        }
        if self.valued == 0 || other.start > self.start {
            self.last = other.last;
        }
        let (ours, theirs) = (self.valued as f64, other.valued as f64);
        let apart = other.mean_or_zero() - self.mean_or_zero();
        self.m2 += other.m2;
        if self.valued > 0 {
            self.m2 += apart * apart * ours * theirs / (ours + theirs);
        }
        self.valued += other.valued;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Of readings that are not counted yet.
    fn see(&mut self, seen: Option<Seen>) {
        self.seen = match (self.seen, seen) {
            (None, seen) if self.count == 0 => seen,
            (Some(before), Some(seen)) => Some(before.and(seen)),
            _ => None,
        };
    }

    fn mean_or_zero(&self) -> f64 {
        if self.valued == 0 { 0.0 } else { self.sum / self.valued as f64 }
    }
}

/// Spans of `width` microseconds of readings in order; only those that have some.
pub(super) fn by_span(samples: &[Sample], width: i64) -> Vec<Rollup> {
    let mut spans: Vec<Rollup> = Vec::new();
    for sample in samples {
        let start = Timestamp::from_micros(span_of(sample, width) * width);
        match spans.last_mut().filter(|last| last.start == start) {
            Some(last) => last.add(sample),
            None => {
                let mut span = Rollup::new(start);
                span.add(sample);
                spans.push(span);
            }
        }
    }
    spans
}

pub(super) fn span_of(sample: &Sample, width: i64) -> i64 {
    sample.event_time.as_micros().div_euclid(width)
}
