//! Why something a device sent was refused: for the device, the quarantine and the metrics.

use std::fmt;

/// A refused reading, or a refused message where `sensor` is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub sensor: Option<String>,
    pub reason: RejectionReason,
    /// What was wrong, where, and what would be right.
    pub detail: String,
}

macro_rules! rejection_reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum RejectionReason { $($(#[$doc])* $variant,)* }

        impl RejectionReason {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// A metric label, and the word in quarantine entries.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

rejection_reasons! {
    NotUtf8 = "not_utf8",
    NotJson = "not_json",
    Shape = "wrong_shape",
    Empty = "empty",
    Name = "name",
    ValueType = "value_type",
    OutOfRange = "out_of_range",
    Timestamp = "timestamp",
    Quality = "quality",
    Unit = "unit",
    Location = "location",
    DeviceMismatch = "device_mismatch",
    DeviceId = "device_id",
    Repeated = "repeated",
    TooMany = "too_many",
    Inactive = "inactive_sensor",
    /// Another value is stored for that sensor and time.
    Conflict = "conflict",
    UnknownDevice = "unknown_device",
    BlockedDevice = "blocked_device",
    HoldFull = "hold_full",
    /// The database refuses these very rows.
    Poison = "unstorable",
}

impl Rejection {
    pub fn of_message(reason: RejectionReason, detail: impl Into<String>) -> Self {
        Self { sensor: None, reason, detail: detail.into() }
    }

    /// The same of one sensor, or of one element of the message.
    pub(super) fn at(self, place: &str) -> Self {
        Self::of_sensor(place, self.reason, self.detail)
    }

    pub fn of_sensor(sensor: &str, reason: RejectionReason, detail: impl Into<String>) -> Self {
        // A hostile name must not fill logs and answers.
        let end = sensor.floor_char_boundary(100);
        let sensor = sensor.get(..end).unwrap_or_default().to_owned();
        Self { sensor: Some(sensor), reason, detail: detail.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sensor {
            Some(sensor) => write!(f, "{sensor}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}
