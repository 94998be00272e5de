//! What a client asks for: in the query of a stream, or in a message on a WebSocket.

use poem_openapi::types::ToJSON;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::problem::Fault,
    live::{Cursor, Filter, Kind, Kinds, SensorRef},
    telemetry::{DeviceKey, SensorId, SensorName},
};

/// Devices and sensors that one client may name.
pub(super) const NAMES_MAX: usize = 1_000;

/// The parameters of a stream, as they were written.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Asked {
    pub(super) devices: Option<String>,
    pub(super) sensors: Option<String>,
    pub(super) events: Option<String>,
}

/// What a client says on a WebSocket.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// Adds to what is listened to.
    Subscribe(Names),
    /// Takes out of it.
    Unsubscribe(Names),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Names {
    devices: Vec<String>,
    sensors: Vec<NumberOrName>,
    events: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a sensor is a number, or \"device/sensor\"")]
enum NumberOrName {
    Number(i64),
    Name(String),
}

/// The id of the last event that a client saw.
pub(super) fn cursor(text: &str) -> Result<Cursor, Fault> {
    text.trim()
        .parse()
        .map_err(|_| Fault::invalid("Last-Event-ID", "the id is none of an event of this stream"))
}

fn listed(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty())
}

fn device(text: &str) -> Result<DeviceKey, Fault> {
    DeviceKey::new(text).map_err(|error| Fault::invalid("devices", error.to_string()))
}

fn sensor(text: &str) -> Result<SensorRef, Fault> {
    if let Ok(number) = text.parse() {
        return Ok(SensorRef::Id(SensorId(number)));
    }
    let wrong = |detail: String| Fault::invalid("sensors", detail);
    let Some((device, name)) = text.split_once('/') else {
        return Err(wrong("a sensor is a number, or device/sensor".to_owned()));
    };
    let device = DeviceKey::new(device).map_err(|error| wrong(error.to_string()))?;
    let name = SensorName::in_topic(name).map_err(|error| wrong(error.to_string()))?;
    Ok(SensorRef::Named(device, name))
}

fn kinds<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Kinds, Fault> {
    words.try_fold(Kinds::NONE, |kinds, word| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
        kind.map(|kind| kinds.with(kind)).ok_or_else(|| {
            let known = Kind::ALL.map(Kind::word).join(", ");
            Fault::invalid("events", format!("events are of {known}"))
        })
    })
}

/// Nothing named is everything.
fn filter(devices: Vec<DeviceKey>, sensors: Vec<SensorRef>, kinds: Kinds) -> Result<Filter, Fault> {
    if devices.len() + sensors.len() > NAMES_MAX {
        let detail = format!("a client may name {NAMES_MAX} devices and sensors");
        return Err(Fault::invalid("sensors", detail));
    }
    Ok(Filter {
        kinds,
        is_everything: devices.is_empty() && sensors.is_empty(),
        devices: devices.into_iter().collect(),
        sensors: sensors.into_iter().collect(),
    })
}

impl Asked {
    pub(super) fn filter(&self) -> Result<Filter, Fault> {
        filter(
            listed(self.devices.as_deref()).map(device).collect::<Result<_, _>>()?,
            listed(self.sensors.as_deref()).map(sensor).collect::<Result<_, _>>()?,
            self.kinds()?.unwrap_or(Kinds::usual()),
        )
    }

    /// The kinds, where any are named.
    pub(super) fn kinds(&self) -> Result<Option<Kinds>, Fault> {
        let words = kinds(listed(self.events.as_deref()))?;
        Ok((words != Kinds::NONE).then_some(words))
    }
}

impl Command {
    /// Reads a message.
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text).map_err(|error| {
            let detail = format!(
                "expected {{\"subscribe\": {{\"devices\": […], \"sensors\": […], \"events\": […]}}}} or \
                 \"unsubscribe\": {error}"
            );
            Fault::invalid("", detail)
        })
    }

    /// What is to be listened to then.
    pub(super) fn apply(self, current: &Filter) -> Result<Filter, Fault> {
        let mut changed = current.clone();
        match self {
            Self::Subscribe(names) => changed.add(names.filter(current.kinds)?),
            Self::Unsubscribe(names) => {
                let names_only_events = names.devices.is_empty() && names.sensors.is_empty();
                let named = names.filter(Kinds::NONE)?;
                changed.kinds = current.kinds.without(named.kinds);
                if !(names_only_events && named.kinds != Kinds::NONE) {
                    changed.remove(&named);
                }
            }
        }
        if changed.len() > NAMES_MAX {
            let detail = format!("a client may name {NAMES_MAX} devices and sensors");
            return Err(Fault::invalid("", detail));
        }
        Ok(changed)
    }
}

impl Names {
    fn filter(&self, kinds_else: Kinds) -> Result<Filter, Fault> {
        let sensors = self.sensors.iter().map(|sensor_ref| match sensor_ref {
            NumberOrName::Number(number) => Ok(SensorRef::Id(SensorId(*number))),
            NumberOrName::Name(name) => sensor(name),
        });
        let kinds = match &self.events {
            Some(words) => kinds(words.iter().map(String::as_str))?,
            None => kinds_else,
        };
        let devices = self.devices.iter().map(|name| device(name));
        filter(devices.collect::<Result<_, _>>()?, sensors.collect::<Result<_, _>>()?, kinds)
    }
}

/// Tells a client what it listens to, and from where on.
pub(super) fn subscribed(filter: &Filter, since: Cursor) -> Value {
    let sensors = filter.sensors.iter().map(|sensor| match sensor {
        SensorRef::Id(id) => json!(id.0),
        SensorRef::Named(device, name) => json!(format!("{device}/{name}")),
    });
    json!({
        "type": "subscribed",
        "id": since.to_string(),
        "everything": filter.is_everything,
        "devices": filter.devices.iter().map(DeviceKey::as_str).collect::<Vec<_>>(),
        "sensors": sensors.collect::<Vec<_>>(),
        "events": filter.kinds.iter().map(Kind::word).collect::<Vec<_>>(),
    })
}

/// Tells a client what was wrong with what it said.
pub(super) fn mistaken(fault: Fault) -> Value {
    let errors = fault.errors.to_json();
    json!({"type": "error", "detail": fault.detail, "errors": errors})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(devices: &str, sensors: &str, events: &str) -> Result<Filter, String> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let asked =
            Asked { devices: given(devices), sensors: given(sensors), events: given(events) };
        asked.filter().map_err(|fault| fault.detail)
    }

    fn shown(filter: &Filter) -> Value {
        let since: Cursor = "1.2.3.4".parse().unwrap();
        let mut shown = subscribed(filter, since);
        assert_eq!(shown.as_object_mut().unwrap().remove("id").unwrap(), "1.2.3.4");
        shown.as_object_mut().unwrap().remove("type");
        shown
    }

    #[test]
    fn a_query_names_devices_sensors_and_events() {
        assert_eq!(
            shown(&asked("", "", "").unwrap()),
            json!({"everything": true, "devices": [], "sensors": [],
                   "events": ["readings", "presence", "alarms"]})
        );
        assert_eq!(
            shown(&asked("b, a,", "7,esp/temperature", "alarms,messages").unwrap()),
            json!({"everything": false, "devices": ["a", "b"], "sensors": [7, "esp/temperature"],
                   "events": ["alarms", "messages"]})
        );
        for (devices, sensors, events) in
            [("a b", "", ""), ("", "x", ""), ("", "x/y z", ""), ("", "", "reading")]
        {
            assert!(asked(devices, sensors, events).is_err(), "{devices} {sensors} {events}");
        }
        let many = (0..=NAMES_MAX).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(asked("", &many, "").unwrap_err().contains("1000"));
    }

    #[test]
    fn commands_change_what_is_listened_to() {
        let mut filter = Filter::everything(Kinds::usual());
        for (command, expected) in [
            (
                r#"{"subscribe": {"sensors": [7, "esp/t"]}}"#,
                json!({"everything": false, "devices": [], "sensors": [7, "esp/t"],
                       "events": ["readings", "presence", "alarms"]}),
            ),
            (
                r#"{"subscribe": {"devices": ["d"], "events": ["readings", "alarms"]}}"#,
                json!({"everything": false, "devices": ["d"], "sensors": [7, "esp/t"],
                       "events": ["readings", "alarms"]}),
            ),
            (
                r#"{"unsubscribe": {"sensors": ["esp/t", 9]}}"#,
                json!({"everything": false, "devices": ["d"], "sensors": [7],
                       "events": ["readings", "alarms"]}),
            ),
            (
                r#"{"unsubscribe": {"events": ["alarms"]}}"#,
                json!({"everything": false, "devices": ["d"], "sensors": [7],
                       "events": ["readings"]}),
            ),
            (
                r#"{"unsubscribe": {}}"#,
                json!({"everything": false, "devices": [], "sensors": [], "events": ["readings"]}),
            ),
            (
                r#"{"subscribe": {}}"#,
                json!({"everything": true, "devices": [], "sensors": [], "events": ["readings"]}),
            ),
        ] {
            filter = Command::read(command).unwrap().apply(&filter).unwrap();
            assert_eq!(shown(&filter), expected, "{command}");
        }
        for wrong in ["", "[]", r#"{"subscribe": {"sensor": 1}}"#, r#"{"publish": {}}"#] {
            assert!(Command::read(wrong).is_err(), "{wrong}");
        }
    }
}
