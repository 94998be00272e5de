//! How much a client may publish in a second: past it its socket is not read for a while. And who
//! sends all the time gives way to the others.
//!
//! A token bucket of a second's worth, for messages and for bytes. Pure.

use std::time::Duration;

/// What one connection may send in a second; 0 is any amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboundRate {
    pub messages_per_second: u32,
    pub bytes_per_second: u32,
}

#[derive(Debug)]
pub(super) struct Pace {
    rate: InboundRate,
    messages: f64,
    bytes: f64,
    filled_at: Duration,
}

impl Pace {
    /// `None` where nothing is limited.
    pub(super) fn new(rate: InboundRate, now: Duration) -> Option<Box<Self>> {
        let (messages, bytes) = (rate.messages_per_second.into(), rate.bytes_per_second.into());
        (rate != InboundRate::default())
            .then(|| Box::new(Self { rate, messages, bytes, filled_at: now }))
    }

    /// Takes note of a message; until when nothing more is to be read, if so.
    pub(super) fn spend(&mut self, bytes: usize, now: Duration) -> Option<Duration> {
        let elapsed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.filled_at = now;
        let debt_of = |level: &mut f64, rate: u32, cost: f64| {
            if rate == 0 {
                return 0.0;
            }
            let rate = f64::from(rate);
            *level = (*level + elapsed * rate).min(rate) - cost;
            (-*level).max(0.0) / rate
        };
        let by_messages = debt_of(&mut self.messages, self.rate.messages_per_second, 1.0);
        let by_bytes = debt_of(&mut self.bytes, self.rate.bytes_per_second, bytes as f64);
        let debt = by_messages.max(by_bytes);
        (debt > 0.0).then(|| now + Duration::from_secs_f64(debt))
    }
}

/// Turns that a connection yields in after another has sent something.
const YIELDS: u8 = 4;

/// One connection's part of the packets that the broker takes.
#[derive(Debug, Default)]
pub(super) struct Share {
    own: u64,
    of_others: u64,
    yields_left: u8,
}

impl Share {
    pub(super) fn took(&mut self, packets: usize) {
        self.own += packets as u64;
    }

    /// The connection has filled its turn: whether it is to rest, because not all of the broker's
    /// packets lately were its own.
    pub(super) fn yields(&mut self, all: u64) -> bool {
        let of_others = all.saturating_sub(self.own);
        if std::mem::replace(&mut self.of_others, of_others) != of_others {
            self.yields_left = YIELDS;
        }
        let yields = self.yields_left > 0;
        self.yields_left = self.yields_left.saturating_sub(1);
        yields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_free_and_then_it_is_by_the_rate() {
        let rate = InboundRate { messages_per_second: 10, bytes_per_second: 1000 };
        let mut pace = Pace::new(rate, Duration::ZERO).unwrap();
        for _ in 0..10 {
            assert_eq!(pace.spend(10, Duration::ZERO), None);
        }
        assert_eq!(pace.spend(10, Duration::ZERO), Some(Duration::from_millis(100)));
        assert_eq!(pace.spend(0, Duration::from_secs(9)), None);
        assert_eq!(pace.spend(3000, Duration::from_secs(9)), Some(Duration::from_secs(11)));
        assert!(Pace::new(InboundRate::default(), Duration::ZERO).is_none());
    }

    #[test]
    fn who_sends_alone_goes_on_and_beside_others_rests() {
        let mut share = Share::default();
        share.took(256);
        assert!(!share.yields(256));
        assert!((0..YIELDS).all(|_| share.yields(257)));
        share.took(256);
        assert!(!share.yields(513));
    }
}
