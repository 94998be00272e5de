//! Single sensor, which the topic names: `25.5`, or `{"value": 25.5, "timestamp"?, "quality"?,
//! "unit"?}`.

use serde_json::{Map, Value};

use super::{
    Decoded, MessageContext, facts,
    sample::{annotations, kind_of, measurement, not_a_measurement, sample},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{ClaimedTime, Quality},
};

pub(super) fn decode(value: Value, context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let Some(sensor) = context.sensor else {
        let detail = "a single value needs a topic that names its sensor";
        return Err(Rejection::of_message(RejectionReason::Shape, detail));
    };
    let mut decoded = Decoded::default();
    match value {
        Value::Object(object) => {
            let mut object: Map<String, Value> = object;
            take_device(&mut object, &mut decoded, context)?;
            let time = take_time(&mut object, context)?;
            decoded.report.reported_at = super::reported_at(time);
            let value = match object.remove("value") {
                None => {
                    let detail = "the object has no value, as in {\"value\": 25.5}";
                    return Err(Rejection::of_message(RejectionReason::Shape, detail));
                }
                Some(Value::Null) => None,
                Some(value) => {
                    measurement(&value).ok_or_else(|| not_a_measurement(sensor.as_str(), &value))?
                }
            };
            let (unit, quality) = (object.remove("unit"), object.remove("quality"));
            let (unit, quality) = annotations(sensor.as_str(), unit.as_ref(), quality.as_ref())?;
            object.remove("sensor_id");
            decoded.readings.push(sample(sensor.clone(), value, time, quality, unit));
            if !object.is_empty() {
                facts::take(object, &mut decoded);
            }
        }
        Value::Null => {
            let (time, quality) = (ClaimedTime::Absent, Quality::Bad);
            decoded.readings.push(sample(sensor.clone(), None, time, quality, None));
        }
        value => match measurement(&value) {
            Some(value) => {
                let (time, quality) = (ClaimedTime::Absent, Quality::Good);
                decoded.readings.push(sample(sensor.clone(), value, time, quality, None));
            }
            None => {
                let detail = format!(
                    "the payload is {}, where a number such as 25.5 or {{\"value\": 25.5}} is \
                     expected",
                    kind_of(&value)
                );
                return Err(Rejection::of_message(RejectionReason::ValueType, detail));
            }
        },
    }
    Ok(decoded)
}
