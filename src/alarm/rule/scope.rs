//! Which devices and sensors a rule is for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Every part that is given must match; a rule without any is for everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_glob: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensor_types: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_glob: Option<String>,
}

/// What a scope asks about a device.
#[derive(Debug, Clone, Copy)]
pub struct ScopedDevice<'a> {
    pub key: &'a str,
    pub kind: &'a str,
    pub gateway: Option<&'a str>,
    pub labels: &'a Map<String, Value>,
}

/// What a scope asks about a sensor.
#[derive(Debug, Clone, Copy)]
pub struct ScopedSensor<'a> {
    pub name: &'a str,
    pub sensor_type: Option<&'a str>,
}

impl Scope {
    /// `sensor` is `None` for a rule that is judged per device.
    pub fn matches(&self, device: &ScopedDevice<'_>, sensor: Option<&ScopedSensor<'_>>) -> bool {
        self.matches_device(device) && sensor.is_none_or(|sensor| self.matches_sensor(sensor))
    }

    pub fn matches_device(&self, device: &ScopedDevice<'_>) -> bool {
        lists(&self.devices, Some(device.key))
            && lists(&self.kinds, Some(device.kind))
            && lists(&self.gateways, device.gateway)
            && self.device_glob.as_ref().is_none_or(|glob| glob_matches(glob, device.key))
            && self.labels.iter().all(|(name, wanted)| {
                device.labels.get(name).is_some_and(|found| is_written(found, wanted))
            })
    }

    pub fn matches_sensor(&self, sensor: &ScopedSensor<'_>) -> bool {
        lists(&self.sensors, Some(sensor.name))
            && lists(&self.sensor_types, sensor.sensor_type)
            && self.sensor_glob.as_ref().is_none_or(|glob| glob_matches(glob, sensor.name))
    }

    /// Whether it chooses among a device's sensors.
    pub fn names_sensors(&self) -> bool {
        !self.sensors.is_empty() || !self.sensor_types.is_empty() || self.sensor_glob.is_some()
    }
}

fn lists(list: &[String], found: Option<&str>) -> bool {
    list.is_empty() || found.is_some_and(|found| list.iter().any(|listed| listed == found))
}

/// A label's value compared with a text: a number or a boolean as it is written.
fn is_written(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text == wanted,
        other => serde_json::to_string(other).is_ok_and(|text| text == wanted),
    }
}

/// `*` stands for any characters, `?` for one; everything else for itself.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (mut glob, mut text) = (glob.chars(), text.chars());
    // What is left of both after the last `*`: taken up again one character on when the rest fails.
    let mut last_star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let before = (glob.clone(), text.clone());
        match (glob.next(), text.next()) {
            (Some('*'), _) => {
                text = before.1;
                last_star = Some((glob.clone(), text.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (None, None) => return true,
            _ => match &mut last_star {
                Some((after_star, from)) => {
                    if from.next().is_none() {
                        return false;
                    }
                    glob = after_star.clone();
                    text = from.clone();
                }
                None => return false,
            },
        }
    }
}
