//! Tickets: each lets one request into a stream, for a short time, with what its maker may do.
//!
//! A URL is seen by proxies, logs and histories; a ticket found there is used up or out of date.

use std::{collections::HashMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use poem::http::{StatusCode, Uri};
use sha2::{Digest, Sha256};

use crate::{access::Principal, api::problem::Fault, clock::Clock};

pub(super) const LIFETIME: Duration = Duration::from_secs(30);
/// Tickets that are out; further ones are refused.
const OUT_MAX: usize = 10_000;
const BYTES: usize = 24;

/// Whether a path is a stream's, so that a ticket counts there.
pub(in crate::api) fn is_stream(path: &str) -> bool {
    path == "/api/stream" || path == "/ws" || path.starts_with("/ws/")
}

/// The ticket in a request's query.
pub(in crate::api) fn ticket_in(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("ticket="))
}

pub(in crate::api) struct Tickets {
    clock: Clock,
    /// By digest, with the time when they are out of date. Bound: `OUT_MAX`.
    out: Mutex<HashMap<[u8; 32], (Duration, Principal)>>,
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
        if out.len() >= OUT_MAX {
            out.retain(|_, (until, _)| *until > now);
        }
        if out.len() >= OUT_MAX {
            let detail = "too many tickets are out; try again";
            return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        out.insert(digest(&ticket), (now + LIFETIME, principal));
        Ok(ticket)
    }

    /// What the maker of a ticket may do; the ticket is used up.
    pub(in crate::api) fn redeem(&self, ticket: &str) -> Option<Principal> {
        let (until, principal) = self.out.lock().remove(&digest(ticket))?;
        (self.clock.monotonic() < until).then_some(principal)
    }
}

fn digest(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Actor, Scopes};

    fn principal() -> Principal {
        let actor = Actor::Key { id: Some(1), name: "panel".to_owned() };
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
        for _ in 0..OUT_MAX {
            tickets.issue(principal()).unwrap();
        }
        assert!(tickets.issue(principal()).is_err());
        clock.advance(LIFETIME);
        assert!(tickets.issue(principal()).is_ok());
        assert_eq!(tickets.out.lock().len(), 1);
    }

    #[test]
    fn a_ticket_stands_in_the_query() {
        let found = |text: &str| ticket_in(&text.parse().unwrap()).map(str::to_owned);
        assert_eq!(found("/ws?x=1&ticket=abc&y").as_deref(), Some("abc"));
        assert_eq!(found("/ws?tickets=abc"), None);
        assert!(is_stream("/ws/alarms") && is_stream("/api/stream") && !is_stream("/wsx"));
    }
}
