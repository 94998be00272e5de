//! The ESP32 cabinet monitor's form: `{"deviceId", "fwVersion", "ip", "uptimeSec", "tempC"}`, where
//! `tempC: null` says that the probe could not be read.

use serde_json::{Map, Value};

use super::{
    Decoded, MessageContext, facts,
    sample::{measurement, not_a_measurement, sample},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{Quality, SensorName, Unit},
};

pub(super) fn decode(
    mut object: Map<String, Value>,
    context: &MessageContext<'_>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    take_device(&mut object, &mut decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time);
    let value = match object.remove("tempC") {
        None => {
            let detail = "the message has no tempC, degrees Celsius or null";
            return Err(Rejection::of_message(RejectionReason::Shape, detail));
        }
        Some(Value::Null) => None,
        Some(value) => measurement(&value).ok_or_else(|| not_a_measurement("tempC", &value))?,
    };
    let sensor = SensorName::in_payload("temperature");
    let unit = Unit::new("°C").ok().flatten();
    if let Ok(sensor) = sensor {
        decoded.readings.push(sample(sensor, value, time, Quality::Good, unit));
    }
    facts::take(object, &mut decoded);
    Ok(decoded)
}
