//! The times that devices write, in all the forms that they write them.

use super::decode::Json;
use crate::telemetry::{ClaimedTime, Timestamp};
use jiff::{civil::DateTime, tz::TimeZone};

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
pub(super) fn read_time(value: &Json<'_>, zone: &TimeZone) -> Result<Timestamp, String> {
    let read = match value {
        Json::Number(number) => match number.as_i64() {
            Some(number) => from_integer(number),
            None => number.as_f64().and_then(from_float),
        },
        Json::Text(text) => from_text(text.trim(), zone),
        _ => None,
    };
    read.ok_or_else(|| format!("{} is not {FORMS}", value.excerpt()))
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

/// Reads a time that stands in a text; see `read_time`.
///
/// # Errors
/// As there.
pub fn read_time_text(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    read_time(&Json::Text(text.into()), zone)
}

/// Whether a time can be one at which something was measured, as seen at `now`.
pub fn is_plausible(time: Timestamp, now: Timestamp) -> bool {
    matches!(judge(time, now), ClaimedTime::Plausible(_))
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

    use super::*;

    const MICROS: i64 = 1_766_125_800_000_000;

    fn read(json: &str, zone: &TimeZone) -> Result<Timestamp, String> {
        read_time(&serde_json::from_str(json).unwrap(), zone)
    }

    #[test]
    fn reads_every_form() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        for json in [
            r#""2025-12-19T14:30:00+08:00""#,
            r#""2025-12-19T06:30:00Z""#,
            r#""2025-12-19 06:30:00z""#,
            r#""2025-12-19t06:30:00.000000Z""#,
            r#""2025-12-19T01:00:00-05:30""#,
            r#""2025-12-19T14:30:00""#,
            r#"" 2025-12-19 14:30:00 ""#,
            r#""2025-12-19T14:30""#,
            "1766125800",
            "1766125800.0",
            "1766125800000",
            "1766125800000.0",
            "1766125800000000",
            "1.7661258e9",
            r#""1766125800""#,
            r#""1766125800.0""#,
            r#""1766125800000""#,
        ] {
            assert_eq!(read(json, &zone), Ok(Timestamp::from_micros(MICROS)), "{json}");
        }
        let fraction = read("1766125800.25", &zone).unwrap();
        assert_eq!(fraction, Timestamp::from_micros(MICROS + 250_000));
    }

    #[test]
    fn what_is_no_time_is_told_the_forms() {
        for json in [
            r#""yesterday""#,
            r#""14:30:00""#,
            r#""2025-13-01T00:00:00Z""#,
            r#""2025-12-19T06:30:00+99:00""#,
            r#""""#,
            r#"".""#,
            "true",
            "null",
            "1e18",
            "100000000000000000",
            "-100000000000000000",
            "18446744073709551615",
            "[]",
        ] {
            let refused = read(json, &TimeZone::UTC).unwrap_err();
            assert!(refused.contains("RFC 3339") && refused.contains("seconds"), "{json}");
        }
    }

    #[test]
    fn magnitude_tells_the_unit() {
        for (json, micros) in [
            ("99999999999", 99_999_999_999_000_000),
            ("100000000000", 100_000_000_000_000),
            ("99999999999999", 99_999_999_999_999_000),
            ("100000000000000", 100_000_000_000_000),
            ("99999999999999999", 99_999_999_999_999_999),
            ("-1", -1_000_000),
        ] {
            assert_eq!(read(json, &TimeZone::UTC), Ok(Timestamp::from_micros(micros)), "{json}");
        }
    }

    #[test]
    fn a_naive_time_that_is_ambiguous_or_skipped_is_still_read() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for (naive, expected) in [
            ("2025-10-26T02:30:00", "2025-10-26T00:30:00Z"),
            ("2025-03-30T02:30:00", "2025-03-30T01:30:00Z"),
        ] {
            let read = read(&format!("{naive:?}"), &zone);
            assert_eq!(read, Ok(expected.parse().unwrap()), "{naive}");
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
        let earliest = Timestamp::from_micros(EARLIEST);
        assert_eq!(judge(earliest, now), ClaimedTime::Plausible(earliest));
        let before = earliest.plus_micros(-1);
        assert_eq!(judge(before, now), ClaimedTime::Implausible(before));
    }

    proptest! {
        #[test]
        fn any_instant_survives_each_form(seconds in 0_i64..4_000_000_000, offset in -15 * 4..=15 * 4) {
            let expected = Timestamp::from_micros(seconds * 1_000_000);
            let offset = jiff::tz::Offset::from_seconds(offset * 900).unwrap();
            let zone = TimeZone::fixed(offset);
            let naive = offset.to_datetime(jiff::Timestamp::from_second(seconds).unwrap());
            for json in [
                seconds.to_string(),
                format!("{seconds}.0"),
                format!("\"{seconds}\""),
                format!("\"{expected}\""),
                format!("\"{naive}\""),
                format!("\"{naive}{offset}\""),
            ] {
                prop_assert_eq!(read(&json, &zone), Ok(expected), "{}", json);
            }
            if seconds >= 100_000_000 {
                for scale in [1_000, 1_000_000] {
                    let json = (seconds * scale).to_string();
                    prop_assert_eq!(read(&json, &zone), Ok(expected), "{}", json);
                }
            }
        }

        #[test]
        fn no_text_panics(text in ".*", digits in "[0-9.eE+:TZ -]{0,30}") {
            for text in [text, digits] {
                let _ = read_time(&Json::Text(text.into()), &TimeZone::UTC);
            }
        }

        #[test]
        fn no_number_panics(number in any::<f64>(), integer in any::<i64>()) {
            let _ = (from_float(number), from_integer(integer));
        }
    }
}
