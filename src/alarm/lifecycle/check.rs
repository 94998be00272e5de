//! Limits with their hysteresis, ready to be asked.

use crate::alarm::rule::{Band, Bound, Limit, Rate};

/// A question about one number. Raised beyond a limit; once held, left only at the clear limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Check {
    Above { limit: f64, clear: f64 },
    Below { limit: f64, clear: f64 },
    Outside { low: f64, high: f64, deadband: f64 },
    Inside { low: f64, high: f64, deadband: f64 },
    Equals(f64),
    Differs(f64),
    Beyond { above: Option<(f64, f64)>, below: Option<(f64, f64)> },
}

impl Check {
    /// `held`: the level that asks is active, so that the clear limits count.
    pub(super) fn is_met(&self, value: f64, held: bool) -> bool {
        let is_above = |(limit, clear): (f64, f64)| value > if held { clear } else { limit };
        let is_below = |(limit, clear): (f64, f64)| value < if held { clear } else { limit };
        match *self {
            Self::Above { limit, clear } => is_above((limit, clear)),
            Self::Below { limit, clear } => is_below((limit, clear)),
            Self::Outside { low, high, deadband } => {
                is_below((low, low + deadband)) || is_above((high, high - deadband))
            }
            Self::Inside { low, high, deadband } => {
                let slack = if held { deadband } else { 0.0 };
                low - slack <= value && value <= high + slack
            }
            Self::Equals(wanted) => value == wanted,
            Self::Differs(wanted) => value != wanted,
            Self::Beyond { above, below } => {
                above.is_some_and(is_above) || below.is_some_and(is_below)
            }
        }
    }
}

/// The limit, and where it is left again.
fn above(bound: &Bound) -> (f64, f64) {
    let deadband = bound.deadband.unwrap_or(0.0);
    (bound.limit, bound.clear_limit.unwrap_or(bound.limit - deadband))
}

fn below(bound: &Bound) -> (f64, f64) {
    let deadband = bound.deadband.unwrap_or(0.0);
    (bound.limit, bound.clear_limit.unwrap_or(bound.limit + deadband))
}

impl From<&Limit> for Check {
    fn from(limit: &Limit) -> Self {
        match limit {
            Limit::Above(bound) => {
                let (limit, clear) = above(bound);
                Self::Above { limit, clear }
            }
            Limit::Below(bound) => {
                let (limit, clear) = below(bound);
                Self::Below { limit, clear }
            }
            Limit::Outside(Band { low, high, deadband }) => {
                Self::Outside { low: *low, high: *high, deadband: deadband.unwrap_or(0.0) }
            }
            Limit::Inside(Band { low, high, deadband }) => {
                Self::Inside { low: *low, high: *high, deadband: deadband.unwrap_or(0.0) }
            }
        }
    }
}

impl From<&Rate> for Check {
    fn from(rate: &Rate) -> Self {
        Self::Beyond {
            above: rate.above.as_ref().map(above),
            below: rate.below.as_ref().map(below),
        }
    }
}
