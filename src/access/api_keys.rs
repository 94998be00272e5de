//! Keys of the HTTP surface, compared by their digests, in constant time.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::telemetry::DeviceKey;

/// What a key allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Everything under `/api`.
    Full,
    /// Uploads of this device's readings.
    DeviceUploads(DeviceKey),
}

/// A key as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Who acts with it.
    pub name: String,
    pub key: String,
    pub grant: Grant,
}

/// Who makes a request, and what that one may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// That of the key; nobody is known without one.
    pub name: Option<String>,
    pub grant: Grant,
}

/// The configured keys of the HTTP surface.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    keys: Vec<([u8; 32], Caller)>,
    allow_anonymous: bool,
}

impl ApiKeys {
    pub fn new(keys: impl IntoIterator<Item = ApiKey>, allow_anonymous: bool) -> Self {
        let keys = keys
            .into_iter()
            .map(|ApiKey { name, key, grant }| (digest(&key), Caller { name: Some(name), grant }));
        Self { keys: keys.collect(), allow_anonymous }
    }

    /// Who presents `key`, or none. `None`: one who may do nothing.
    pub fn caller(&self, key: Option<&str>) -> Option<Caller> {
        let presented = key.map(digest);
        let found = presented.and_then(|presented| {
            self.keys.iter().find(|(known, _)| known.ct_eq(&presented).into())
        });
        match found {
            Some((_, caller)) => Some(caller.clone()),
            None if self.allow_anonymous => Some(Caller { name: None, grant: Grant::Full }),
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
    fn keys_grant_what_they_are_for() {
        let device = DeviceKey::new("d").unwrap();
        let bound = Grant::DeviceUploads(device);
        let key = |name: &str, grant: Grant| {
            let (name, key) = (name.to_owned(), format!("key-{name}"));
            ApiKey { name, key, grant }
        };
        let keys = [key("full", Grant::Full), key("bound", bound.clone())];
        let keys = ApiKeys::new(keys, false);
        let caller = |name: Option<&str>, grant: Grant| {
            Some(Caller { name: name.map(str::to_owned), grant })
        };
        assert_eq!(keys.caller(Some("key-full")), caller(Some("full"), Grant::Full));
        assert_eq!(keys.caller(Some("key-bound")), caller(Some("bound"), bound));
        assert_eq!(keys.caller(Some("key-other")), None);
        assert_eq!(keys.caller(None), None);
        assert_eq!(ApiKeys::new([], true).caller(Some("any")), caller(None, Grant::Full));
    }
}
