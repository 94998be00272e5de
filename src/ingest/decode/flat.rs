//! Flat: `{"temperature": 25.5, "humidity": 60}`. Numbers and booleans are readings, all else are
//! facts for the device's last report; `timestamp` and `ts` are the time, never a sensor.

use serde_json::{Map, Value};

use super::{
    Decoded, MessageContext, facts,
    sample::{measurement, sample},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{ClaimedTime, Quality, SensorName},
};

pub(super) fn decode(
    mut object: Map<String, Value>,
    context: &MessageContext<'_>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    take_device(&mut object, &mut decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time);
    values(object, time, &mut decoded);
    Ok(decoded)
}

/// The entries of a flat object, all of one time.
pub(super) fn values(object: Map<String, Value>, time: ClaimedTime, decoded: &mut Decoded) {
    let mut said = Map::new();
    for (name, value) in object {
        let Some(value) = measurement(&value) else {
            said.insert(name, value);
            continue;
        };
        match SensorName::in_payload(&name) {
            Ok(sensor) => {
                decoded.readings.push(sample(sensor, value, time, Quality::Good, None));
            }
            Err(error) => {
                let rejection =
                    Rejection::of_sensor(&name, RejectionReason::Name, error.to_string());
                decoded.rejections.push(rejection);
            }
        }
    }
    if !said.is_empty() {
        facts::take(said, decoded);
    }
}
