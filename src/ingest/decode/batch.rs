//! Timestamped batch: `{"ts": …, "values": {…}}`, or a list of such.

use super::{
    Decoded, MessageContext, SAMPLES_MAX, facts, flat,
    json::{Json, Object},
    sample::Seen,
    take_device, take_time,
};
use crate::ingest::rejection::{Rejection, RejectionReason};

pub(super) fn decode(value: Json<'_>, context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    let mut seen = Seen::default();
    match value {
        Json::Object(object) => element(object, &mut decoded, &mut seen, context)?,
        Json::List(list) => {
            if list.len() > SAMPLES_MAX {
                return Err(too_many(list.len(), "elements"));
            }
            for (at, value) in list.into_iter().enumerate() {
                let read = match value {
                    Json::Object(object) => element(object, &mut decoded, &mut seen, context),
                    other => Err(super::not_an_object("the element", &other)),
                };
                if let Err(rejection) = read {
                    decoded.rejections.push(rejection.at(&format!("[{at}]")));
                }
                // Asked after each, so that a hostile list is not read to its end.
                let count = decoded.readings.len().max(decoded.rejections.len());
                if count > SAMPLES_MAX {
                    return Err(too_many(count, "readings"));
                }
            }
        }
        other => return Err(super::not_an_object("the payload", &other)),
    }
    Ok(decoded)
}

/// One element; without `values` its own entries are the values.
fn element(
    mut object: Object<'_>,
    decoded: &mut Decoded,
    seen: &mut Seen,
    context: &MessageContext<'_>,
) -> Result<(), Rejection> {
    take_device(&mut object, decoded, context)?;
    let time = take_time(&mut object, context)?;
    decoded.report.reported_at = super::reported_at(time).max(decoded.report.reported_at);
    match object.take("values")? {
        Some(Json::Object(values)) => {
            flat::values(values, time, decoded, seen)?;
            facts::take(object.into_map(), decoded);
            Ok(())
        }
        Some(other) => Err(super::not_an_object("values", &other)),
        None => flat::values(object, time, decoded, seen),
    }
}

fn too_many(count: usize, what: &str) -> Rejection {
    let detail = format!("{count} {what} in one message; at most {SAMPLES_MAX}");
    Rejection::of_message(RejectionReason::TooMany, detail)
}
