//! A device on the wire, and the checks of what people give for one.

use std::collections::BTreeMap;

use poem_openapi::Object;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    api::{problem::Fault, wire::Time},
    registry::DeviceSnapshot,
    telemetry::{DeviceKey, InvalidWord},
};

/// A place on earth (WGS 84, degrees)
#[derive(Debug, Clone, Object)]
struct Location {
    latitude: f64,
    longitude: f64,
}

/// A device as it is
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(in crate::api) struct DeviceView {
    /// Its id: what it calls itself
    device: String,
    name: Option<String>,
    /// `device` or `gateway`
    kind: String,
    /// The gateway that speaks for it
    gateway: Option<String>,
    online: bool,
    /// What it last said its status is
    status: Option<String>,
    firmware: Option<String>,
    ip: Option<String>,
    uptime_seconds: Option<i64>,
    location: Option<Location>,
    labels: BTreeMap<String, String>,
    /// `active`; `pending`: its data waits for approval; `blocked`: its data is refused
    approval: String,
    first_seen: Time,
    last_seen: Option<Time>,
    last_heartbeat: Option<Time>,
    /// The device as its last messages describe it: `sensors`, `status`, `location`, …
    last_report: Option<Value>,
    /// Since when it is out of the lists, its data kept
    retired_at: Option<Time>,
}

/// A device to be registered
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct NewDeviceBody {
    /// Its id: 1 to 64 of A-Z a-z 0-9 . _ : -
    pub(super) device: String,
    pub(super) name: Option<String>,
    /// `device` (the default) or `gateway`
    pub(super) kind: Option<String>,
    pub(super) gateway: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// What may be changed of a device; what is left out stays
#[derive(Debug, Clone, Default, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct DeviceChange {
    /// "" removes it
    pub(super) name: Option<String>,
    /// `device` or `gateway`
    pub(super) kind: Option<String>,
    /// "" removes it
    pub(super) gateway: Option<String>,
    /// Replaces all labels
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// `active`, `pending` or `blocked`
    pub(super) approval: Option<String>,
}

const TEXT_MAX: usize = 200;

pub(in crate::api) fn checked_text(pointer: &str, text: String) -> Result<String, Fault> {
    checked_text_of(pointer, text, TEXT_MAX)
}

pub(in crate::api) fn checked_text_of(
    pointer: &str,
    text: String,
    max: usize,
) -> Result<String, Fault> {
    if text.chars().count() > max || text.chars().any(char::is_control) {
        let detail = format!("at most {max} characters, no control characters");
        return Err(Fault::invalid(pointer, detail));
    }
    Ok(text)
}

pub(in crate::api) fn checked_key(pointer: &str, text: &str) -> Result<DeviceKey, Fault> {
    DeviceKey::new(text).map_err(|error| Fault::invalid(pointer, error.to_string()))
}

pub(in crate::api) fn labels_text(labels: BTreeMap<String, String>) -> Result<String, Fault> {
    if labels.len() > 64 {
        return Err(Fault::invalid("/labels", "at most 64 labels"));
    }
    let mut checked = Map::new();
    for (name, value) in labels {
        let (name, value) = (checked_text("/labels", name)?, checked_text("/labels", value)?);
        checked.insert(name, Value::String(value));
    }
    Ok(Value::Object(checked).to_string())
}

/// A word of a closed list, as a parameter.
pub(in crate::api) fn word<T: std::str::FromStr<Err = InvalidWord>>(
    name: &str,
    given: Option<String>,
) -> Result<Option<T>, Fault> {
    given
        .map(|text| {
            text.parse().map_err(|error: InvalidWord| Fault::invalid(name, error.to_string()))
        })
        .transpose()
}

impl From<DeviceSnapshot> for DeviceView {
    fn from(device: DeviceSnapshot) -> Self {
        let labels = device.labels.into_iter().filter_map(|(name, value)| match value {
            Value::String(value) => Some((name, value)),
            _ => None,
        });
        let facts = device.facts;
        Self {
            device: device.key.to_string(),
            name: device.name,
            kind: device.kind.to_string(),
            gateway: device.gateway,
            online: device.online,
            status: facts.status,
            firmware: facts.firmware,
            ip: facts.ip,
            uptime_seconds: facts.uptime_seconds,
            location: facts
                .location
                .map(|l| Location { latitude: l.latitude, longitude: l.longitude }),
            labels: labels.collect(),
            approval: device.approval.to_string(),
            first_seen: Time(device.first_seen),
            last_seen: device.last_seen.map(Time),
            last_heartbeat: device.last_heartbeat.map(Time),
            last_report: device.last_report.map(Value::Object),
            retired_at: device.retired_at.map(Time),
        }
    }
}
