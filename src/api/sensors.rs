//! The sensors of a device: look and edit.

use poem_openapi::{Object, OpenApi, param::Path};
use serde::Deserialize;
use serde_json::json;

use super::{
    Api, State, Tag,
    body::Body,
    caller::{Caller, DevicesRead, DevicesWrite},
    devices::{checked_text, find},
    page::Page,
    problem::{Answer, Changed, Fault},
    wire::Reading,
};
use crate::{
    alarm::engine::Order,
    registry::{Sensor, SensorSettings},
    store::SensorEdit,
};

pub(super) struct Sensors;

/// A sensor and its newest reading
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct SensorView {
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
    /// An inactive sensor's readings are refused
    active: bool,
    latest: Option<Reading>,
}

/// What may be changed of a sensor; what is left out stays, null removes it
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct SensorChange {
    display_name: Option<String>,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: Option<String>,
    unit: Option<String>,
    location: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    active: Option<bool>,
}

#[OpenApi]
impl Sensors {
    /// List a device's sensors
    #[oai(
        path = "/api/devices/:device/sensors",
        method = "get",
        tag = "Tag::Devices",
        operation_id = "list_device_sensors"
    )]
    async fn sensors(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        device: Path<String>,
    ) -> Answer<Page<SensorView>> {
        find(&api, &device)
            .map(|device| {
                let sensors = device.sensors().iter().map(|sensor| view(sensor)).collect();
                Page::new(sensors, None)
            })
            .into()
    }

    /// Change a sensor
    #[oai(
        path = "/api/devices/:device/sensors/:sensor",
        method = "patch",
        tag = "Tag::Devices",
        operation_id = "update_sensor"
    )]
    async fn update_sensor(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        device: Path<String>,
        /// Its name
        sensor: Path<String>,
        body: Body<SensorChange>,
    ) -> Changed<SensorView> {
        let change = match body.0 {
            Ok(change) => change,
            Err(fault) => return fault.into(),
        };
        update_sensor(&api, &caller, (&device, &sensor), change).await.into()
    }
}

async fn update_sensor(
    api: &Api,
    caller: &Caller<DevicesWrite>,
    (key, name): (&str, &str),
    change: SensorChange,
) -> Result<SensorView, Fault> {
    let device = find(api, key)?;
    let sensor = device.sensor(name).ok_or_else(|| Fault::not_found("sensor"))?;
    let before = sensor.settings();
    let said_before = said(&before);
    let text = |pointer, given: Option<String>, old: Option<String>| match given {
        Some(text) => checked_text(pointer, text).map(|t| (!t.is_empty()).then_some(t)),
        None => Ok(old),
    };
    let edit = SensorEdit {
        display_name: text("/display_name", change.display_name, before.display_name)?,
        kind: text("/type", change.kind, before.kind)?,
        unit: text("/unit", change.unit, before.unit.map(|unit| unit.to_string()))?,
        location: text("/location", change.location, before.location)?,
        min: change.min.or(before.min),
        max: change.max.or(before.max),
        active: change.active.unwrap_or(before.active),
    };
    if edit.min.zip(edit.max).is_some_and(|(min, max)| min > max) {
        return Err(Fault::invalid("/min", "min is at most max"));
    }
    api.store.update_sensor(sensor.id, &edit).await?;
    sensor.apply(edit);
    api.committer.order(Order::Reconsider { device });
    caller.note(json!({"before": said_before, "after": said(&sensor.settings())}));
    Ok(view(&sensor))
}

/// What the audit log says of a sensor.
fn said(sensor: &SensorSettings) -> serde_json::Value {
    json!({
        "display_name": sensor.display_name,
        "type": sensor.kind,
        "unit": sensor.unit.as_ref().map(ToString::to_string),
        "location": sensor.location,
        "min": sensor.min,
        "max": sensor.max,
        "active": sensor.active,
    })
}

fn view(sensor: &Sensor) -> SensorView {
    let settings = sensor.settings();
    SensorView {
        id: sensor.id.0,
        device: sensor.device.to_string(),
        name: sensor.name.to_string(),
        display_name: settings.display_name,
        kind: settings.kind,
        unit: settings.unit.map(|unit| unit.to_string()),
        location: settings.location,
        min: settings.min,
        max: settings.max,
        active: settings.active,
        latest: sensor.newest().map(Reading::from),
    }
}
