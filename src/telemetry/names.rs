use std::{borrow::Borrow, fmt, sync::Arc};

/// Why a name was refused: what it is, and what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a device id is 1 to 64 of the characters A-Z a-z 0-9 . _ : - and not \".\" or \"..\"")]
    Device,
    #[error("a sensor name is a lower-case letter or _ followed by up to 49 of a-z 0-9 _")]
    Sensor,
    #[error("a sensor id in a topic is 1 to 50 of A-Z a-z 0-9 . _ -")]
    SensorInTopic,
    #[error("a unit is at most 20 characters")]
    Unit,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// What a device calls itself: 1–64 of `A-Za-z0-9._:-`, not `.` or `..` (it stands in URLs and topics).
    DeviceKey
}

name_type! {
    /// A sensor's name within its device.
    SensorName
}

name_type! {
    /// A unit of measurement as the device writes it, at most 20 characters.
    Unit
}

impl DeviceKey {
    /// # Errors
    /// [`InvalidName::Device`] when `text` is not a legal device id.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let legal = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
            && text != "."
            && text != "..";
        if legal { Ok(Self(text.into())) } else { Err(InvalidName::Device) }
    }
}

impl SensorName {
    /// A name written in a payload: `^[a-z_][a-z0-9_]{0,49}$`.
    ///
    /// # Errors
    /// [`InvalidName::Sensor`] otherwise.
    pub fn in_payload(text: &str) -> Result<Self, InvalidName> {
        let mut bytes = text.bytes();
        let legal = text.len() <= 50
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if legal { Ok(Self(text.into())) } else { Err(InvalidName::Sensor) }
    }

    /// A name captured from a topic: `[A-Za-z0-9._-]{1,50}` (OEI-MS numbers its sensors).
    ///
    /// # Errors
    /// [`InvalidName::SensorInTopic`] otherwise.
    pub fn in_topic(text: &str) -> Result<Self, InvalidName> {
        let legal = (1..=50).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if legal { Ok(Self(text.into())) } else { Err(InvalidName::SensorInTopic) }
    }
}

impl Unit {
    /// An empty or blank unit is no unit.
    ///
    /// # Errors
    /// [`InvalidName::Unit`] when longer than 20 characters.
    pub fn new(text: &str) -> Result<Option<Self>, InvalidName> {
        let text = text.trim();
        if text.chars().count() > 20 || text.chars().any(char::is_control) {
            return Err(InvalidName::Unit);
        }
        Ok((!text.is_empty()).then(|| Self(text.into())))
    }
}
