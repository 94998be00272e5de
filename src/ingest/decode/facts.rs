//! What messages say of the device itself, under the names that the field uses.

use serde_json::{Map, Value};

use super::Decoded;
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{DeviceFacts, Location},
};

/// Longest status text, firmware name or address that is kept, in bytes.
const TEXT_MAX: usize = 200;

fn text(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match object.get(*name)? {
        Value::String(text) if !text.is_empty() => {
            Some(text.get(..text.floor_char_boundary(TEXT_MAX))?.to_owned())
        }
        _ => None,
    })
}

/// The device's fields that an object of facts names.
pub(super) fn read(object: &Map<String, Value>) -> DeviceFacts {
    let uptime = ["uptimeSec", "uptime", "uptime_sec", "uptime_seconds"]
        .iter()
        .find_map(|name| object.get(*name)?.as_f64());
    DeviceFacts {
        status: text(object, &["status", "device_status", "state"]),
        firmware: text(object, &["fwVersion", "firmware", "fw_version", "firmware_version"]),
        ip: text(object, &["ip_address", "ip", "ipAddress"]),
        uptime_seconds: uptime.filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as i64),
        location: None,
    }
}

/// Takes facts that stand beside readings: `status` and `location` have their own places in the
/// last report, the rest is kept under its own names.
pub(super) fn take(mut said: Map<String, Value>, decoded: &mut Decoded) {
    if said.is_empty() {
        return;
    }
    decoded.report.facts.merge(&read(&said));
    if let Some(location) = said.remove("location") {
        take_location(&location, &mut said, decoded);
    }
    match said.remove("status") {
        Some(Value::Object(status)) => take_status(status, decoded),
        Some(Value::String(status)) => {
            decoded.report.status.insert("status".to_owned(), Value::String(status));
        }
        Some(other) => {
            said.insert("status".to_owned(), other);
        }
        None => {}
    }
    // The last report's own parts are not to be overwritten by a device's words of the same name.
    for own in ["sensors", "upload_timestamp"] {
        said.remove(own);
    }
    decoded.report.extra.append(&mut said);
}

/// An object that describes the device's state.
pub(super) fn take_status(mut status: Map<String, Value>, decoded: &mut Decoded) {
    decoded.report.facts.merge(&read(&status));
    decoded.report.status.append(&mut status);
}

fn take_location(location: &Value, said: &mut Map<String, Value>, decoded: &mut Decoded) {
    let coordinate = |names: [&str; 2]| {
        names.iter().find_map(|name| location.get(*name)).and_then(Value::as_f64)
    };
    match location {
        Value::Null => {}
        Value::Object(_) => {
            let latitude = coordinate(["latitude", "lat"]);
            let longitude = coordinate(["longitude", "lon"]).or(coordinate(["lng", "long"]));
            let place = latitude.zip(longitude).and_then(|(a, o)| Location::new(a, o));
            if place.is_none() {
                decoded.rejections.push(Rejection::of_sensor(
                    "location",
                    RejectionReason::Location,
                    "latitude is −90 to 90 and longitude −180 to 180, both numbers",
                ));
            }
            decoded.report.facts.location = place.or(decoded.report.facts.location);
        }
        // A place in words is a fact like any other.
        other => {
            said.insert("location_text".to_owned(), other.clone());
        }
    }
}
