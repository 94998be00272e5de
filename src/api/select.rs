//! Which sensors a request is about: by number, by device, by what they are called or labelled.
//!
//! Retired ones are left out, unless a request names them or their device.

use std::sync::Arc;

use super::{Api, devices::find, problem::Fault};
use crate::{
    registry::{Device, Sensor},
    telemetry::SensorId,
};

/// What is asked for; an empty list asks for nothing in particular.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) devices: Vec<String>,
    pub(super) sensor_ids: Vec<i64>,
    pub(super) names: Vec<String>,
    pub(super) kinds: Vec<String>,
    pub(super) gateway: Option<String>,
    /// Labels of the devices.
    pub(super) labels: Vec<(String, Option<String>)>,
    /// Retired ones, too, though nobody names them.
    pub(super) with_retired: bool,
}

/// `name` or `name:value` each.
pub(super) fn read_labels(given: Vec<String>) -> Vec<(String, Option<String>)> {
    let read = |text: String| match text.split_once(':') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text, None),
    };
    given.into_iter().map(read).collect()
}

impl Selection {
    /// One device, sensors by number, one name.
    pub(super) fn of(
        device: Option<String>,
        sensor_ids: Option<Vec<i64>>,
        name: Option<String>,
    ) -> Self {
        Self {
            devices: device.into_iter().collect(),
            sensor_ids: sensor_ids.unwrap_or_default(),
            names: name.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The sensors, each once, by device and name or in the order of their numbers; 404 for a device
    /// or a number that is not there, 422 where more than `max` match.
    pub(super) fn sensors(&self, api: &Api, max: usize) -> Result<Vec<Arc<Sensor>>, Fault> {
        let mut found = Vec::new();
        if self.sensor_ids.is_empty() {
            for device in self.devices(api)? {
                let is_named = self.with_retired || !self.devices.is_empty();
                if self.has_device(&device) {
                    let sensors = device.sensors().into_iter();
                    found.extend(sensors.filter(|s| self.has(s) && (is_named || !is_retired(s))));
                }
                if found.len() > max {
                    return Err(too_many(max));
                }
            }
            return Ok(found);
        }
        let mut ids = self.sensor_ids.clone();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let sensor = api.registry.sensor(SensorId(id));
            let sensor = sensor.ok_or_else(|| Fault::not_found("sensor"))?;
            let device = find(api, sensor.device.as_str())?;
            let is_named = self.devices.is_empty()
                || self.devices.iter().any(|key| key == device.key.as_str());
            if is_named && self.has_device(&device) && self.has(&sensor) {
                found.push(sensor);
            }
        }
        if found.len() > max { Err(too_many(max)) } else { Ok(found) }
    }

    fn devices(&self, api: &Api) -> Result<Vec<Arc<Device>>, Fault> {
        if self.devices.is_empty() {
            let all = api.registry.all().into_iter();
            return Ok(all.filter(|d| self.with_retired || !d.is_retired()).collect());
        }
        let mut keys: Vec<_> = self.devices.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|key| find(api, key)).collect()
    }

    fn has_device(&self, device: &Device) -> bool {
        self.gateway.as_ref().is_none_or(|gateway| device.is_behind(gateway))
            && device.has_labels(&self.labels)
    }

    fn has(&self, sensor: &Sensor) -> bool {
        let is_one_of = |wanted: &[String], word: Option<&str>| {
            wanted.is_empty() || word.is_some_and(|word| wanted.iter().any(|w| w == word))
        };
        is_one_of(&self.names, Some(sensor.name.as_str()))
            && sensor.with_settings(|settings| is_one_of(&self.kinds, settings.kind.as_deref()))
    }
}

fn is_retired(sensor: &Sensor) -> bool {
    sensor.with_settings(|settings| settings.retired_at.is_some())
}

fn too_many(max: usize) -> Fault {
    let detail = format!("more than {max} sensors match; give device_id or sensor");
    Fault::invalid("device_id", detail)
}
