//! Values that change nothing: what most readings say to most rules. Who holds many states asks for
//! them once after each change, and spares itself the judging of every reading that is among them.

use super::{CompiledRule, JudgedReading, State, check::Check, compile::Expr, state::Phase};
use crate::telemetry::Quality;

/// A closed range of values of a state's only sensor, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quiet {
    low: f64,
    high: f64,
}

impl Quiet {
    pub const NEVER: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };
    const ALWAYS: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// Whether judging the reading would lead to nothing, then and later.
    pub fn holds(self, reading: &JudgedReading) -> bool {
        let value = reading.value.unwrap_or(f64::NAN);
        self.low <= value
            && value <= self.high
            && value.is_finite()
            && reading.quality != Quality::Bad
            && !reading.late
    }

    fn within(self, low: f64, high: f64) -> Self {
        Self { low: self.low.max(low), high: self.high.min(high) }
    }
}

impl State {
    /// Readings that need not be fed as long as the state stays as it is: those that leave every level
    /// normal, in a rule that remembers no more of them than the last value.
    pub fn quiet(&self, rule: &CompiledRule) -> Quiet {
        let remembers = !rule.cells.is_empty() || rule.calendar.is_some() || rule.is_per_device();
        let is_taken_up = self.thaw.is_none() && self.seen.arrival > self.frozen.arrival;
        if remembers || !is_taken_up {
            return Quiet::NEVER;
        }
        let mut quiet = Quiet::ALWAYS;
        for (level, phase) in rule.levels.iter().zip(&self.phases) {
            quiet = match (&level.expr, phase) {
                (Expr::Value(Check::Above { limit, .. }), Phase::Normal) => {
                    quiet.within(f64::NEG_INFINITY, *limit)
                }
                (Expr::Value(Check::Below { limit, .. }), Phase::Normal) => {
                    quiet.within(*limit, f64::INFINITY)
                }
                (Expr::Value(Check::Outside { low, high, .. }), Phase::Normal) => {
                    quiet.within(*low, *high)
                }
                _ => return Quiet::NEVER,
            };
        }
        quiet
    }
}
