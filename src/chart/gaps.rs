//! Where a line is broken: where nothing came for longer than usual, and where what came has no value.

use std::ops::Range;

use super::Point;

/// Silence that is so many times the usual interval is a gap.
const MISSED: i64 = 3;

/// The parts of `points` that are drawn as one line each, in order; points without a value are in none.
pub(super) fn runs(points: &[Point]) -> Vec<Range<usize>> {
    let longest = usual_interval(points).map(|usual| usual.saturating_mul(MISSED));
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut before: Option<&Point> = None;
    for (at, point) in points.iter().enumerate() {
        let is_broken = before.is_none_or(|before| {
            let silence = point.first.micros_since(before.last);
            before.values.is_none() || longest.is_some_and(|longest| silence > longest)
        });
        match runs.last_mut() {
            _ if point.values.is_none() => {}
            Some(run) if !is_broken => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
        before = Some(point);
    }
    runs
}

/// The median of the times between readings; `None`: too few to tell.
fn usual_interval(points: &[Point]) -> Option<i64> {
    let mut intervals: Vec<i64> = points
        .windows(2)
        .filter_map(|pair| {
            let [before, after] = pair else { return None };
            let count = i64::try_from(before.count.max(1)).unwrap_or(i64::MAX);
            Some(after.first.micros_since(before.first) / count)
        })
        .collect();
    intervals.sort_unstable();
    // Of two readings nobody can say that the second came late.
    intervals.get(1)?;
    intervals.get(intervals.len() / 2).copied().map(|usual| usual.max(1))
}
