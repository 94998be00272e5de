//! Who may do what: connect, publish, subscribe, and use the HTTP surface.
//!
//! Clients without credentials may publish and subscribe everywhere but where the broker itself
//! speaks. Keys are compared by their digests, in constant time.

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    mqtt::{Authorizer, Client, ConnectAttempt, Identity, ReasonCode},
    telemetry::DeviceKey,
};

/// Decides for MQTT clients.
#[derive(Debug, Clone, Copy)]
pub struct Gatekeeper;

impl Authorizer for Gatekeeper {
    fn connect(&self, attempt: ConnectAttempt) -> BoxFuture<'_, Result<Identity, ReasonCode>> {
        let reason = match (attempt.allow_anonymous, attempt.user_name) {
            (true, _) => return Box::pin(async { Ok(Identity::default()) }),
            (false, Some(_)) => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            (false, None) => ReasonCode::NOT_AUTHORIZED,
        };
        Box::pin(async move { Err(reason) })
    }

    fn may_publish(&self, _client: &Client, topic: &str) -> bool {
        !is_brokers_own(topic)
    }

    fn may_subscribe(&self, _client: &Client, _filter: &str) -> bool {
        true
    }

    fn filters_deliveries(&self, _client: &Client) -> bool {
        false
    }

    fn may_receive(&self, _client: &Client, _topic: &str) -> bool {
        true
    }
}

/// Topics on which the broker itself speaks: presence, verdicts, alarms, `$SYS`.
fn is_brokers_own(topic: &str) -> bool {
    let mut levels = topic.split('/');
    match levels.next() {
        Some("alarms") => true,
        Some("devices") => {
            levels.next();
            matches!((levels.next(), levels.next()), (Some("presence" | "errors"), None))
        }
        Some(first) => first.starts_with('$'),
        None => false,
    }
}

/// What a key allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Everything under `/api`.
    Full,
    /// Uploads of this device's readings.
    DeviceUploads(DeviceKey),
}

/// The configured keys of the HTTP surface.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    keys: Vec<([u8; 32], Grant)>,
    allow_anonymous: bool,
}

impl ApiKeys {
    pub fn new(keys: impl IntoIterator<Item = (String, Grant)>, allow_anonymous: bool) -> Self {
        let keys = keys.into_iter().map(|(key, grant)| (digest(&key), grant)).collect();
        Self { keys, allow_anonymous }
    }

    /// What somebody may do who presents `key`, or none. `None`: nothing.
    pub fn grant(&self, key: Option<&str>) -> Option<Grant> {
        let presented = key.map(digest);
        let found = presented.and_then(|presented| {
            self.keys.iter().find(|(known, _)| known.ct_eq(&presented).into())
        });
        match found {
            Some((_, grant)) => Some(grant.clone()),
            None if self.allow_anonymous => Some(Grant::Full),
            None => None,
        }
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_speaks_for_itself() {
        for own in ["$SYS/x", "alarms/a/b", "devices/d/presence", "devices/d/errors"] {
            assert!(is_brokers_own(own), "{own}");
        }
        for free in ["devices/d/data", "devices/d/errors/x", "a/presence", "温度/1", "/"] {
            assert!(!is_brokers_own(free), "{free}");
        }
    }

    #[test]
    fn keys_grant_what_they_are_for() {
        let device = DeviceKey::new("d").unwrap();
        let bound = Grant::DeviceUploads(device);
        let keys = [("full".to_owned(), Grant::Full), ("bound".to_owned(), bound.clone())];
        let keys = ApiKeys::new(keys, false);
        assert_eq!(keys.grant(Some("full")), Some(Grant::Full));
        assert_eq!(keys.grant(Some("bound")), Some(bound));
        assert_eq!(keys.grant(Some("other")), None);
        assert_eq!(keys.grant(None), None);
        assert_eq!(ApiKeys::new([], true).grant(Some("any")), Some(Grant::Full));
    }
}
