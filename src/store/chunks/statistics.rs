//! Statistics of a range and of its spans: from roll-ups where whole hours or days are wanted, from the
//! readings themselves elsewhere.

use std::{collections::BTreeSet, ops::ControlFlow};

use super::{
    ChunkError, Reader, Rollup, Sample, Sums,
    hours::{self, Span},
    minutes,
    parts::{Known, Source, next_part},
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
        let mut sums = Sums::new(width, with_sketch, from);
        let known = view.known();
        let mut at = from;
        while at < to {
            let part = next_part(&known, at, to, width);
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
        Ok(Envelope { spans: sums.into_spans() })
    }
}

/// What a range is made of: readings, and roll-ups in the place of some.
#[derive(Debug)]
pub enum Piece<'a> {
    Reading(&'a Sample),
    RolledUp(&'a Rollup),
}

impl Reader<'_> {
    /// Shows a sensor's readings with event times from the first on, before the second, in order, for
    /// spans of `width` microseconds: roll-ups where they say as much of them, and where raw readings
    /// are dropped, by minute if these are kept and are wanted.
    ///
    /// # Errors
    /// As above.
    pub fn walk(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        width: i64,
        mut shown: impl FnMut(Piece<'_>),
    ) -> Result<(), ChunkError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let view = self.view(sensor, (from, to), None)?;
        let known = view.known();
        let mut at = from;
        while at < to {
            let part = next_part(&known, at, to, Some(width));
            let rollups = match part.source {
                Source::Raw => None,
                Source::Rolled(span) => {
                    let range = (span.of(at), span.of(part.end.saturating_sub(1)) + 1);
                    let rollups = hours::between(view.connection, sensor, span, range)?;
                    rollups.iter().all(|rollup| rollup.seen.is_some()).then_some(rollups)
                }
                Source::Dropped => Some(dropped(&view, (at, part.end), width % HOUR != 0)?),
            };
            match rollups {
                Some(rollups) => rollups.iter().for_each(|rollup| shown(Piece::RolledUp(rollup))),
                None => view.visit((at, part.end), Order::Ascending, |sample| {
                    shown(Piece::Reading(sample));
                    ControlFlow::Continue(())
                })?,
            }
            at = part.end;
        }
        Ok(())
    }
}

impl View<'_> {
    /// What roll-ups can be relied on for.
    fn known(&self) -> Known<impl Fn(i64, i64) -> Option<i64>> {
        let disturbed = move |from, to| {
            let first = self.tail_between(from, to).first()?;
            Some(first.event_time.as_micros().div_euclid(HOUR) * HOUR)
        };
        Known {
            rolled_upto: self.series.rolled_upto.unwrap_or(i64::MIN),
            raw_from: self.series.raw_from.unwrap_or(i64::MIN),
            disturbed,
        }
    }
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
    let is_fine = sums.is_fine();
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
