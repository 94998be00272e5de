//! Who has failed to log in, or has connected, how often of late.
//!
//! Pure: the time comes in, on any scale that does not go backwards. Bound: 10,000 pairs in each
//! table; the one that has been there longest makes room.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use foldhash::quality::RandomState;

const PAIRS_MAX: usize = 10_000;
/// A name longer than this counts by its beginning.
const NAME_BYTES_MAX: usize = 256;

/// An address with a name: of a user, or of a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pair(IpAddr, Arc<str>);

impl Pair {
    /// Of an IPv6 address its /64 counts, which is what one subscriber has at least.
    pub(super) fn new(address: IpAddr, name: &str) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
            }
            address => address,
        };
        let end = name.floor_char_boundary(NAME_BYTES_MAX);
        Self(address, name.get(..end).unwrap_or_default().into())
    }
}

/// A table that forgets its oldest entry when it is full.
#[derive(Debug)]
struct Recent<V> {
    entries: HashMap<Pair, (u64, V), RandomState>,
    order: BTreeMap<u64, Pair>,
    next: u64,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        let entries = HashMap::with_hasher(RandomState::default());
        Self { entries, order: BTreeMap::new(), next: 0 }
    }
}

impl<V> Recent<V> {
    fn get(&self, pair: &Pair) -> Option<&V> {
        self.entries.get(pair).map(|(_, value)| value)
    }

    fn put(&mut self, pair: Pair, value: V) {
        self.remove(&pair);
        if self.entries.len() >= PAIRS_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.order.insert(self.next, pair.clone());
        self.entries.insert(pair, (self.next, value));
        self.next += 1;
    }

    fn get_mut(&mut self, pair: &Pair) -> Option<&mut V> {
        self.entries.get_mut(pair).map(|(_, value)| value)
    }

    fn remove(&mut self, pair: &Pair) {
        if let Some((at, _)) = self.entries.remove(pair) {
            self.order.remove(&at);
        }
    }
}

/// What has happened since the first of a series.
#[derive(Debug, Clone, Copy)]
struct Series {
    since: Duration,
    count: u32,
}

impl Recent<Series> {
    /// Counts one more; a series older than `window` begins anew.
    fn count(&mut self, pair: &Pair, window: Duration, now: Duration) -> u32 {
        match self.get_mut(pair) {
            Some(series) if now < series.since + window => {
                series.count = series.count.saturating_add(1);
                series.count
            }
            _ => {
                self.put(pair.clone(), Series { since: now, count: 1 });
                1
            }
        }
    }
}

/// Failed logins, and the bans that follow from them.
#[derive(Debug)]
pub(super) struct Failures {
    /// 0: off.
    max: u32,
    window: Duration,
    ban: Duration,
    series: Recent<Series>,
    /// Until when.
    banned: Recent<Duration>,
}

impl Failures {
    pub(super) fn new(max: u32, window: Duration, ban: Duration) -> Self {
        Self { max, window, ban, series: Recent::default(), banned: Recent::default() }
    }

    pub(super) fn is_banned(&self, pair: &Pair, now: Duration) -> bool {
        self.banned.get(pair).is_some_and(|until| now < *until)
    }

    /// Notes a failure; `true` when it was one too many.
    pub(super) fn note(&mut self, pair: &Pair, now: Duration) -> bool {
        if self.max == 0 || self.series.count(pair, self.window, now) < self.max {
            return false;
        }
        self.series.remove(pair);
        self.banned.put(pair.clone(), now + self.ban);
        true
    }

    /// Who has logged in after all has not failed.
    pub(super) fn forgive(&mut self, pair: &Pair) {
        self.series.remove(pair);
    }
}

/// Connections in a minute.
#[derive(Debug)]
pub(super) struct Connects {
    /// 0: off.
    max: u32,
    series: Recent<Series>,
}

impl Connects {
    pub(super) fn new(max: u32) -> Self {
        Self { max, series: Recent::default() }
    }

    pub(super) fn is_off(&self) -> bool {
        self.max == 0
    }

    /// Notes a connection; `true` when it was one too many.
    pub(super) fn note(&mut self, pair: &Pair, now: Duration) -> bool {
        !self.is_off() && self.series.count(pair, Duration::from_secs(60), now) > self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pair(address: &str, name: &str) -> Pair {
        Pair::new(address.parse().unwrap(), name)
    }

    #[test]
    fn too_many_failures_are_a_ban_of_that_pair_only() {
        let mut failures = Failures::new(3, MINUTE, MINUTE);
        let (ann, bob) = (pair("10.0.0.1", "ann"), pair("10.0.0.1", "bob"));
        assert!(!failures.note(&ann, at(0)) && !failures.note(&ann, at(1)));
        assert!(!failures.is_banned(&ann, at(1)));
        assert!(failures.note(&ann, at(2)));
        assert!(failures.is_banned(&ann, at(61)) && !failures.is_banned(&ann, at(62)));
        assert!(!failures.is_banned(&bob, at(3)));
        assert!(!failures.is_banned(&pair("10.0.0.2", "ann"), at(3)));
        assert!(!failures.note(&ann, at(62)));
    }

    #[test]
    fn failures_far_apart_or_before_a_success_do_not_add_up() {
        let mut failures = Failures::new(2, MINUTE, MINUTE);
        let ann = pair("10.0.0.1", "ann");
        assert!(!failures.note(&ann, at(0)) && !failures.note(&ann, at(60)));
        failures.forgive(&ann);
        assert!(!failures.note(&ann, at(61)));
        let mut off = Failures::new(0, MINUTE, MINUTE);
        assert!((0..100).all(|now| !off.note(&ann, at(now))));
    }

    #[test]
    fn the_oldest_pair_makes_room() {
        let mut failures = Failures::new(2, MINUTE, MINUTE);
        for at in 0..=PAIRS_MAX {
            failures.note(&pair("10.0.0.1", &at.to_string()), Duration::ZERO);
        }
        assert_eq!(failures.series.entries.len(), PAIRS_MAX);
        assert_eq!(failures.series.order.len(), PAIRS_MAX);
        assert!(!failures.note(&pair("10.0.0.1", "0"), Duration::ZERO), "forgotten");
        assert!(failures.note(&pair("10.0.0.1", "2"), Duration::ZERO), "remembered");
    }

    #[test]
    fn a_reconnect_storm_is_counted_by_the_minute() {
        let mut connects = Connects::new(2);
        let client = pair("::ffff:10.0.0.1", "c");
        assert_eq!(client, pair("10.0.0.1", "c"));
        assert!(!connects.note(&client, at(0)) && !connects.note(&client, at(1)));
        assert!(connects.note(&client, at(2)) && connects.note(&client, at(59)));
        assert!(!connects.note(&client, at(60)));
    }

    #[test]
    fn of_ipv6_the_64_counts_and_long_names_are_cut() {
        assert_eq!(pair("2001:db8::1", "a"), pair("2001:db8::ffff:2", "a"));
        assert_ne!(pair("2001:db8::1", "a"), pair("2001:db8:0:1::1", "a"));
        assert_eq!(pair("::1", &"温".repeat(100)).1.len(), 255);
    }
}
