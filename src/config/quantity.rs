//! Durations and sizes as people write them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration such as `"10s"`.
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
        let read = |text: &str| read(text, PERIODS).map(|ms| Self(Duration::from_millis(ms)));
        deserializer.deserialize_any(Expecting(
            "a duration such as \"10s\" or \"5m\"",
            read,
            |_| None,
        ))
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

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        serializer.serialize_str(&write(millis, PERIODS))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write(self.0, SIZES))
    }
}
