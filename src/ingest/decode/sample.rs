//! One value and what stands beside it; and that no sensor has two readings of one time.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::{
    Decoded, MessageContext,
    json::{Json, Object},
    take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{ClaimedTime, Quality, Sample, SensorName, Timestamp, Unit},
};

/// Up to so many readings, comparing with each is quicker than hashing.
const COMPARED_MAX: usize = 16;

/// A JSON value as a measurement; `None` is the sensor's word that it has none.
///
/// # Errors
/// When it is no number, truth value or null, or a number that no 64-bit float can hold.
pub(super) fn measurement(sensor: &str, value: &Json<'_>) -> Result<Option<f64>, Rejection> {
    match value {
        Json::Number(number) => Ok(number.as_f64()),
        Json::Bool(on) => Ok(Some(f64::from(u8::from(*on)))),
        Json::Null | Json::NotANumber => Ok(None),
        Json::TooLarge => {
            let detail = "the number is too large: at most ±1.79e308 can be kept";
            Err(Rejection::of_sensor(sensor, RejectionReason::OutOfRange, detail))
        }
        Json::Text(_) | Json::List(_) | Json::Object(_) => {
            let (kind, excerpt) = (value.kind(), value.excerpt());
            let detail = format!("the value is {kind} ({excerpt}), where a number is expected");
            Err(Rejection::of_sensor(sensor, RejectionReason::ValueType, detail))
        }
    }
}

/// A reading that is written as an object with `value` and perhaps `unit`, `quality` and a time; one
/// without a time of its own has its message's.
pub(super) fn read(
    fields: &mut Object<'_>,
    sensor: SensorName,
    message_time: ClaimedTime,
    context: &MessageContext<'_>,
) -> Result<Sample, Rejection> {
    let own = |rejection: Rejection| rejection.at(sensor.as_str());
    let Some(value) = fields.take("value").map_err(own)? else {
        let detail = "it has no value, a number such as 25.5";
        return Err(Rejection::of_sensor(sensor.as_str(), RejectionReason::ValueType, detail));
    };
    let value = measurement(sensor.as_str(), &value)?;
    let unit = unit(fields.take("unit").map_err(own)?).map_err(own)?;
    let quality = quality(fields.take("quality").map_err(own)?).map_err(own)?;
    let time = match take_time(fields, context).map_err(own)? {
        ClaimedTime::Absent => message_time,
        own_time => own_time,
    };
    Ok(sample(sensor, value, time, quality, unit))
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

fn unit(given: Option<Json<'_>>) -> Result<Option<Unit>, Rejection> {
    let refuse = |detail| Err(Rejection::of_message(RejectionReason::Unit, detail));
    match given {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Text(text)) => Unit::new(&text).or_else(|error| refuse(error.to_string())),
        Some(other) => refuse(format!("the unit is {}, where a text is expected", other.kind())),
    }
}

fn quality(given: Option<Json<'_>>) -> Result<Quality, Rejection> {
    let refuse = |detail| Err(Rejection::of_message(RejectionReason::Quality, detail));
    match given {
        None | Some(Json::Null) => Ok(Quality::Good),
        Some(Json::Text(text)) => text.parse().or_else(|_| {
            let excerpt = Json::Text(text).excerpt();
            refuse(format!("the quality is {excerpt}, where good, uncertain or bad is expected"))
        }),
        Some(other) => refuse(format!("the quality is {}, where a text is expected", other.kind())),
    }
}

/// Collects a message's readings: of one sensor and time, the first.
#[derive(Default)]
pub(super) struct Seen(HashSet<(SensorName, Option<Timestamp>), RandomState>);

impl Seen {
    pub(super) fn add(&mut self, sample: Sample, decoded: &mut Decoded) {
        if self.is_repeated(&sample, &decoded.readings) {
            let detail = "a second reading of the same sensor and time; the first one counts";
            let (sensor, reason) = (sample.sensor.as_str(), RejectionReason::Repeated);
            decoded.rejections.push(Rejection::of_sensor(sensor, reason, detail));
        } else {
            decoded.readings.push(sample);
        }
    }

    fn is_repeated(&mut self, sample: &Sample, before: &[Sample]) -> bool {
        if before.len() < COMPARED_MAX {
            return before.iter().any(|earlier| {
                earlier.sensor == sample.sensor && earlier.time_key() == sample.time_key()
            });
        }
        let key = |sample: &Sample| (sample.sensor.clone(), sample.time_key());
        if self.0.is_empty() {
            self.0.extend(before.iter().map(key));
        }
        !self.0.insert(key(sample))
    }
}
