//! From a payload to readings: every form that the devices of the field write, one a file.
//!
//! Decoding gives what is good and what is not side by side; only a message in which nothing can be
//! used is an error. Pure: the time of receipt and the zone are arguments.

mod batch;
mod esp32;
mod facts;
mod flat;
mod json;
mod rich;
mod sample;
mod single;
mod status;

use std::collections::HashSet;

use foldhash::fast::RandomState;
use jiff::tz::TimeZone;

pub(super) use self::json::Json;
use self::json::Object;
use super::{
    rejection::{Rejection, RejectionReason},
    repair::{Repairs, repair},
    time::{judge, read_time},
};
use crate::{
    routes::{MessageKind, PayloadForm},
    telemetry::{ClaimedTime, DeviceFacts, DeviceKey, Report, Sample, SensorName, Timestamp},
};

/// Readings in one message.
pub const SAMPLES_MAX: usize = 10_000;
/// Sensors in one message.
pub const SENSORS_MAX: usize = 1_000;

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

impl Decoded {
    /// Whether there is anything to take. Facts beside readings that were all refused are not enough,
    /// unless they are the device's own status.
    pub fn is_usable(&self) -> bool {
        let Report { facts, status, extra, reported_at: _ } = &self.report;
        !self.readings.is_empty()
            || !status.is_empty()
            || *facts != DeviceFacts::default()
            || (self.rejections.is_empty() && !extra.is_empty())
    }
}

/// Reads a message. What of it was refused stands in `rejections`, and may be all of it
/// ([`Decoded::is_usable`]).
///
/// # Errors
/// When the message can't be read at all.
pub fn decode(payload: &[u8], context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let (decoded, expected) = match context.kind {
        MessageKind::Heartbeat => return status::heartbeat(payload, context),
        MessageKind::Status => (status::status(payload, context)?, "{\"status\": \"online\"}"),
        MessageKind::Data => (data(payload, context)?, "{\"temperature\": 25.5}"),
    };
    if decoded.rejections.is_empty() && !decoded.is_usable() {
        let detail = format!("the message says nothing, such as {expected}");
        return Err(Rejection::of_message(RejectionReason::Empty, detail));
    }
    bound_sensors(&decoded.readings)?;
    Ok(decoded)
}

fn bound_sensors(readings: &[Sample]) -> Result<(), Rejection> {
    if readings.len() <= SENSORS_MAX {
        return Ok(());
    }
    let names = readings.iter().map(|sample| sample.sensor.as_str());
    let sensors = names.collect::<HashSet<_, RandomState>>().len();
    if sensors <= SENSORS_MAX {
        return Ok(());
    }
    let detail = format!("{sensors} sensors in one message; at most {SENSORS_MAX}");
    Err(Rejection::of_message(RejectionReason::TooMany, detail))
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
        (PayloadForm::Rich, Json::Object(object)) => rich::decode(object, context)?,
        (PayloadForm::Flat, Json::Object(object)) => flat::decode(object, context)?,
        (PayloadForm::Esp32, Json::Object(object)) => esp32::decode(object, context)?,
        (PayloadForm::Batch, value) => batch::decode(value, context)?,
        (PayloadForm::Single, value) => single::decode(value, context)?,
        (_, other) => return Err(not_an_object("the payload", &other)),
    };
    decoded.repairs = repairs;
    Ok(decoded)
}

fn by_shape(value: Json<'_>, context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    if context.sensor.is_some() {
        return single::decode(value, context);
    }
    match value {
        Json::Object(object) if object.contains("sensors") => rich::decode(object, context),
        Json::Object(object) if object.get("values").is_some_and(Json::is_object) => {
            batch::decode(Json::Object(object), context)
        }
        Json::Object(object) if object.contains("tempC") => esp32::decode(object, context),
        Json::Object(object) => flat::decode(object, context),
        Json::List(_) => batch::decode(value, context),
        other => Err(not_an_object("the payload", &other)),
    }
}

fn not_an_object(what: &str, value: &Json<'_>) -> Rejection {
    let kind = value.kind();
    let detail =
        format!("{what} is {kind}, where an object such as {{\"temperature\": 25.5}} is expected");
    Rejection::of_message(RejectionReason::Shape, detail)
}

/// Strict JSON, or JSON with small damage mended.
fn parse(payload: &[u8]) -> Result<(Json<'_>, Repairs), Rejection> {
    let error = match serde_json::from_slice(payload) {
        Ok(value) => return Ok((value, Repairs::default())),
        Err(error) => error,
    };
    if let Some((mended, repairs)) = repair(payload)
        && let Ok(value) = serde_json::from_slice::<Json<'_>>(&mended)
    {
        return Ok((value.read_marks(), repairs));
    }
    let (reason, detail) = if payload.trim_ascii().is_empty() {
        (RejectionReason::Empty, "the payload is empty".to_owned())
    } else if let Err(error) = std::str::from_utf8(payload) {
        let at = error.valid_up_to();
        (RejectionReason::NotUtf8, format!("the payload is not UTF-8 from byte {at} on"))
    } else {
        (RejectionReason::NotJson, format!("the payload is not JSON: {error}"))
    };
    Err(Rejection::of_message(reason, detail))
}

/// The time of a message or a reading, under either of its names; both entries are taken out.
fn take_time(
    object: &mut Object<'_>,
    context: &MessageContext<'_>,
) -> Result<ClaimedTime, Rejection> {
    let given = [object.take("timestamp")?, object.take("ts")?];
    match given.into_iter().flatten().find(|value| *value != Json::Null) {
        None => Ok(ClaimedTime::Absent),
        Some(value) => read_time(&value, context.zone)
            .map(|claim| judge(claim, context.received_at))
            .map_err(|detail| Rejection::of_message(RejectionReason::Timestamp, detail)),
    }
}

/// Takes out what names the device, and compares it with what the topic, or an earlier element of a
/// batch, says.
fn take_device(
    object: &mut Object<'_>,
    decoded: &mut Decoded,
    context: &MessageContext<'_>,
) -> Result<(), Rejection> {
    let mut named = None;
    for name in ["device_id", "device_uuid", "deviceId"] {
        let given = match object.take(name)? {
            None | Some(Json::Null) => continue,
            Some(Json::Text(text)) => text,
            Some(other) => other.excerpt().into(),
        };
        let known = match (context.device, &decoded.device_in_body, &named) {
            (Some(device), ..) => Some(device.as_str()),
            (None, Some(device), None) => Some(device.as_str()),
            // A second name in the same object, such as the uuid beside the id.
            (None, ..) => None,
        };
        if let Some(device) = known
            && device != given
        {
            let given = Json::Text(given).excerpt();
            let detail = format!("{name} is {given}, but the message is of the device {device}");
            return Err(Rejection::of_message(RejectionReason::DeviceMismatch, detail));
        }
        if context.device.is_none() {
            named.get_or_insert_with(|| given.into_owned());
        }
    }
    if named.is_some() {
        decoded.device_in_body = named;
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
