//! One value and what stands beside it.

use serde_json::Value;

use crate::{
    ingest::{
        rejection::{Rejection, RejectionReason},
        repair::NOT_A_NUMBER,
    },
    telemetry::{ClaimedTime, Quality, Sample, SensorName, Unit},
};

/// A JSON value as a measurement: `Some(None)` is the sensor's word that it has none.
pub(super) fn measurement(value: &Value) -> Option<Option<f64>> {
    match value {
        Value::Number(number) => number.as_f64().map(Some),
        Value::Bool(on) => Some(Some(f64::from(u8::from(*on)))),
        Value::String(text) if text == NOT_A_NUMBER => Some(None),
        _ => None,
    }
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Puts a sample together; quality says what its value and time leave of `quality`.
pub(super) fn sample(
    sensor: SensorName,
    value: Option<f64>,
    time: ClaimedTime,
    quality: Quality,
    unit: Option<Unit>,
) -> Sample {
    let by_value = if value.is_none() { Quality::Bad } else { Quality::Good };
    let by_time = match time {
        ClaimedTime::Implausible(_) => Quality::Uncertain,
        ClaimedTime::Plausible(_) | ClaimedTime::Absent => Quality::Good,
    };
    Sample { sensor, value, quality: quality.worst(by_value).worst(by_time), unit, time }
}

pub(super) fn not_a_measurement(sensor: &str, value: &Value) -> Rejection {
    let mut shown = value.to_string();
    shown.truncate(shown.floor_char_boundary(60));
    let detail = format!("the value is {} ({shown}), where a number is expected", kind_of(value));
    Rejection::of_sensor(sensor, RejectionReason::ValueType, detail)
}

/// Unit and quality of a reading that is written as an object.
pub(super) fn annotations(
    sensor: &str,
    unit: Option<&Value>,
    quality: Option<&Value>,
) -> Result<(Option<Unit>, Quality), Rejection> {
    let unit = match unit {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Unit::new(text).map_err(|error| {
            Rejection::of_sensor(sensor, RejectionReason::Unit, error.to_string())
        })?,
        Some(other) => {
            let detail = format!("the unit is {}, where a text is expected", kind_of(other));
            return Err(Rejection::of_sensor(sensor, RejectionReason::Unit, detail));
        }
    };
    let quality = match quality {
        None | Some(Value::Null) => Quality::Good,
        Some(Value::String(text)) => {
            text.parse().map_err(|error: crate::telemetry::InvalidQuality| {
                Rejection::of_sensor(sensor, RejectionReason::Quality, error.to_string())
            })?
        }
        Some(other) => {
            let detail = format!("the quality is {}, where a text is expected", kind_of(other));
            return Err(Rejection::of_sensor(sensor, RejectionReason::Quality, detail));
        }
    };
    Ok((unit, quality))
}
