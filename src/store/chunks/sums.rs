//! Adding up statistics by spans of time, from readings and from roll-ups. Pure.

use std::collections::BTreeMap;

use super::{Rollup, Sample, Sketch, rollup::HOUR};
use crate::telemetry::Timestamp;

/// Spans of a range that are being added up.
pub(in crate::store) struct Sums {
    width: Option<i64>,
    with_sketch: bool,
    from: i64,
    /// The span that readings are being added to.
    open: Option<Rollup>,
    spans: BTreeMap<Timestamp, Rollup>,
}

impl Sums {
    /// Spans of `width` microseconds, or one that begins at `from`.
    pub(in crate::store) fn new(width: Option<i64>, with_sketch: bool, from: i64) -> Self {
        Self { width, with_sketch, from, open: None, spans: BTreeMap::new() }
    }

    /// Spans are shorter than an hour, or are not made of whole ones.
    pub(in crate::store) fn is_fine(&self) -> bool {
        self.width.is_some_and(|width| width % HOUR != 0)
    }

    pub(in crate::store) fn into_spans(mut self) -> Vec<Rollup> {
        self.close();
        self.spans.into_values().collect()
    }

    fn start(&self, time: i64) -> Timestamp {
        let start = self.width.map(|width| time.div_euclid(width).saturating_mul(width));
        Timestamp::from_micros(start.unwrap_or(self.from))
    }

    /// A reading that is behind all others.
    pub(in crate::store) fn add(&mut self, sample: &Sample) {
        let start = self.start(sample.event_time.as_micros());
        if self.open.as_ref().is_none_or(|open| open.start != start) {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Rollup::new(start));
        if self.with_sketch { open.add(sample) } else { open.add_plain(sample) }
    }

    pub(in crate::store) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.merge(&open, true);
        }
    }

    /// A reading of a span that is there.
    pub(in crate::store) fn add_late(&mut self, sample: &Sample) {
        let mut one = Rollup::new(sample.event_time);
        one.add(sample);
        self.merge(&one, false);
    }

    pub(in crate::store) fn merge(&mut self, rollup: &Rollup, is_behind: bool) {
        let start = self.start(rollup.start.as_micros());
        let span = self.spans.entry(start).or_insert_with(|| Rollup::new(start));
        let last = span.last;
        span.merge(rollup);
        if span.valued > rollup.valued || rollup.valued == 0 {
            span.last = if is_behind && rollup.valued > 0 { rollup.last } else { last };
        } else {
            span.last = rollup.last;
        }
        if !self.with_sketch {
            span.sketch = Sketch::default();
        }
    }
}
