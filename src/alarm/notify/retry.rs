//! When a message that did not arrive is tried again, and when it is given up. Pure.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::telemetry::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// After the first failure; it doubles with each.
    pub first: Duration,
    pub longest: Duration,
    /// Tries of one message; past it, it is dead.
    pub attempts_max: u32,
    /// From the row's making; a failure past it is the last.
    pub age_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(900),
            attempts_max: 120,
            age_max: Duration::from_secs(86_400),
        }
    }
}

impl Retry {
    /// The pause after `attempt` failures: a fifth more or less than the doubled one, so that many
    /// that failed at once don't come back at once. The same for the same message and attempt.
    pub(super) fn pause(&self, key: &str, attempt: u32) -> Duration {
        let doubled = 2_u32
            .checked_pow(attempt.saturating_sub(1))
            .and_then(|factor| self.first.checked_mul(factor))
            .map_or(self.longest, |pause| pause.min(self.longest));
        let mut hash = Sha256::new();
        hash.update(attempt.to_be_bytes());
        hash.update(key);
        let [high, low, ..] = <[u8; 32]>::from(hash.finalize());
        let share = f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX);
        doubled.mul_f64(0.8 + 0.4 * share)
    }

    /// Whether a message of which this attempt has failed is tried again.
    pub(super) fn goes_on(&self, attempt: u32, created_at: Timestamp, now: Timestamp) -> bool {
        let age = u64::try_from(now.micros_since(created_at)).unwrap_or(0);
        attempt < self.attempts_max && Duration::from_micros(age) < self.age_max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_double_within_a_fifth_and_never_pass_the_longest(
            key in "[a-z0-9]{1,20}", attempt in 1_u32..200,
        ) {
            let retry = Retry::default();
            let pause = retry.pause(&key, attempt).as_secs_f64();
            let exact = (5.0 * 2_f64.powi(i32::try_from(attempt).unwrap() - 1)).min(900.0);
            prop_assert!(pause >= exact * 0.799 && pause <= exact * 1.201, "{} {}", pause, exact);
            prop_assert_eq!(retry.pause(&key, attempt), retry.pause(&key, attempt));
        }
    }

    #[test]
    fn different_messages_come_back_at_different_times() {
        let retry = Retry::default();
        let mut pauses: Vec<_> = (0..40).map(|n| retry.pause(&n.to_string(), 3)).collect();
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > 35);
    }

    #[test]
    fn a_message_is_given_up_by_attempts_or_by_age() {
        let retry = Retry { attempts_max: 3, ..Retry::default() };
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert!(retry.goes_on(2, at(0), at(86_399)));
        assert!(!retry.goes_on(3, at(0), at(1)));
        assert!(!retry.goes_on(1, at(0), at(86_400)));
        assert!(retry.goes_on(1, at(10), at(0)), "a clock that was set back is no age");
    }
}
