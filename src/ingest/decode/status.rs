//! Status and heartbeat messages: what the device says of itself, no readings.

use serde_json::{Map, Value};

use super::{Decoded, MessageContext, facts, json::Json, parse, take_device, take_time};
use crate::ingest::rejection::{Rejection, RejectionReason};

/// Longest status that is a plain word, such as a will's `offline`, in bytes.
const WORD_MAX: usize = 200;

pub(super) fn status(payload: &[u8], context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let (value, repairs) = match (parse(payload), as_word(payload)) {
        (Ok(parsed), _) => parsed,
        (Err(_), Some(word)) => (Json::Text(word.into()), Default::default()),
        (Err(rejection), None) => return Err(rejection),
    };
    let mut decoded = Decoded { repairs, ..Decoded::default() };
    match value {
        Json::Object(mut object) => {
            take_device(&mut object, &mut decoded, context)?;
            let time = take_time(&mut object, context)?;
            decoded.report.reported_at = super::reported_at(time);
            take(object.into_map(), &mut decoded);
        }
        Json::Text(word) => {
            let status = Value::String(word.into_owned());
            take([("status".to_owned(), status)].into_iter().collect(), &mut decoded);
        }
        other => {
            let detail = format!(
                "a status is an object such as {{\"status\": \"online\"}} or a word, not {}",
                other.kind()
            );
            return Err(Rejection::of_message(RejectionReason::Shape, detail));
        }
    }
    Ok(decoded)
}

/// A location has its own place in the last report, all else is the status.
fn take(mut said: Map<String, Value>, decoded: &mut Decoded) {
    if let Some(location) = said.remove("location") {
        facts::take([("location".to_owned(), location)].into_iter().collect(), decoded);
    }
    facts::take_status(said, decoded);
}

fn as_word(payload: &[u8]) -> Option<&str> {
    let word = std::str::from_utf8(payload).ok()?.trim_matches(['\0', ' ', '\r', '\n', '\t']);
    let is_word = !word.is_empty()
        && word.len() <= WORD_MAX
        && !word.starts_with(['{', '[', '"'])
        && !word.contains(char::is_control);
    is_word.then_some(word)
}

/// A heartbeat counts whatever it carries, unless it is another device's.
pub(super) fn heartbeat(
    payload: &[u8],
    context: &MessageContext<'_>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    if let Ok((Json::Object(mut object), repairs)) = parse(payload) {
        decoded.repairs = repairs;
        take_device(&mut object, &mut decoded, context)?;
        if let Ok(time) = take_time(&mut object, context) {
            decoded.report.reported_at = super::reported_at(time);
        }
        take(object.into_map(), &mut decoded);
    }
    Ok(decoded)
}
