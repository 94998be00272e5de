//! What can be allowed: scopes, sets of them, and the roles of people.
//!
//! Pure. The list is complete: an operation of the HTTP surface needs some of these, or credentials
//! alone, or nothing (`api::caller` says which).

use std::fmt;

macro_rules! scopes {
    ($($(#[doc = $doc:literal])* $variant:ident = $word:literal,)+) => {
        /// One thing that a key or a role may allow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Scope { $($(#[doc = $doc])* $variant,)+ }

        impl Scope {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

scopes! {
    /// Upload readings.
    TelemetryWrite = "telemetry:write",
    /// Read readings, statistics and refused messages.
    DataRead = "data:read",
    /// Retry and delete refused messages; import, correct and delete readings.
    DataWrite = "data:write",
    /// Look at devices, sensors and gateways.
    DevicesRead = "devices:read",
    /// Register, edit, approve, block and delete them; issue and revoke their credentials.
    DevicesWrite = "devices:write",
    /// Look at alarms and their rules.
    AlarmsRead = "alarms:read",
    /// Acknowledge and shelve alarms; edit their rules.
    AlarmsWrite = "alarms:write",
    /// Subscribe to every MQTT topic; live streams of everything.
    MqttRead = "mqtt:read",
    /// Publish to every MQTT topic; grant devices topics beyond their own.
    MqttWrite = "mqtt:write",
    /// Totals, the database's state, metrics.
    ServiceRead = "service:read",
    /// Users, within what one may do oneself.
    UsersWrite = "users:write",
    /// API keys, within what one may do oneself.
    KeysWrite = "keys:write",
    /// The audit log.
    AuditRead = "audit:read",
    /// Everything.
    Admin = "admin",
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0:?}")]
pub struct UnknownScope(pub String);

/// A set of scopes; `admin` contains them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u32);

impl Scopes {
    pub fn new(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |bits, scope| bits | Self::bit(*scope)))
    }

    fn bit(scope: Scope) -> u32 {
        1 << scope as u32
    }

    /// Reads words with spaces between them.
    ///
    /// # Errors
    /// Names the word that is no scope.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        text.split_whitespace().try_fold(Self::default(), |scopes, word| {
            let scope = Scope::ALL.iter().find(|scope| scope.as_str() == word);
            let scope = scope.ok_or_else(|| UnknownScope(word.to_owned()))?;
            Ok(Self(scopes.0 | Self::bit(*scope)))
        })
    }

    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (Self::bit(scope) | Self::bit(Scope::Admin)) != 0
    }

    /// Whether everything in `other` is in this set, so that who has this may grant that.
    pub fn covers(self, other: Self) -> bool {
        other.iter().all(|scope| self.contains(scope))
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that it was made of.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.0 & Self::bit(*scope) != 0)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

/// What a person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks after devices, alarms and data.
    Operator,
    /// Does everything.
    Admin,
}

impl Role {
    const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    pub fn scopes(self) -> Scopes {
        use Scope::{
            Admin, AlarmsRead, AlarmsWrite, DataRead, DataWrite, DevicesRead, DevicesWrite,
            MqttRead, ServiceRead, TelemetryWrite,
        };
        let viewer = [DataRead, DevicesRead, AlarmsRead, MqttRead, ServiceRead];
        match self {
            Self::Viewer => Scopes::new(&viewer),
            Self::Operator => {
                let more = [TelemetryWrite, DataWrite, DevicesWrite, AlarmsWrite];
                Scopes(Scopes::new(&viewer).0 | Scopes::new(&more).0)
            }
            Self::Admin => Scopes::new(&[Admin]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn roles_stand_above_each_other() {
        let [viewer, operator, admin] = Role::ALL.map(Role::scopes);
        assert!(admin.covers(operator) && operator.covers(viewer) && !viewer.covers(operator));
        assert!(!operator.covers(admin) && !operator.contains(Scope::UsersWrite));
        assert!(Scope::ALL.iter().all(|scope| admin.contains(*scope)));
        assert_eq!(Role::parse("operator"), Some(Role::Operator));
        assert_eq!(Role::parse("root"), None);
        assert_eq!(Scopes::parse("data:read all"), Err(UnknownScope("all".to_owned())));
    }

    proptest! {
        #[test]
        fn sets_are_read_as_they_are_written(bits in 0_u32..1 << Scope::ALL.len(), other in any::<u32>()) {
            let set = Scopes(bits);
            prop_assert_eq!(Scopes::parse(&set.to_string()), Ok(set));
            prop_assert!(set.covers(set) && set.covers(Scopes::default()));
            let smaller = Scopes(bits & other);
            prop_assert!(set.covers(smaller));
            prop_assert_eq!(smaller.covers(set), smaller == set || smaller.contains(Scope::Admin));
        }
    }
}
