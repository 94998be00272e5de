//! From a payload to readings: every form that the devices of the field write, one a file.
//!
//! Decoding gives what is good and what is not side by side; only a message in which nothing can be
//! used is an error. Pure: the time of receipt and the zone are arguments.

mod batch;
mod esp32;
mod facts;
mod flat;
mod rich;
mod sample;
mod single;
mod status;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{
    rejection::{Rejection, RejectionReason},
    repair::{Repairs, repair},
    time::{judge, read_time},
};
use crate::{
    routes::{MessageKind, PayloadForm},
    telemetry::{ClaimedTime, DeviceKey, Report, Sample, SensorName, Timestamp},
};

/// Samples in one message.
pub const SAMPLES_MAX: usize = 10_000;

/// What is known of a message beside its payload.
#[derive(Debug, Clone, Copy)]
pub struct MessageContext<'a> {
    pub kind: MessageKind,
    pub form: PayloadForm,
    /// From the topic or the credential; `None` where only the body names it.
    pub device: Option<&'a DeviceKey>,
    /// From the topic.
    pub sensor: Option<&'a SensorName>,
    pub received_at: Timestamp,
    /// Of times without an offset.
    pub zone: &'a TimeZone,
}

/// What a message says, as far as it can be used.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    pub readings: Vec<Sample>,
    pub rejections: Vec<Rejection>,
    pub report: Report,
    pub repairs: Repairs,
    /// The device that the body names, where the context has none.
    pub device_in_body: Option<String>,
}

/// Reads a message.
///
/// # Errors
/// When nothing in it can be used.
pub fn decode(payload: &[u8], context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let decoded = match context.kind {
        MessageKind::Heartbeat => return Ok(status::heartbeat(payload, context)),
        MessageKind::Status => status::status(payload, context)?,
        MessageKind::Data => data(payload, context)?,
    };
    let has_nothing = decoded.readings.is_empty() && decoded.report.is_empty();
    match (has_nothing, decoded.rejections.as_slice()) {
        (true, []) => Err(Rejection::of_message(
            RejectionReason::Empty,
            "the message holds no reading, such as {\"temperature\": 25.5}",
        )),
        (true, [only]) => Err(only.clone()),
        (_, rejections) if decoded.readings.is_empty() && !rejections.is_empty() => {
            Err(joined(rejections))
        }
        _ => Ok(decoded),
    }
}

/// One rejection for a message of which every reading was refused.
pub(crate) fn joined(rejections: &[Rejection]) -> Rejection {
    const SHOWN: usize = 10;
    let reason = rejections.first().map_or(RejectionReason::Empty, |first| first.reason);
    let mut detail: Vec<String> = rejections.iter().take(SHOWN).map(ToString::to_string).collect();
    if rejections.len() > SHOWN {
        detail.push(format!("and {} more", rejections.len() - SHOWN));
    }
    Rejection::of_message(reason, detail.join("; "))
}

fn data(payload: &[u8], context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let (value, repairs) = parse(payload)?;
    let mut decoded = match (context.form, value) {
        (PayloadForm::Auto, value) => by_shape(value, context)?,
        (PayloadForm::Rich, Value::Object(object)) => rich::decode(object, context)?,
        (PayloadForm::Flat, Value::Object(object)) => flat::decode(object, context)?,
        (PayloadForm::Esp32, Value::Object(object)) => esp32::decode(object, context)?,
        (PayloadForm::Batch, value @ (Value::Object(_) | Value::Array(_))) => {
            batch::decode(value, context)?
        }
        (PayloadForm::Single, value) => single::decode(value, context)?,
        (_, other) => return Err(not_an_object(&other)),
    };
    decoded.repairs = repairs;
    Ok(decoded)
}

fn by_shape(value: Value, context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    if context.sensor.is_some() {
        return single::decode(value, context);
    }
    match value {
        Value::Object(object) if object.contains_key("sensors") => rich::decode(object, context),
        Value::Object(object) if object.get("values").is_some_and(Value::is_object) => {
            batch::decode(Value::Object(object), context)
        }
        Value::Object(object) if object.contains_key("tempC") => esp32::decode(object, context),
        Value::Object(object) => flat::decode(object, context),
        Value::Array(_) => batch::decode(value, context),
        other => Err(not_an_object(&other)),
    }
}

fn not_an_object(value: &Value) -> Rejection {
    Rejection::of_message(
        RejectionReason::Shape,
        format!(
            "the payload is {}, where a JSON object such as {{\"temperature\": 25.5}} is expected",
            sample::kind_of(value)
        ),
    )
}

/// Strict JSON, or JSON with small damage mended.
fn parse(payload: &[u8]) -> Result<(Value, Repairs), Rejection> {
    let error = match serde_json::from_slice(payload) {
        Ok(value) => return Ok((value, Repairs::default())),
        Err(error) => error,
    };
    if let Some((mended, repairs)) = repair(payload)
        && let Ok(value) = serde_json::from_slice(&mended)
    {
        return Ok((value, repairs));
    }
    if payload.is_empty() {
        return Err(Rejection::of_message(RejectionReason::Empty, "the payload is empty"));
    }
    if let Err(error) = std::str::from_utf8(payload) {
        let detail = format!("the payload is not UTF-8 from byte {} on", error.valid_up_to());
        return Err(Rejection::of_message(RejectionReason::NotUtf8, detail));
    }
    Err(Rejection::of_message(
        RejectionReason::NotJson,
        format!("the payload is not JSON: {error}"),
    ))
}

/// The time of a whole message, under any of its names; the entry is taken out.
fn take_time(
    object: &mut Map<String, Value>,
    context: &MessageContext<'_>,
) -> Result<ClaimedTime, Rejection> {
    let given = ["timestamp", "ts"].iter().filter_map(|name| object.remove(*name)).next();
    match given {
        None | Some(Value::Null) => Ok(ClaimedTime::Absent),
        Some(value) => claimed(&value, context)
            .map_err(|detail| Rejection::of_message(RejectionReason::Timestamp, detail)),
    }
}

fn claimed(value: &Value, context: &MessageContext<'_>) -> Result<ClaimedTime, String> {
    read_time(value, context.zone).map(|claim| judge(claim, context.received_at))
}

/// Takes out what names the device, and compares it with what the topic says.
fn take_device(
    object: &mut Map<String, Value>,
    decoded: &mut Decoded,
    context: &MessageContext<'_>,
) -> Result<(), Rejection> {
    for name in ["device_id", "device_uuid", "deviceId", "uuid"] {
        let Some(value) = object.remove(name) else {
            continue;
        };
        let given = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match context.device {
            Some(device) if device.as_str() != given => {
                return Err(Rejection::of_message(
                    RejectionReason::DeviceMismatch,
                    format!("{name} is {given:?}, but the message came as {device}"),
                ));
            }
            Some(_) => {}
            None => {
                decoded.device_in_body.get_or_insert(given);
            }
        }
    }
    Ok(())
}

fn reported_at(time: ClaimedTime) -> Option<Timestamp> {
    match time {
        ClaimedTime::Plausible(time) => Some(time),
        ClaimedTime::Implausible(_) | ClaimedTime::Absent => None,
    }
}

#[cfg(test)]
mod tests;
