//! Messages of the last hour, in steps of ten seconds: for people who look whether data flows.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::telemetry::Timestamp;

const STEP: i64 = PULSE_STEP_SECONDS * 1_000_000;
pub const PULSE_STEP_SECONDS: i64 = 10;
/// Steps that are kept: an hour.
const STEPS: usize = 360;

/// Messages since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

/// Guards the steps; held for moments, once a second and when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The step that is under way, and the count at its begin. `None` before the first beat.
    under_way: Option<(i64, Count)>,
    /// Those before it, oldest first. Bound: [`STEPS`].
    steps: VecDeque<Count>,
}

/// The last hour.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageRate {
    /// One entry a step, oldest first; zero before the start.
    pub accepted: Vec<u64>,
    pub refused: Vec<u64>,
    /// Over the last ten to twenty seconds.
    pub per_second: f64,
    /// Share of messages accepted, 0 to 1; 1 where there were none.
    pub success_rate: f64,
}

impl Pulse {
    /// To be called every second.
    pub(super) fn beat(&self, now: Timestamp, count: Count) {
        let mut state = self.0.lock();
        let step = now.as_micros().div_euclid(STEP);
        let Some((under_way, before)) = state.under_way else {
            // What came before the first beat belongs to the first step.
            state.under_way = Some((step, Count::default()));
            return;
        };
        // A clock that is set back makes the step longer.
        if step <= under_way {
            return;
        }
        let passed = usize::try_from(step - under_way).unwrap_or(STEPS).min(STEPS);
        state.steps.push_back(count.since(before));
        state.steps.extend(std::iter::repeat_n(Count::default(), passed - 1));
        let surplus = state.steps.len().saturating_sub(STEPS);
        state.steps.drain(..surplus);
        state.under_way = Some((step, count));
    }

    pub(super) fn rate(&self, now: Timestamp, count: Count) -> MessageRate {
        let state = self.0.lock();
        let missing = STEPS - state.steps.len();
        let padding = std::iter::repeat_n(Count::default(), missing);
        let steps = || padding.clone().chain(state.steps.iter().copied());
        let (begin, before) = state.under_way.unwrap_or_default();
        let current = count.since(before);
        let elapsed = now.as_micros().saturating_sub(begin.saturating_mul(STEP)).clamp(0, 2 * STEP);
        let last = state.steps.back().copied().unwrap_or_default();
        let seconds = (STEP + elapsed) as f64 / 1e6;
        let sum = |part: fn(&Count) -> u64| {
            steps().map(|count| part(&count)).sum::<u64>() + part(&current)
        };
        let (accepted, refused) = (sum(|c| c.accepted), sum(|c| c.refused));
        MessageRate {
            accepted: steps().map(|count| count.accepted).collect(),
            refused: steps().map(|count| count.refused).collect(),
            per_second: (last.all() + current.all()) as f64 / seconds,
            success_rate: match accepted + refused {
                0 => 1.0,
                all => accepted as f64 / all as f64,
            },
        }
    }
}

impl Count {
    fn since(self, before: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(before.accepted),
            refused: self.refused.saturating_sub(before.refused),
        }
    }

    fn all(self) -> u64 {
        self.accepted + self.refused
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn count(accepted: u64, refused: u64) -> Count {
        Count { accepted, refused }
    }

    #[test]
    fn steps_hold_what_came_in_each() {
        let pulse = Pulse::default();
        pulse.beat(at(100), count(0, 0));
        pulse.beat(at(105), count(3, 1));
        pulse.beat(at(110), count(5, 1));
        pulse.beat(at(140), count(6, 1));
        let rate = pulse.rate(at(145), count(36, 1));
        assert_eq!(rate.accepted[355..], [0, 5, 1, 0, 0]);
        assert_eq!(rate.refused[355..], [0, 1, 0, 0, 0]);
        assert_eq!(rate.per_second, 2.0);
        assert_eq!(rate.success_rate, 36.0 / 37.0);
    }

    proptest! {
        #[test]
        fn nothing_is_counted_twice_or_lost(beats in proptest::collection::vec((-30..3_000_i64, 0..9_u64), 1..60)) {
            let pulse = Pulse::default();
            let (mut now, mut so_far) = (1_000_000, count(0, 0));
            for (later, more) in beats {
                now += later;
                so_far.accepted += more;
                pulse.beat(at(now), so_far);
                let rate = pulse.rate(at(now), so_far);
                prop_assert_eq!((rate.accepted.len(), rate.refused.len()), (STEPS, STEPS));
                prop_assert!(rate.accepted.iter().sum::<u64>() <= so_far.accepted);
                prop_assert!(rate.per_second >= 0.0 && rate.success_rate == 1.0);
            }
        }
    }
}
