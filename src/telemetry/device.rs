use std::{fmt, str::FromStr};

/// The number by which the store knows a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub i64);

macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $variant:ident = $word:literal),+ $(,)? } $expected:literal) => {
        $(#[$doc])*
        pub enum $name { $($(#[$attribute])* $variant),+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = InvalidWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(InvalidWord { given: text.to_owned(), expected: $expected }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// A word outside its list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is none of {expected}")]
pub struct InvalidWord {
    pub given: String,
    pub expected: &'static str,
}

word_enum! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    DeviceKind { #[default] Device = "device", Gateway = "gateway" } "device, gateway"
}

word_enum! {
    /// Whether a device's data is taken.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    Approval {
        #[default]
        Active = "active",
        Pending = "pending",
        Blocked = "blocked",
    } "active, pending, blocked"
}

/// What a device has said of itself. `None`: nothing said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceFacts {
    pub status: Option<String>,
    pub firmware: Option<String>,
    pub ip: Option<String>,
    pub uptime_seconds: Option<i64>,
    pub location: Option<Location>,
}

/// WGS 84, degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// −90 to 90.
    pub latitude: f64,
    /// −180 to 180.
    pub longitude: f64,
}

impl Location {
    /// `None` outside the ranges.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_legal = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        is_legal.then_some(Self { latitude, longitude })
    }
}
