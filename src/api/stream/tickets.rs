//! Tickets: each lets one request into a stream, for a short time, with what its maker may do.
//!
//! A URL is seen by proxies, logs and histories; a ticket found there is used up or out of date.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use poem::http::{StatusCode, Uri};
use sha2::{Digest, Sha256};

use crate::{access::Principal, api::problem::Fault, clock::Clock};

pub(super) const LIFETIME: Duration = Duration::from_secs(30);
/// Tickets that are out, in all and of one maker; further ones are refused.
const OUT_MAX: usize = 10_000;
const OUT_OF_ONE_MAX: usize = 100;
const BYTES: usize = 24;

/// Whether a path is a stream's, so that a ticket counts there.
pub(in crate::api) fn is_stream(path: &str) -> bool {
    path == "/api/stream" || path == "/ws" || path.starts_with("/ws/")
}

/// The ticket in a request's query.
pub(in crate::api) fn ticket_in(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("ticket="))
}

type Sum = [u8; 32];

pub(in crate::api) struct Tickets {
    clock: Clock,
    out: Mutex<Out>,
}

/// Tickets by digest, with the time when they are out of date, and how many each maker has out.
/// Bound: `OUT_MAX`.
#[derive(Default)]
struct Out {
    tickets: HashMap<Sum, (Duration, Principal)>,
    by_time: BTreeSet<(Duration, Sum)>,
    makers: HashMap<String, usize>,
}

impl Out {
    fn put(&mut self, ticket: Sum, until: Duration, principal: Principal) {
        *self.makers.entry(principal.identity()).or_default() += 1;
        self.by_time.insert((until, ticket));
        self.tickets.insert(ticket, (until, principal));
    }

    fn take(&mut self, ticket: &Sum) -> Option<(Duration, Principal)> {
        let (until, principal) = self.tickets.remove(ticket)?;
        self.by_time.remove(&(until, *ticket));
        let maker = principal.identity();
        if let Some(count) = self.makers.get_mut(&maker) {
            *count -= 1;
            if *count == 0 {
                self.makers.remove(&maker);
            }
        }
        Some((until, principal))
    }

    fn forget_old(&mut self, now: Duration) {
        while let Some((_, ticket)) =
            self.by_time.first().copied().filter(|(until, _)| *until <= now)
        {
            self.take(&ticket);
        }
    }

    fn count_of(&self, principal: &Principal) -> usize {
        self.makers.get(&principal.identity()).copied().unwrap_or_default()
    }
}

impl Tickets {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, out: Mutex::default() }
    }

    pub(super) fn issue(&self, principal: Principal) -> Result<String, Fault> {
        let mut secret = [0; BYTES];
        if let Err(error) = getrandom::fill(&mut secret) {
            tracing::error!(%error, "there is no randomness for a ticket");
            return Err(Fault::unavailable());
        }
        let ticket = URL_SAFE_NO_PAD.encode(secret);
        let now = self.clock.monotonic();
        let mut out = self.out.lock();
        out.forget_old(now);
        if out.tickets.len() >= OUT_MAX || out.count_of(&principal) >= OUT_OF_ONE_MAX {
            let detail = "too many tickets are out; use them, or try again";
            return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        out.put(digest(&ticket), now + LIFETIME, principal);
        Ok(ticket)
    }

    /// Who made a ticket, as known then; the ticket is used up.
    pub(in crate::api) fn redeem(&self, ticket: &str) -> Option<Principal> {
        let (until, principal) = self.out.lock().take(&digest(ticket))?;
        (self.clock.monotonic() < until).then_some(principal)
    }
}

fn digest(ticket: &str) -> Sum {
    Sha256::digest(ticket.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Actor, Scopes};

    fn principal() -> Principal {
        of_key(1)
    }

    fn of_key(id: i64) -> Principal {
        let actor = Actor::Key { id: Some(id), name: "panel".to_owned() };
        Principal { actor, scopes: Scopes::default(), device: None }
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_while() {
        let clock = Clock::manual(0);
        let tickets = Tickets::new(clock.clone());
        let ticket = tickets.issue(principal()).unwrap();
        assert_eq!(tickets.redeem("other"), None);
        assert_eq!(tickets.redeem(&ticket), Some(principal()));
        assert_eq!(tickets.redeem(&ticket), None);
        let ticket = tickets.issue(principal()).unwrap();
        clock.advance(LIFETIME);
        assert_eq!(tickets.redeem(&ticket), None);
    }

    #[test]
    fn tickets_that_are_out_are_bounded() {
        let clock = Clock::manual(0);
        let tickets = Tickets::new(clock.clone());
        let makers = OUT_MAX.div_ceil(OUT_OF_ONE_MAX) as i64;
        for maker in 1..=makers {
            let made: Vec<_> =
                (0..OUT_OF_ONE_MAX).map(|_| tickets.issue(of_key(maker)).unwrap()).collect();
            assert!(tickets.issue(of_key(maker)).is_err());
            if maker == 1 {
                assert!(tickets.redeem(&made[0]).is_some());
                tickets.issue(of_key(maker)).unwrap();
            }
        }
        assert!(tickets.issue(of_key(makers + 1)).is_err());
        clock.advance(LIFETIME);
        let last = tickets.issue(of_key(makers + 1)).unwrap();
        assert_eq!(tickets.out.lock().tickets.len(), 1);
        assert!(tickets.redeem(&last).is_some());
        let out = tickets.out.lock();
        assert!(out.tickets.is_empty() && out.by_time.is_empty() && out.makers.is_empty());
    }

    #[test]
    fn a_ticket_stands_in_the_query() {
        let found = |text: &str| ticket_in(&text.parse().unwrap()).map(str::to_owned);
        assert_eq!(found("/ws?x=1&ticket=abc&y").as_deref(), Some("abc"));
        assert_eq!(found("/ws?tickets=abc"), None);
        assert!(is_stream("/ws/alarms") && is_stream("/api/stream") && !is_stream("/wsx"));
    }
}
