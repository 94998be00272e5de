//! How fast messages may follow one another. Pure: the time comes in, on a scale that does not go
//! backwards.

use std::time::Duration;

/// Messages that may go at once after a quiet time.
const BURST: u32 = 10;

/// A virtual schedule: each message takes the next place of it; the schedule may lag behind the clock
/// by a burst, not more.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Duration,
}

impl Pace {
    pub(super) fn per_minute(messages: u32) -> Self {
        Self { interval: Duration::from_secs(60) / messages.max(1), next: Duration::ZERO }
    }

    /// Takes a place, or says how long until there is one.
    pub(super) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let lag = self.interval * (BURST - 1);
        let at = self.next.max(now.saturating_sub(lag));
        if at > now {
            return Err(at - now);
        }
        self.next = at + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_minute_holds_more_than_the_rate_and_a_burst(
            per_minute in 1_u32..200, gaps in prop::collection::vec(0_u64..5_000, 1..200),
        ) {
            let mut pace = Pace::per_minute(per_minute);
            let mut now = Duration::from_secs(3_600);
            let mut sent = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if let Err(wait) = pace.take(now) {
                    now += wait;
                    prop_assert_eq!(pace.take(now), Ok(()));
                }
                sent.push(now);
            }
            for (at, start) in sent.iter().enumerate() {
                let minute = Duration::from_secs(60);
                let within = sent[at..].iter().take_while(|time| **time - *start < minute).count();
                prop_assert!(within <= usize::try_from(per_minute + BURST).unwrap());
            }
        }
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_step() {
        let mut pace = Pace::per_minute(60);
        let now = Duration::from_secs(1_000);
        let at_once = (0..13).take_while(|_| pace.take(now).is_ok()).count();
        assert_eq!(at_once, 10);
        assert_eq!(pace.take(now), Err(Duration::from_secs(1)));
        assert_eq!(pace.take(now + Duration::from_secs(1)), Ok(()));
        assert_eq!(pace.take(now + Duration::from_millis(1_500)), Err(Duration::from_millis(500)));
    }
}
