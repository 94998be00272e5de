//! Rich: `{"sensors": [{"sensor_name", "value", "unit"?, "timestamp"?}], "status"?, "location"?,
//! "timestamp"?}`, the AIOT service's HTTP and MQTT form. `sensors` may also be an object by name.

use std::borrow::Cow;

use super::{
    Decoded, MessageContext, SAMPLES_MAX, facts,
    json::{Json, Object},
    sample::{self, Seen},
    take_device, take_time,
};
use crate::{
    ingest::rejection::{Rejection, RejectionReason},
    telemetry::{ClaimedTime, Sample, SensorName},
};

type Entry<'p> = (Option<Cow<'p, str>>, Json<'p>);

pub(super) fn decode(
    mut object: Object<'_>,
    context: &MessageContext<'_>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    take_device(&mut object, &mut decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time);
    let entries = entries(object.take("sensors")?)?;
    decoded.readings.reserve(entries.len());
    let mut seen = Seen::default();
    for (at, (name, entry)) in entries.into_iter().enumerate() {
        match read_entry(at, name, entry, time, context) {
            Ok(sample) => seen.add(sample, &mut decoded),
            Err(rejection) => decoded.rejections.push(rejection),
        }
    }
    facts::take(object.into_map(), &mut decoded);
    Ok(decoded)
}

fn entries(sensors: Option<Json<'_>>) -> Result<Vec<Entry<'_>>, Rejection> {
    let entries: Vec<_> = match sensors {
        Some(Json::List(list)) => list.into_iter().map(|entry| (None, entry)).collect(),
        Some(Json::Object(by_name)) => {
            by_name.into_iter().map(|(name, entry)| (Some(name), entry)).collect()
        }
        None | Some(Json::Null) => Vec::new(),
        Some(other) => {
            let detail =
                format!("sensors is {}, where a list of objects is expected", other.kind());
            return Err(Rejection::of_message(RejectionReason::Shape, detail));
        }
    };
    if entries.len() > SAMPLES_MAX {
        let detail = format!("{} readings in one message; at most {SAMPLES_MAX}", entries.len());
        return Err(Rejection::of_message(RejectionReason::TooMany, detail));
    }
    Ok(entries)
}

fn read_entry(
    at: usize,
    name: Option<Cow<'_, str>>,
    entry: Json<'_>,
    message_time: ClaimedTime,
    context: &MessageContext<'_>,
) -> Result<Sample, Rejection> {
    let place = || format!("sensors[{at}]");
    let (name, mut fields) = match (name, entry) {
        (Some(name), Json::Object(fields)) => (name, fields),
        // By name alone, as in {"sensors": {"temperature": 25.5}}.
        (Some(name), value) => (name, [(Cow::from("value"), value)].into_iter().collect()),
        (None, Json::Object(mut fields)) => {
            let name = fields.take("sensor_name").map_err(|rejection| rejection.at(&place()))?;
            let Some(Json::Text(name)) = name else {
                let detail = "it has no sensor_name, a text such as \"temperature\"";
                return Err(Rejection::of_sensor(&place(), RejectionReason::Name, detail));
            };
            (name, fields)
        }
        (None, other) => return Err(super::not_an_object("it", &other).at(&place())),
    };
    let sensor = SensorName::in_payload(&name)
        .map_err(|error| Rejection::of_sensor(&name, RejectionReason::Name, error.to_string()))?;
    sample::read(&mut fields, sensor, message_time, context)
}
