//! Statistics of a range and of its spans: from roll-ups where whole hours or days are wanted, from the
//! readings themselves elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use super::{
    ChunkError, Reader, Rollup, Sample, Sketch,
    hours::{self, Span},
    minutes,
    rollup::{DAY, HOUR},
    view::{Order, View},
};
use crate::telemetry::{SensorId, Timestamp};

/// A range by spans; only those that have readings, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    pub spans: Vec<Rollup>,
}

impl Envelope {
    /// All spans as one.
    pub fn whole(&self) -> Option<Rollup> {
        let mut spans = self.spans.iter();
        let mut whole = spans.next()?.clone();
        for span in spans {
            whole.merge(span);
        }
        Some(whole)
    }
}

impl Reader<'_> {
    /// Statistics of a sensor's readings with event times from the first on, before the second, by
    /// spans of `width` microseconds, counted from 1970; without one, of the whole range. Where raw
    /// readings are dropped, spans are as fine as what is kept.
    ///
    /// Sketches are there only `with_sketch`.
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged.
    pub fn statistics(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        width: Option<i64>,
        with_sketch: bool,
    ) -> Result<Envelope, ChunkError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let view = self.view(sensor, (from, to), None)?;
        let width = width.map(|width| width.max(1));
        let mut sums = Sums { width, with_sketch, from, open: None, spans: BTreeMap::new() };
        let mut at = from;
        while at < to {
            let part = next_part(&view, at, to, width);
            match part.source {
                Source::Raw => {
                    view.visit((at, part.end), Order::Ascending, |sample| {
                        sums.add(sample);
                        ControlFlow::Continue(())
                    })?;
                }
                Source::Rolled(span) => {
                    let range = (span.of(at), span.of(part.end.saturating_sub(1)) + 1);
                    add_rolled(&view, span, range, &mut sums)?;
                }
                Source::Dropped => add_dropped(&view, (at, part.end), &mut sums)?,
            }
            at = part.end;
        }
        sums.close();
        Ok(Envelope { spans: sums.spans.into_values().collect() })
    }
}

/// What a range is made of: readings, and what is left of dropped ones.
#[derive(Debug)]
pub enum Piece<'a> {
    Reading(&'a Sample),
    Dropped(&'a Rollup),
}

impl Reader<'_> {
    /// Shows a sensor's readings with event times from the first on, before the second, in order; where
    /// raw ones are dropped, roll-ups, by minute if these are kept and `is_fine`.
    ///
    /// # Errors
    /// As above.
    pub fn walk(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        is_fine: bool,
        mut shown: impl FnMut(Piece<'_>),
    ) -> Result<(), ChunkError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let view = self.view(sensor, (from, to), None)?;
        let raw_from = view.series.raw_from.unwrap_or(i64::MIN).clamp(from, to.max(from));
        if from < raw_from {
            for rollup in dropped(&view, (from, raw_from), is_fine)? {
                shown(Piece::Dropped(&rollup));
            }
        }
        view.visit((raw_from, to), Order::Ascending, |sample| {
            shown(Piece::Reading(sample));
            ControlFlow::Continue(())
        })
    }
}

/// Where a part of the range is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Raw,
    /// Whole hours or days.
    Rolled(Span),
    /// No raw readings are kept there.
    Dropped,
}

struct Part {
    source: Source,
    end: i64,
}

/// The next part that is read in one way.
fn next_part(view: &View<'_>, at: i64, to: i64, width: Option<i64>) -> Part {
    let raw_from = view.series.raw_from.unwrap_or(i64::MIN);
    let rolled = view.series.rolled_upto.unwrap_or(i64::MIN);
    if at < raw_from {
        return Part { source: Source::Dropped, end: raw_from.min(to) };
    }
    let fits = |micros: i64| width.is_none_or(|width| width % micros == 0);
    if at >= rolled || !fits(HOUR) {
        return Part { source: Source::Raw, end: to };
    }
    let end = rolled.min(to);
    // To the next time that the tail has something at: the hour of that is read raw.
    let disturbed = view.tail_between(at, end).first();
    let disturbed = disturbed.map(|sample| sample.event_time.as_micros().div_euclid(HOUR) * HOUR);
    if let Some(hour) = disturbed.filter(|hour| *hour <= at) {
        return Part { source: Source::Raw, end: end.min(hour + HOUR) };
    }
    let end = disturbed.map_or(end, |hour| hour.min(end));
    let down = |time: i64, micros: i64| time.div_euclid(micros) * micros;
    let up = |time: i64, micros: i64| down(time.saturating_add(micros - 1), micros);
    // Days where whole days fit, hours up to them and behind them, readings at the edges.
    if fits(DAY) && at == down(at, DAY) && down(end, DAY) > at {
        return Part { source: Source::Rolled(Span::Day), end: down(end, DAY) };
    }
    if at != down(at, HOUR) || down(end, HOUR) <= at {
        return Part { source: Source::Raw, end: end.min(up(at.saturating_add(1), HOUR)) };
    }
    let hours_end = down(end, HOUR);
    let day = up(at.saturating_add(1), DAY);
    let has_day = fits(DAY) && day.saturating_add(DAY) <= hours_end;
    Part { source: Source::Rolled(Span::Hour), end: if has_day { day } else { hours_end } }
}

fn add_rolled(
    view: &View<'_>,
    span: Span,
    range: (i64, i64),
    sums: &mut Sums,
) -> Result<(), ChunkError> {
    sums.close();
    for rollup in hours::between(view.connection, view.sensor, span, range)? {
        sums.merge(&rollup, true);
    }
    Ok(())
}

/// What is left of dropped readings, and what has come late.
fn add_dropped(view: &View<'_>, range: (i64, i64), sums: &mut Sums) -> Result<(), ChunkError> {
    sums.close();
    let is_fine = sums.width.is_some_and(|width| width % HOUR != 0);
    for rollup in dropped(view, range, is_fine)? {
        sums.merge(&rollup, true);
    }
    view.tail_between(range.0, range.1).iter().for_each(|sample| sums.add_late(sample));
    Ok(())
}

/// Days, hours, and minutes if they were kept and are wanted; in order.
pub(super) fn dropped(
    view: &View<'_>,
    (from, to): (i64, i64),
    is_fine: bool,
) -> Result<Vec<Rollup>, ChunkError> {
    let hours_from = view.series.hours_from.unwrap_or(i64::MIN).clamp(from, to);
    let up = |time: i64, micros: i64| time.saturating_add(micros - 1).div_euclid(micros);
    let between = |span, range| hours::between(view.connection, view.sensor, span, range);
    // A span counts where it begins.
    let mut all = between(Span::Day, (up(from, DAY), up(hours_from, DAY)))?;
    let mut hours = between(Span::Hour, (up(hours_from, HOUR), up(to, HOUR)))?;
    if is_fine {
        let minutes = minutes::between(view.connection, view.sensor, (hours_from, to))?;
        let hour = |rollup: &Rollup| rollup.start.as_micros().div_euclid(HOUR);
        let fine: BTreeSet<i64> = minutes.iter().map(hour).collect();
        hours.retain(|rollup| !fine.contains(&hour(rollup)));
        hours.extend(minutes);
        hours.sort_by_key(|rollup| rollup.start);
    }
    all.append(&mut hours);
    Ok(all)
}

struct Sums {
    width: Option<i64>,
    with_sketch: bool,
    from: i64,
    /// The span that readings are being added to.
    open: Option<Rollup>,
    spans: BTreeMap<Timestamp, Rollup>,
}

impl Sums {
    fn start(&self, time: i64) -> Timestamp {
        let start = self.width.map(|width| time.div_euclid(width).saturating_mul(width));
        Timestamp::from_micros(start.unwrap_or(self.from))
    }

    /// A reading that is behind all others.
    fn add(&mut self, sample: &Sample) {
        let start = self.start(sample.event_time.as_micros());
        if self.open.as_ref().is_none_or(|open| open.start != start) {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Rollup::new(start));
        if self.with_sketch { open.add(sample.value) } else { open.add_plain(sample.value) }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.merge(&open, true);
        }
    }

    /// A reading of a span that is there.
    fn add_late(&mut self, sample: &Sample) {
        let mut one = Rollup::new(sample.event_time);
        one.add(sample.value);
        self.merge(&one, false);
    }

    fn merge(&mut self, rollup: &Rollup, is_behind: bool) {
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
