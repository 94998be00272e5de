//! Status and heartbeat messages: what the device says of itself, no readings.

use serde_json::Value;

use super::{Decoded, MessageContext, facts, parse, sample::kind_of, take_device, take_time};
use crate::ingest::rejection::{Rejection, RejectionReason};

/// Longest status that is a plain word, such as a will's `offline`, in bytes.
const WORD_MAX: usize = 200;

pub(super) fn status(payload: &[u8], context: &MessageContext<'_>) -> Result<Decoded, Rejection> {
    let (value, repairs) = match (parse(payload), as_word(payload)) {
        (Ok(parsed), _) => parsed,
        (Err(_), Some(word)) => (Value::String(word.to_owned()), Default::default()),
        (Err(rejection), None) => return Err(rejection),
    };
    let mut decoded = Decoded { repairs, ..Decoded::default() };
    match value {
        Value::Object(mut object) => {
            take_device(&mut object, &mut decoded, context)?;
            let time = take_time(&mut object, context)?;
            decoded.report.reported_at = super::reported_at(time);
            if let Some(location) = object.remove("location") {
                let only = [("location".to_owned(), location)].into_iter().collect();
                facts::take(only, &mut decoded);
            }
            facts::take_status(object, &mut decoded);
        }
        Value::String(word) => {
            decoded.report.facts.status = Some(word.clone());
            decoded.report.status.insert("status".to_owned(), Value::String(word));
        }
        other => {
            let detail = format!(
                "a status is an object such as {{\"status\": \"online\"}} or a word, not {}",
                kind_of(&other)
            );
            return Err(Rejection::of_message(RejectionReason::Shape, detail));
        }
    }
    Ok(decoded)
}

fn as_word(payload: &[u8]) -> Option<&str> {
    let word = std::str::from_utf8(payload).ok()?.trim();
    let is_word = !word.is_empty()
        && word.len() <= WORD_MAX
        && !word.starts_with(['{', '[', '"'])
        && !word.contains(char::is_control);
    is_word.then_some(word)
}

/// A heartbeat counts whatever it carries.
pub(super) fn heartbeat(payload: &[u8], context: &MessageContext<'_>) -> Decoded {
    let mut decoded = Decoded::default();
    if let Ok((Value::Object(mut object), repairs)) = parse(payload) {
        decoded.repairs = repairs;
        if take_device(&mut object, &mut decoded, context).is_ok()
            && let Ok(time) = take_time(&mut object, context)
        {
            decoded.report.reported_at = super::reported_at(time);
        }
        facts::take_status(object, &mut decoded);
    }
    decoded
}
