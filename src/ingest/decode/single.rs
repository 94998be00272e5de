//! Single sensor, which the topic names: `25.5`, or `{"value": 25.5, "timestamp"?, "quality"?,
//! "unit"?}`.

use super::{
    Decoded, MessageContext, facts,
    json::Json,
    sample::{self, measurement},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{ClaimedTime, Quality},
};

pub(super) fn decode(value: Json<'_>, context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let Some(sensor) = context.sensor else {
        let detail = "a single value needs a topic that names its sensor";
        return Err(Rejection::of_message(RejectionReason::Shape, detail));
    };
    let mut decoded = Decoded::default();
    match value {
        Json::Object(mut object) => {
            take_device(&mut object, &mut decoded, context)?;
            let time = take_time(&mut object, context)?;
            decoded.report.reported_at = super::reported_at(time);
            let reading = sample::read(&mut object, sensor.clone(), time, context)?;
            decoded.readings.push(reading);
            // The topic says it.
            object.take("sensor_id")?;
            facts::take(object.into_map(), &mut decoded);
        }
        value => {
            let value = measurement(sensor.as_str(), &value)?;
            let (time, quality) = (ClaimedTime::Absent, Quality::Good);
            decoded.readings.push(sample::sample(sensor.clone(), value, time, quality, None));
        }
    }
    Ok(decoded)
}
