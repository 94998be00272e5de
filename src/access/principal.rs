//! Who has been recognised: on the HTTP surface, and as the identity of an MQTT connection.
//!
//! An MQTT identity is a text that is kept with sessions and wills, so it says by itself what kind of
//! name it is: `device:KEY`, `user:NAME`, `key:ID`; a bare name is a user of the configuration.

use std::fmt;

use super::scope::{Scope, Scopes};
use crate::telemetry::DeviceKey;

/// Who acts on the HTTP surface, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub actor: Actor,
    pub scopes: Scopes,
    /// Of a key that speaks for this device only.
    pub device: Option<DeviceKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    User {
        id: i64,
        name: String,
        session: i64,
    },
    Key {
        /// `None`: of the configuration.
        id: Option<i64>,
        name: String,
    },
    /// The command line on this machine.
    Console,
    /// Anybody, where the HTTP surface is open.
    Anybody,
}

impl Actor {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Key { .. } => "key",
            Self::Console => "console",
            Self::Anybody => "nobody",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. } | Self::Key { name, .. } => name,
            Self::Console => "console",
            Self::Anybody => "anybody",
        }
    }
}

/// `user:ann`, for what somebody has made.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name, .. } | Self::Key { name, .. } => {
                write!(f, "{}:{name}", self.kind())
            }
            Self::Console | Self::Anybody => f.write_str(self.name()),
        }
    }
}

impl Principal {
    /// One text for each who acts, whatever they are called.
    pub fn identity(&self) -> String {
        match &self.actor {
            Actor::User { id, .. } => format!("user:{id}"),
            Actor::Key { id: Some(id), .. } => format!("key:{id}"),
            Actor::Key { id: None, name } => format!("configured:{name}"),
            Actor::Console | Actor::Anybody => self.actor.name().to_owned(),
        }
    }

    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }
}

const DEVICE: &str = "device:";
const USER: &str = "user:";
const KEY: &str = "key:";

/// An MQTT identity, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who<'a> {
    Anonymous,
    /// A user of the configuration, or a certificate that is no device's.
    Configured(&'a str),
    Device(&'a str),
    User(&'a str),
    Key(i64),
}

impl<'a> Who<'a> {
    pub(super) fn new(identity: Option<&'a str>) -> Self {
        let Some(text) = identity else { return Self::Anonymous };
        if let Some(key) = text.strip_prefix(DEVICE) {
            return Self::Device(key);
        }
        if let Some(name) = text.strip_prefix(USER) {
            return Self::User(name);
        }
        match text.strip_prefix(KEY) {
            // What is no number is no key's: a number that no key has.
            Some(id) => Self::Key(id.parse().unwrap_or(-1)),
            None => Self::Configured(text),
        }
    }
}

pub(super) fn device_identity(key: &str) -> String {
    format!("{DEVICE}{key}")
}

pub(super) fn user_identity(name: &str) -> String {
    format!("{USER}{name}")
}

pub(super) fn key_identity(id: i64) -> String {
    format!("{KEY}{id}")
}

/// Whether a bare name would read as something else.
pub(super) fn is_reserved(name: &str) -> bool {
    !matches!(Who::new(Some(name)), Who::Configured(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_told_apart() {
        assert_eq!(Who::new(None), Who::Anonymous);
        assert_eq!(Who::new(Some("ann")), Who::Configured("ann"));
        assert_eq!(Who::new(Some(&device_identity("user:x"))), Who::Device("user:x"));
        assert_eq!(Who::new(Some(&user_identity("ann"))), Who::User("ann"));
        assert_eq!(Who::new(Some(&key_identity(7))), Who::Key(7));
        assert_eq!(Who::new(Some("key:x")), Who::Key(-1));
        assert!(is_reserved("device:x") && !is_reserved("devices"));
    }
}
