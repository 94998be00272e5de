//! Durations and sizes as people write them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration such as `"10s"` or `"1h30m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A size in bytes, such as `4096` or `"64KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

const PERIODS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &[(&str, u64)] =
    &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1), ("", 1)];

/// A whole number followed by one of the units.
fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// One or more numbers with their units, added up.
fn read_period(text: &str) -> Option<Period> {
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = rest.get(digits..)?.find(|c: char| c.is_ascii_digit());
        let (part, after) = rest.split_at_checked(unit.map_or(rest.len(), |unit| digits + unit))?;
        millis = millis.checked_add(read(part, PERIODS)?)?;
        rest = after;
    }
    (!text.trim().is_empty()).then_some(Period(Duration::from_millis(millis)))
}

fn write(value: u64, units: &[(&str, u64)]) -> String {
    let largest = units
        .iter()
        .filter(|(name, scale)| !name.is_empty() && value.is_multiple_of(*scale))
        .max_by_key(|(_, scale)| *scale);
    match largest {
        Some((name, scale)) if value > 0 => format!("{}{name}", value / scale),
        _ => format!("0{}", units.iter().find(|(_, scale)| *scale == 1_000).map_or("B", |u| u.0)),
    }
}

impl Period {
    pub const ZERO: Self = Self(Duration::ZERO);

    pub fn as_micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }

    pub fn whole_seconds(self) -> u32 {
        u32::try_from(self.0.as_secs()).unwrap_or(u32::MAX)
    }
}

impl Bytes {
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

struct Expecting<T>(&'static str, fn(&str) -> Option<T>, fn(u64) -> Option<T>);

impl<T> de::Visitor<'_> for Expecting<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let size = u64::try_from(number).ok().and_then(self.2);
        size.ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.2)(number).ok_or_else(|| E::invalid_type(de::Unexpected::Unsigned(number), &self))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a duration such as \"10s\" or \"5m\"";
        deserializer.deserialize_any(Expecting(expected, read_period, |_| None))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| read(text, SIZES).map(Self);
        deserializer.deserialize_any(Expecting("a size such as 4096 or \"64KiB\"", read, |bytes| {
            Some(Self(bytes))
        }))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        f.write_str(&write(millis, PERIODS))
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write(self.0, SIZES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_of_one_or_more_parts() {
        let read = |text| read_period(text).map(|period| period.0.as_millis());
        assert_eq!(read("60s"), Some(60_000));
        assert_eq!(read("1h30m"), Some(5_400_000));
        assert_eq!(read("1m 500ms"), Some(60_500));
        assert_eq!(read("0s"), Some(0));
        for wrong in ["", "10", "s", "1x", "1h30", "-1s", "99999999999999999999s"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(Period(Duration::from_secs(5_400)).to_string(), "90m");
    }
}
