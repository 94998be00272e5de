//! Flat: `{"temperature": 25.5, "humidity": 60}`. Numbers and booleans are readings, all else are
//! facts for the device's last report; `timestamp` and `ts` are the time, never a sensor.

use serde_json::Map;

use super::{
    Decoded, MessageContext, SENSORS_MAX, facts,
    json::{Json, Object},
    sample::{Seen, measurement, sample},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{ClaimedTime, Quality, SensorName},
};

pub(super) fn decode(
    mut object: Object<'_>,
    context: &MessageContext<'_>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    take_device(&mut object, &mut decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time);
    values(object, time, &mut decoded, &mut Seen::default())?;
    Ok(decoded)
}

/// The entries of a flat object, all of one time.
///
/// # Errors
/// When there are too many; none is then taken.
pub(super) fn values(
    object: Object<'_>,
    time: ClaimedTime,
    decoded: &mut Decoded,
    seen: &mut Seen,
) -> Result<(), Rejection> {
    if object.len() > SENSORS_MAX {
        let detail = format!("{} entries in one object; at most {SENSORS_MAX}", object.len());
        return Err(Rejection::of_message(RejectionReason::TooMany, detail));
    }
    decoded.readings.reserve(object.len());
    let mut said = Map::new();
    for (name, value) in object {
        if matches!(value, Json::Null | Json::Text(_) | Json::List(_) | Json::Object(_)) {
            if said.contains_key(name.as_ref()) {
                let detail = "it stands there twice; the first one counts";
                let rejection = Rejection::of_sensor(&name, RejectionReason::Repeated, detail);
                decoded.rejections.push(rejection);
            } else {
                said.insert(name.into_owned(), value.into_value());
            }
            continue;
        }
        match reading(&name, &value) {
            Ok((sensor, value)) => {
                seen.add(sample(sensor, value, time, Quality::Good, None), decoded);
            }
            Err(rejection) => decoded.rejections.push(rejection),
        }
    }
    facts::take(said, decoded);
    Ok(())
}

fn reading(name: &str, value: &Json<'_>) -> Result<(SensorName, Option<f64>), Rejection> {
    let sensor = SensorName::in_payload(name)
        .map_err(|error| Rejection::of_sensor(name, RejectionReason::Name, error.to_string()))?;
    Ok((sensor, measurement(name, value)?))
}
