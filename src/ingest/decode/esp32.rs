//! The ESP32 cabinet monitor's form: `{"deviceId", "fwVersion", "ip", "uptimeSec", "tempC"}`, where
//! `tempC: null` says that the probe could not be read. Further numbers are further sensors' readings.

use super::{
    Decoded, MessageContext, facts, flat,
    json::{Json, Object},
    sample::{Seen, measurement, sample},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{Quality, SensorName, Unit},
};

/// Numbers about the device itself.
const FACTS: [&str; 5] = ["uptime", "uptime_sec", "uptime_seconds", "rssi", "battery"];

pub(super) fn decode(
    mut object: Object<'_>,
    context: &MessageContext<'_>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    take_device(&mut object, &mut decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time);
    let Some(temperature) = object.take("tempC")? else {
        let detail = "the message has no tempC, degrees Celsius or null";
        return Err(Rejection::of_message(RejectionReason::Shape, detail));
    };
    let mut seen = Seen::default();
    match measurement("tempC", &temperature) {
        Ok(value) => {
            let sensor = SensorName::in_payload("temperature")
                .map_err(|error| Rejection::of_message(RejectionReason::Name, error.to_string()))?;
            let unit = Unit::new("°C").ok().flatten();
            seen.add(sample(sensor, value, time, Quality::Good, unit), &mut decoded);
        }
        Err(rejection) => decoded.rejections.push(rejection),
    }
    let (values, said): (Vec<_>, Vec<_>) =
        object.into_iter().partition(|(name, value)| is_reading(name, value));
    flat::values(values.into_iter().collect(), time, &mut decoded, &mut seen)?;
    facts::take(said.into_iter().collect::<Object<'_>>().into_map(), &mut decoded);
    Ok(decoded)
}

fn is_reading(name: &str, value: &Json<'_>) -> bool {
    let is_number =
        matches!(value, Json::Number(_) | Json::Bool(_) | Json::NotANumber | Json::TooLarge);
    is_number && !FACTS.contains(&name) && SensorName::in_payload(name).is_ok()
}
