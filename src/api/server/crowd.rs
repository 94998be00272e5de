//! How much each address has of something at a time. Bound: what there is in all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

#[derive(Debug, Clone, Default)]
pub(in crate::api) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize, RandomState>>>);

/// One of an address's; given back when dropped.
#[derive(Debug)]
pub(in crate::api) struct Seat {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// One more for the address; `None` where it has `max` already. 0: no limit.
    pub(in crate::api) fn enter(&self, address: IpAddr, max: usize) -> Option<Seat> {
        let address = subscriber(address);
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_default();
        if max != 0 && *count >= max {
            return None;
        }
        *count += 1;
        Some(Seat { crowd: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Of an IPv6 address its /64, which is what one subscriber has at least.
pub(in crate::api) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_subscriber_and_given_back() {
        let crowd = Crowd::default();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let first = crowd.enter(one, 2);
        let second = crowd.enter(neighbour, 2);
        assert!(first.is_some() && second.is_some() && crowd.enter(one, 2).is_none());
        assert!(crowd.enter(one, 0).is_some());
        drop(second);
        assert!(crowd.enter(one, 2).is_some());
        let held = crowd.enter(mapped, 1);
        assert!(crowd.enter("10.0.0.1".parse().unwrap(), 1).is_none());
        drop((first, held));
        assert!(crowd.0.lock().is_empty());
    }
}
