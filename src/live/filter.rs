//! What a subscriber wants: which kinds of events, of what. Pure.

use std::collections::BTreeSet;

use crate::telemetry::{DeviceKey, SensorId, SensorName};

/// What an event is about; its word in a request, and its name in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Stored readings.
    Readings,
    /// Devices that come and go.
    Presence,
    Alarms,
    /// Devices' messages as they come, refused ones too; only where they are asked for.
    Messages,
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

/// A sensor, by its number or by device and name; in the latter form it need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SensorRef {
    Id(SensorId),
    Named(DeviceKey, SensorName),
}

/// Which events a subscriber is sent: those of the kinds that are about the devices or the sensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub kinds: Kinds,
    /// All devices; the sets don't count then.
    pub is_everything: bool,
    pub devices: BTreeSet<DeviceKey>,
    pub sensors: BTreeSet<SensorRef>,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Readings, Self::Presence, Self::Alarms, Self::Messages];

    /// As requests say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Presence => "presence",
            Self::Alarms => "alarms",
            Self::Messages => "messages",
        }
    }

    /// As events are named.
    pub fn label(self) -> &'static str {
        match self {
            Self::Readings => "sensor_data",
            Self::Presence => "presence",
            Self::Alarms => "alarm",
            Self::Messages => "message",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Kinds {
    pub const NONE: Self = Self(0);

    /// What is sent to those who don't say what they want.
    pub fn usual() -> Self {
        Self::NONE.with(Kind::Readings).with(Kind::Presence).with(Kind::Alarms)
    }

    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.bit())
    }

    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

impl Filter {
    pub fn everything(kinds: Kinds) -> Self {
        Self { is_everything: true, ..Self::nothing(kinds) }
    }

    pub fn nothing(kinds: Kinds) -> Self {
        let (devices, sensors) = (BTreeSet::new(), BTreeSet::new());
        Self { kinds, is_everything: false, devices, sensors }
    }

    /// Whether it is about a device, or a sensor of it.
    pub fn names(&self, device: &str, sensor: Option<(SensorId, &str)>) -> bool {
        let is_named = |wanted: &SensorRef| match (wanted, sensor) {
            (SensorRef::Id(wanted), Some((id, _))) => *wanted == id,
            (SensorRef::Named(of, wanted), Some((_, name))) => {
                of.as_str() == device && wanted.as_str() == name
            }
            (_, None) => false,
        };
        self.is_everything || self.devices.contains(device) || self.sensors.iter().any(is_named)
    }

    /// How many devices and sensors it names.
    pub fn len(&self) -> usize {
        self.devices.len() + self.sensors.len()
    }

    pub fn is_empty(&self) -> bool {
        !self.is_everything && self.len() == 0
    }

    /// Adds what another filter names, and takes over its kinds. Everything gives way to what is
    /// named.
    pub fn add(&mut self, other: Self) {
        self.kinds = other.kinds;
        if other.is_everything {
            *self = other;
            return;
        }
        self.is_everything = false;
        self.devices.extend(other.devices);
        self.sensors.extend(other.sensors);
    }

    /// Takes out what another filter names.
    pub fn remove(&mut self, other: &Self) {
        if other.is_everything {
            *self = Self::nothing(self.kinds);
            return;
        }
        self.devices.retain(|device| !other.devices.contains(device));
        self.sensors.retain(|sensor| !other.sensors.contains(sensor));
    }
}
