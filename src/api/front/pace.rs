//! How many requests a caller may make in a second (GCRA).
//!
//! Pure: the time comes in. Bound: twice `CALLERS_MAX` callers. Nobody is known for longer than the
//! burst lasts, so two generations of callers hold all that matters; where one is full, who is not in
//! it goes uncounted: the limit of requests at a time is there for that.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use foldhash::quality::RandomState;

/// What may be made at once after a pause, in time of the permitted rate.
const BURST: Duration = Duration::from_secs(2);
const CALLERS_MAX: usize = 10_000;

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    User(i64),
    Key(i64),
    ConfiguredKey(String),
    /// Nobody that is known.
    Address(IpAddr),
}

/// When a caller's requests so far are paid off, or how long it has to wait for one more.
/// `paid_off` and `now` are on the same scale; `cost` is a request's time.
pub(super) fn judge(
    paid_off: Duration,
    now: Duration,
    cost: Duration,
    burst: Duration,
) -> Result<Duration, Duration> {
    let paid_off = paid_off.max(now) + cost;
    match paid_off.checked_sub(now + burst.max(cost)) {
        None | Some(Duration::ZERO) => Ok(paid_off),
        Some(wait) => Err(wait),
    }
}

#[derive(Debug, Default)]
pub(super) struct Pace {
    callers: HashMap<Who, Duration, RandomState>,
    before: HashMap<Who, Duration, RandomState>,
    turned: Duration,
}

impl Pace {
    /// `Err`: how long to wait. `per_second` 0: no limit.
    pub(super) fn count(
        &mut self,
        who: Who,
        now: Duration,
        per_second: u32,
    ) -> Result<(), Duration> {
        let Some(cost) = Duration::from_secs(1).checked_div(per_second) else { return Ok(()) };
        if now >= self.turned + BURST {
            let is_recent = now < self.turned + 2 * BURST;
            self.before = std::mem::take(&mut self.callers);
            if !is_recent {
                self.before.clear();
            }
            self.turned = now;
        }
        let known = self.callers.get(&who).or_else(|| self.before.get(&who));
        let paid_off = judge(known.copied().unwrap_or_default(), now, cost, BURST)?;
        if self.callers.len() < CALLERS_MAX || self.callers.contains_key(&who) {
            self.callers.insert(who, paid_off);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In any stretch of time a caller gets no more than the burst and what the rate gives, and
        /// who keeps to the rate is never refused.
        #[test]
        fn no_stretch_has_more_than_rate_and_burst(
            per_second in 1_u32..2000,
            pauses in proptest::collection::vec(0_u64..400_000_000, 1..400),
        ) {
            let mut pace = Pace::default();
            let (mut now, mut admitted) = (Duration::from_secs(9), Vec::new());
            for pause in pauses {
                now += Duration::from_nanos(pause / u64::from(per_second));
                match pace.count(Who::User(1), now, per_second) {
                    Ok(()) => admitted.push(now),
                    Err(wait) => prop_assert!(!wait.is_zero() && wait <= BURST.max(Duration::from_secs(1))),
                }
            }
            for (at, first) in admitted.iter().enumerate() {
                for (count, last) in admitted[at..].iter().enumerate() {
                    let time = (*last - *first) + BURST;
                    let most = time.as_secs_f64() * f64::from(per_second);
                    prop_assert!((count as f64) < most + 1.0 + 1e-3, "{count} in {time:?}");
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(per_second in 1_u32..5000, count in 1_u32..5000) {
            let cost = Duration::from_secs(1) / per_second;
            let mut pace = Pace::default();
            for n in 0..count {
                prop_assert_eq!(pace.count(Who::Key(1), cost * n, per_second), Ok(()));
            }
        }

        /// To wait as long as told is enough.
        #[test]
        fn waiting_as_told_is_enough(per_second in 1_u32..1000, more in 1_u32..3000) {
            let mut pace = Pace::default();
            let mut now = Duration::from_secs(3);
            for _ in 0..more {
                if let Err(wait) = pace.count(Who::User(1), now, per_second) {
                    now += wait;
                    prop_assert_eq!(pace.count(Who::User(1), now, per_second), Ok(()));
                }
            }
        }
    }

    #[test]
    fn callers_are_counted_apart_and_their_number_is_bounded() {
        let mut pace = Pace::default();
        let now = Duration::from_secs(1);
        for _ in 0..2 {
            assert_eq!(pace.count(Who::User(1), now, 1), Ok(()));
        }
        assert_eq!(pace.count(Who::User(1), now, 1), Err(Duration::from_secs(1)));
        assert_eq!(pace.count(Who::Key(1), now, 1), Ok(()));
        assert_eq!(pace.count(Who::User(1), now, 0), Ok(()));
        for n in 0..100_000_u32 {
            let who = Who::Address(IpAddr::from(n.to_be_bytes()));
            assert_eq!(pace.count(who, now + Duration::from_millis(u64::from(n)), 1), Ok(()));
        }
        assert!(pace.callers.len() <= CALLERS_MAX && pace.before.len() <= CALLERS_MAX);
        let later = now + Duration::from_secs(1000);
        assert_eq!(pace.count(Who::User(1), later, 1), Ok(()));
        assert!(pace.before.is_empty());
    }
}
