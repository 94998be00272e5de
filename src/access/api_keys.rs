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
