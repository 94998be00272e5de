//! What goes into the store and comes out of it, in the domain's words.

use crate::telemetry::{
    Approval, DeviceFacts, DeviceId, DeviceKey, DeviceKind, Position, Quality, SensorId,
    SensorName, Timestamp,
};

/// A device as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRow {
    pub id: DeviceId,
    pub key: DeviceKey,
    pub name: Option<String>,
    pub kind: DeviceKind,
    pub gateway: Option<String>,
    pub facts: DeviceFacts,
    /// A JSON object of strings.
    pub labels: String,
    pub first_seen: Timestamp,
    pub last_seen: Option<Timestamp>,
    pub last_heartbeat: Option<Timestamp>,
    pub online: bool,
    /// A JSON object.
    pub last_report: Option<String>,
    pub approval: Approval,
    pub version: i64,
    /// Out of the lists since then; its data is kept, and no more is taken.
    pub retired_at: Option<Timestamp>,
}

impl DeviceRow {
    /// A device that was made a moment ago.
    pub fn made(id: DeviceId, device: &NewDevice) -> Self {
        Self {
            id,
            key: device.key.clone(),
            name: device.name.clone(),
            kind: device.kind,
            gateway: device.gateway.clone(),
            facts: DeviceFacts::default(),
            labels: device.labels.clone(),
            first_seen: device.first_seen,
            last_seen: None,
            last_heartbeat: None,
            online: false,
            last_report: None,
            approval: device.approval,
            version: 1,
            retired_at: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewDevice {
    pub key: DeviceKey,
    pub name: Option<String>,
    pub kind: DeviceKind,
    pub gateway: Option<String>,
    pub labels: String,
    pub approval: Approval,
    pub first_seen: Timestamp,
}

/// What people may change of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEdit {
    pub name: Option<String>,
    pub kind: DeviceKind,
    pub gateway: Option<String>,
    pub labels: String,
    pub approval: Approval,
}

/// What a device's messages change of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportRow {
    pub device: DeviceId,
    pub facts: DeviceFacts,
    pub last_seen: Option<Timestamp>,
    pub last_heartbeat: Option<Timestamp>,
    pub online: bool,
    pub last_report: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SensorRow {
    pub id: SensorId,
    pub device: DeviceId,
    pub name: SensorName,
    pub display_name: Option<String>,
    pub kind: Option<String>,
    pub unit: Option<String>,
    pub location: Option<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub active: bool,
    /// The smallest step that it tells apart.
    pub resolution: Option<f64>,
    /// The reading with the newest event time.
    pub newest: Option<StoredReading>,
    pub version: i64,
    /// As of a device.
    pub retired_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewSensor {
    pub device: DeviceId,
    pub name: SensorName,
    pub unit: Option<String>,
    pub created_at: Timestamp,
}

/// What people may change of a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorEdit {
    pub display_name: Option<String>,
    pub kind: Option<String>,
    pub unit: Option<String>,
    pub location: Option<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub active: bool,
    pub resolution: Option<f64>,
}

/// A reading without its sensor's names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredReading {
    pub sensor: SensorId,
    pub event_time: Timestamp,
    pub received_at: Timestamp,
    pub value: Option<f64>,
    pub quality: Quality,
}

impl StoredReading {
    pub fn position(&self) -> Position {
        let Self { sensor, event_time, received_at, .. } = *self;
        Position { received_at, sensor, event_time }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewQuarantine {
    pub received_at: Timestamp,
    pub source: &'static str,
    pub topic: String,
    pub client_id: Option<String>,
    pub device: Option<String>,
    pub reason: &'static str,
    pub detail: String,
    pub payload: bytes::Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    pub id: i64,
    pub received_at: Timestamp,
    pub source: String,
    pub topic: String,
    pub client_id: Option<String>,
    pub device: Option<String>,
    pub reason: String,
    pub detail: String,
    pub payload: Vec<u8>,
    pub attempts: i64,
}

/// A message of a device that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMessage {
    pub id: i64,
    pub received_at: Timestamp,
    pub source: String,
    pub topic: String,
    pub payload: Vec<u8>,
}
