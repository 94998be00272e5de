//! A sensor on the wire, and the checks of what people give for one.

use poem_openapi::{Object, types::MaybeUndefined};
use serde::Deserialize;

use crate::{
    api::{
        devices::{checked_text, checked_text_of},
        problem::Fault,
        wire::{Reading, Time},
    },
    registry::{Sensor, SensorSettings},
    store::SensorEdit,
};

/// A sensor and its newest reading
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(in crate::api) struct SensorView {
    id: i64,
    device: String,
    name: String,
    display_name: Option<String>,
    #[oai(rename = "type")]
    kind: Option<String>,
    unit: Option<String>,
    location: Option<String>,
    /// Values outside `min` to `max` are stored as uncertain
    min: Option<f64>,
    max: Option<f64>,
    /// The smallest step that it tells apart
    resolution: Option<f64>,
    /// An inactive sensor's readings are refused
    active: bool,
    /// Since when it is out of the lists, its data kept
    retired_at: Option<Time>,
    latest: Option<Reading>,
}

/// A sensor to be registered
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct NewSensorBody {
    /// The id of its device, which is registered
    pub(super) device: String,
    /// 1 to 50 of A-Z a-z 0-9 . _ -; without it, it is called by its number
    pub(super) name: Option<String>,
    display_name: Option<String>,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: Option<String>,
    unit: Option<String>,
    location: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    resolution: Option<f64>,
    /// `true` if left out
    active: Option<bool>,
}

/// All that people set of a sensor; what is left out is removed
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct SensorBody {
    display_name: Option<String>,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: Option<String>,
    unit: Option<String>,
    location: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    resolution: Option<f64>,
    /// `true` if left out
    active: Option<bool>,
}

/// What may be changed of a sensor; what is left out stays, null removes it
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[oai(deny_unknown_fields)]
#[derive(Default)]
pub(super) struct SensorChange {
    display_name: MaybeUndefined<String>,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: MaybeUndefined<String>,
    unit: MaybeUndefined<String>,
    location: MaybeUndefined<String>,
    min: MaybeUndefined<f64>,
    max: MaybeUndefined<f64>,
    resolution: MaybeUndefined<f64>,
    active: Option<bool>,
}

impl NewSensorBody {
    pub(super) fn edit(self) -> Result<SensorEdit, Fault> {
        checked(SensorEdit {
            display_name: self.display_name,
            kind: self.kind,
            unit: self.unit,
            location: self.location,
            min: self.min,
            max: self.max,
            resolution: self.resolution,
            active: self.active.unwrap_or(true),
        })
    }
}

impl SensorBody {
    pub(super) fn edit(self) -> Result<SensorEdit, Fault> {
        checked(SensorEdit {
            display_name: self.display_name,
            kind: self.kind,
            unit: self.unit,
            location: self.location,
            min: self.min,
            max: self.max,
            resolution: self.resolution,
            active: self.active.unwrap_or(true),
        })
    }
}

impl SensorChange {
    pub(super) fn edit(self, before: SensorSettings) -> Result<SensorEdit, Fault> {
        fn or<T>(change: MaybeUndefined<T>, before: Option<T>) -> Option<T> {
            match change {
                MaybeUndefined::Undefined => before,
                MaybeUndefined::Null => None,
                MaybeUndefined::Value(value) => Some(value),
            }
        }
        checked(SensorEdit {
            display_name: or(self.display_name, before.display_name),
            kind: or(self.kind, before.kind),
            unit: or(self.unit, before.unit.map(|unit| unit.to_string())),
            location: or(self.location, before.location),
            min: or(self.min, before.min),
            max: or(self.max, before.max),
            resolution: or(self.resolution, before.resolution),
            active: self.active.unwrap_or(before.active),
        })
    }
}

/// An empty text is as good as none.
fn checked(edit: SensorEdit) -> Result<SensorEdit, Fault> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let short = |pointer, text: Option<String>, max| {
        some(text).map(|text| checked_text_of(pointer, text, max)).transpose()
    };
    let long = |pointer, text: Option<String>| {
        some(text).map(|text| checked_text(pointer, text)).transpose()
    };
    if edit.min.zip(edit.max).is_some_and(|(min, max)| min > max) {
        return Err(Fault::invalid("/min", "min is at most max"));
    }
    if edit.resolution.is_some_and(|step| step <= 0.0) {
        return Err(Fault::invalid("/resolution", "a resolution is more than 0"));
    }
    Ok(SensorEdit {
        display_name: long("/display_name", edit.display_name)?,
        kind: short("/type", edit.kind, 50)?,
        unit: short("/unit", edit.unit, 20)?,
        location: long("/location", edit.location)?,
        ..edit
    })
}

impl From<&Sensor> for SensorView {
    fn from(sensor: &Sensor) -> Self {
        let settings = sensor.settings();
        Self {
            id: sensor.id.0,
            device: sensor.device.to_string(),
            name: sensor.name.to_string(),
            display_name: settings.display_name,
            kind: settings.kind,
            unit: settings.unit.map(|unit| unit.to_string()),
            location: settings.location,
            min: settings.min,
            max: settings.max,
            resolution: settings.resolution,
            active: settings.active,
            retired_at: settings.retired_at.map(Time),
            latest: sensor.newest().map(Reading::from),
        }
    }
}
