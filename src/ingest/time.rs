//! The times that devices write, in all the forms that they write them.

use jiff::{civil::DateTime, tz::TimeZone};
use serde_json::Value;

use crate::telemetry::{ClaimedTime, Timestamp};

/// 2000-01-01T00:00:00Z: before it, a clock was never set.
const EARLIEST: i64 = 946_684_800_000_000;
/// Five minutes: further ahead, a clock is wrong.
const AHEAD_MAX: i64 = 300 * 1_000_000;

const FORMS: &str = "an RFC 3339 time such as 2025-12-19T06:30:00Z, or seconds, milliseconds or \
                     microseconds since 1970";

/// Reads a time; one without an offset is in `zone`.
///
/// # Errors
/// What was given and which forms are understood.
pub(super) fn read_time(value: &Value, zone: &TimeZone) -> Result<Timestamp, String> {
    let read = match value {
        Value::Number(number) => match number.as_i64() {
            Some(number) => from_integer(number),
            None => number.as_f64().and_then(from_float),
        },
        Value::String(text) => from_text(text.trim(), zone),
        _ => None,
    };
    read.ok_or_else(|| format!("{} is not {FORMS}", shown(value)))
}

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    text.truncate(text.floor_char_boundary(60));
    text
}

/// By magnitude: below 10¹¹ seconds, below 10¹⁴ milliseconds, below 10¹⁷ microseconds.
fn from_integer(number: i64) -> Option<Timestamp> {
    let micros = match number.unsigned_abs() {
        0..100_000_000_000 => number * 1_000_000,
        100_000_000_000..100_000_000_000_000 => number * 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => return None,
    };
    Some(Timestamp::from_micros(micros))
}

fn from_float(number: f64) -> Option<Timestamp> {
    let scale = match number.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 1e17 => 1.0,
        _ => return None,
    };
    Some(Timestamp::from_micros((number * scale).round() as i64))
}

fn from_text(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'))
        && let Ok(number) = text.parse::<f64>()
    {
        return match text.parse::<i64>() {
            Ok(number) => from_integer(number),
            Err(_) => from_float(number),
        };
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_micros(time.as_microsecond()));
    }
    let naive: DateTime = text.parse().ok()?;
    let time = zone.to_ambiguous_zoned(naive).compatible().ok()?.timestamp();
    Some(Timestamp::from_micros(time.as_microsecond()))
}

/// Whether a claimed time can be meant.
pub(super) fn judge(claim: Timestamp, received_at: Timestamp) -> ClaimedTime {
    let is_plausible =
        claim.as_micros() >= EARLIEST && claim.micros_since(received_at) <= AHEAD_MAX;
    if is_plausible { ClaimedTime::Plausible(claim) } else { ClaimedTime::Implausible(claim) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const MICROS: i64 = 1_766_125_800_000_000;

    #[test]
    fn reads_every_form() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        for value in [
            json!("2025-12-19T14:30:00+08:00"),
            json!("2025-12-19T06:30:00Z"),
            json!("2025-12-19 06:30:00z"),
            json!("2025-12-19t06:30:00.000000Z"),
            json!("2025-12-19T14:30:00"),
            json!("2025-12-19 14:30:00"),
            json!(1_766_125_800),
            json!(1_766_125_800.0),
            json!(1_766_125_800_000_i64),
            json!(1_766_125_800_000_000_i64),
            json!("1766125800"),
            json!("1766125800.0"),
        ] {
            assert_eq!(read_time(&value, &zone), Ok(Timestamp::from_micros(MICROS)), "{value}");
        }
        for value in [json!("yesterday"), json!(true), json!(1e18), json!(""), json!(null)] {
            assert!(read_time(&value, &zone).unwrap_err().contains("RFC 3339"), "{value}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_from_back_fill() {
        let now = Timestamp::from_micros(MICROS);
        for (offset, plausible) in
            [(0, true), (300_000_000, true), (300_000_001, false), (-86_400_000_000 * 365, true)]
        {
            let claim = now.plus_micros(offset);
            let judged = judge(claim, now);
            assert_eq!(judged == ClaimedTime::Plausible(claim), plausible, "{offset}");
        }
        assert!(matches!(judge(Timestamp::UNIX_EPOCH, now), ClaimedTime::Implausible(_)));
    }

    proptest! {
        #[test]
        fn any_instant_survives_each_scale(seconds in 0_i64..4_000_000_000) {
            let expected = Ok(Timestamp::from_micros(seconds * 1_000_000));
            prop_assert_eq!(read_time(&json!(seconds), &TimeZone::UTC), expected.clone());
            let text = expected.clone().unwrap().to_string();
            prop_assert_eq!(read_time(&json!(text), &TimeZone::UTC), expected);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = read_time(&json!(text), &TimeZone::UTC);
        }
    }
}
