use std::sync::Arc;

use super::{DeviceKey, Quality, SensorName, Timestamp, Unit};

/// The number by which the store and the REST surface know a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SensorId(pub i64);

/// What a message says about when its reading was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimedTime {
    /// A plausible time of the device's own.
    Plausible(Timestamp),
    /// Before 2000-01-01 or more than five minutes ahead: ours is used, the claim is kept.
    Implausible(Timestamp),
    /// The message carries no time.
    Absent,
}

/// One value as it left the decoder: not yet bound to a stored sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub sensor: SensorName,
    /// `None` when the sensor reported that it has no value (quality is then `Bad`).
    pub value: Option<f64>,
    pub quality: Quality,
    pub unit: Option<Unit>,
    pub time: ClaimedTime,
}

/// A stored reading, as every surface shows it. Its key is (sensor, event time).
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub device: DeviceKey,
    pub sensor: SensorName,
    pub sensor_id: SensorId,
    pub event_time: Timestamp,
    pub received_at: Timestamp,
    pub value: Option<f64>,
    pub unit: Option<Arc<str>>,
    pub quality: Quality,
}

impl Sample {
    /// What tells apart two samples of one sensor in one message; `None` for those without a time.
    pub fn time_key(&self) -> Option<Timestamp> {
        match self.time {
            ClaimedTime::Plausible(time) | ClaimedTime::Implausible(time) => Some(time),
            ClaimedTime::Absent => None,
        }
    }
}
