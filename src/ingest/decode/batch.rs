//! Timestamped batch: `{"ts": …, "values": {…}}`, or a list of such.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Decoded, MessageContext, SAMPLES_MAX, flat, sample::kind_of, take_device, take_time};
use crate::ingest::rejection::{Rejection, RejectionReason};

pub(super) fn decode(value: Value, context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    match value {
        Value::Object(object) => element(object, &mut decoded, context)?,
        Value::Array(list) => {
            if list.len() > SAMPLES_MAX {
                let detail = format!("{} elements; at most {SAMPLES_MAX}", list.len());
                return Err(Rejection::of_message(RejectionReason::TooMany, detail));
            }
            for (at, value) in list.into_iter().enumerate() {
                let read = match value {
                    Value::Object(object) => element(object, &mut decoded, context),
                    other => Err(Rejection::of_message(
                        RejectionReason::Shape,
                        format!("it is {}, where an object is expected", kind_of(&other)),
                    )),
                };
                if let Err(rejection) = read {
                    let place = format!("[{at}]");
                    let Rejection { reason, detail, .. } = rejection;
                    decoded.rejections.push(Rejection::of_sensor(&place, reason, detail));
                }
            }
        }
        other => return Err(super::not_an_object(&other)),
    }
    if decoded.readings.len() > SAMPLES_MAX {
        let detail = format!("{} readings; at most {SAMPLES_MAX}", decoded.readings.len());
        return Err(Rejection::of_message(RejectionReason::TooMany, detail));
    }
    refuse_repeated(&mut decoded);
    Ok(decoded)
}

/// One element; without `values` its own entries are the values.
fn element(
    mut object: Map<String, Value>,
    decoded: &mut Decoded,
    context: &MessageContext<'_>,
) -> Result<(), Rejection> {
    take_device(&mut object, decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time).or(decoded.report.reported_at);
    match object.remove("values") {
        Some(Value::Object(values)) => {
            flat::values(values, time, decoded);
            if !object.is_empty() {
                super::facts::take(object, decoded);
            }
        }
        Some(other) => {
            let detail = format!("values is {}, where an object is expected", kind_of(&other));
            return Err(Rejection::of_message(RejectionReason::Shape, detail));
        }
        None => flat::values(object, time, decoded),
    }
    Ok(())
}

fn refuse_repeated(decoded: &mut Decoded) {
    let mut seen = HashSet::with_capacity(decoded.readings.len());
    let rejections = &mut decoded.rejections;
    decoded.readings.retain(|sample| {
        let is_first = seen.insert((sample.sensor.clone(), sample.time_key()));
        if !is_first {
            rejections.push(Rejection::of_sensor(
                sample.sensor.as_str(),
                RejectionReason::Repeated,
                "the batch repeats the sensor at the same time; the first one counts",
            ));
        }
        is_first
    });
}
