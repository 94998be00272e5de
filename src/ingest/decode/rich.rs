//! Rich: `{"sensors": [{"sensor_name", "value", "unit"?, "timestamp"?}], "status"?, "location"?,
//! "timestamp"?}`, the AIOT service's HTTP and MQTT form. `sensors` may also be an object by name.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    Decoded, MessageContext, SAMPLES_MAX, claimed, facts,
    sample::{annotations, kind_of, measurement, not_a_measurement, sample},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{ClaimedTime, Sample, SensorName},
};

pub(super) fn decode(
    mut object: Map<String, Value>,
    context: &MessageContext<'_>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    take_device(&mut object, &mut decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time);
    let entries = entries(object.remove("sensors"))?;
    if entries.len() > SAMPLES_MAX {
        let detail = format!("{} sensors; at most {SAMPLES_MAX} in one message", entries.len());
        return Err(Rejection::of_message(RejectionReason::TooMany, detail));
    }
    decoded.readings.reserve(entries.len());
    let mut seen = HashSet::new();
    for (at, (name, entry)) in entries.iter().enumerate() {
        let name = name.as_deref().or_else(|| entry.get("sensor_name")?.as_str());
        match read_entry(at, name, entry, time, context) {
            Ok(sample) if seen.insert((sample.sensor.clone(), sample.time_key())) => {
                decoded.readings.push(sample);
            }
            Ok(sample) => decoded.rejections.push(Rejection::of_sensor(
                sample.sensor.as_str(),
                RejectionReason::Repeated,
                format!("sensors[{at}] repeats a sensor of the same time; the first one counts"),
            )),
            Err(rejection) => decoded.rejections.push(rejection),
        }
    }
    if !object.is_empty() {
        facts::take(object, &mut decoded);
    }
    Ok(decoded)
}

fn entries(sensors: Option<Value>) -> Result<Vec<(Option<String>, Value)>, Rejection> {
    match sensors {
        Some(Value::Array(list)) => Ok(list.into_iter().map(|entry| (None, entry)).collect()),
        Some(Value::Object(by_name)) => {
            Ok(by_name.into_iter().map(|(name, entry)| (Some(name), entry)).collect())
        }
        None => Ok(Vec::new()),
        Some(other) => Err(Rejection::of_message(
            RejectionReason::Shape,
            format!("sensors is {}, where a list of objects is expected", kind_of(&other)),
        )),
    }
}

fn read_entry(
    at: usize,
    name: Option<&str>,
    entry: &Value,
    message_time: ClaimedTime,
    context: &MessageContext<'_>,
) -> Result<Sample, Rejection> {
    let Some(name) = name else {
        let place = format!("sensors[{at}]");
        let detail = "it has no sensor_name, a text such as \"temperature\"";
        return Err(Rejection::of_sensor(&place, RejectionReason::Name, detail));
    };
    let sensor = SensorName::in_payload(name)
        .map_err(|error| Rejection::of_sensor(name, RejectionReason::Name, error.to_string()))?;
    // A sensor given by name alone, as in {"sensors": {"temperature": 25.5}}.
    let given = if entry.is_object() { entry.get("value") } else { Some(entry) };
    let value = match given {
        Some(Value::Null) => None,
        Some(value) => measurement(value).ok_or_else(|| not_a_measurement(name, value))?,
        None => {
            let detail = "it has no value, a number";
            return Err(Rejection::of_sensor(name, RejectionReason::ValueType, detail));
        }
    };
    let (unit, quality) = annotations(name, entry.get("unit"), entry.get("quality"))?;
    let time = match entry.get("timestamp").or_else(|| entry.get("ts")) {
        None | Some(Value::Null) => message_time,
        Some(time) => claimed(time, context)
            .map_err(|detail| Rejection::of_sensor(name, RejectionReason::Timestamp, detail))?,
    };
    Ok(sample(sensor, value, time, quality, unit))
}
