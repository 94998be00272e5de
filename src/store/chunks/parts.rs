//! How a range is read: days where whole days are rolled up, hours up to them and behind them, readings
//! themselves at the edges, and where roll-ups can't be relied on. Pure.

use super::{
    hours::Span,
    rollup::{DAY, HOUR},
};

/// Where a part of the range is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Source {
    Raw,
    /// Whole hours or days.
    Rolled(Span),
    /// No raw readings are kept there.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Part {
    pub(in crate::store) source: Source,
    pub(in crate::store) end: i64,
}

/// What is known of a sensor's roll-ups.
pub(in crate::store) struct Known<F> {
    /// They are there before it.
    pub(in crate::store) rolled_upto: i64,
    /// Before it there is nothing else.
    pub(in crate::store) raw_from: i64,
    /// The start of the first hour of a range whose roll-up is not what the readings say; it may begin
    /// before the range.
    pub(in crate::store) disturbed: F,
}

/// The next part that is read in one way, of spans of `width` microseconds.
pub(in crate::store) fn next_part(
    known: &Known<impl Fn(i64, i64) -> Option<i64>>,
    at: i64,
    to: i64,
    width: Option<i64>,
) -> Part {
    let (rolled, raw_from) = (known.rolled_upto, known.raw_from);
    if at < raw_from {
        return Part { source: Source::Dropped, end: raw_from.min(to) };
    }
    let fits = |micros: i64| width.is_none_or(|width| width % micros == 0);
    if at >= rolled || !fits(HOUR) {
        return Part { source: Source::Raw, end: to };
    }
    let end = rolled.min(to);
    let disturbed = (known.disturbed)(at, end);
    if let Some(hour) = disturbed.filter(|hour| *hour <= at) {
        return Part { source: Source::Raw, end: end.min(hour + HOUR) };
    }
    let end = disturbed.map_or(end, |hour| hour.min(end));
    let down = |time: i64, micros: i64| time.div_euclid(micros) * micros;
    let up = |time: i64, micros: i64| down(time.saturating_add(micros - 1), micros);
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
