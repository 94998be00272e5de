//! One line of an import as a reading: CSV by the columns of its head, or JSON. Pure.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    ingest::{is_plausible, read_time_text},
    telemetry::{ClaimedTime, DeviceKey, Quality, Sample, SensorName, Timestamp, Unit},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Ndjson,
}

impl Format {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// What lines are read against.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// Of times without an offset.
    pub(super) zone: &'a TimeZone,
    pub(super) now: Timestamp,
}

/// A reading and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) device: DeviceKey,
    pub(super) sample: Sample,
}

/// Where in a CSV record each field stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    device: usize,
    sensor: usize,
    time: usize,
    value: usize,
    quality: Option<usize>,
    unit: Option<usize>,
    count: usize,
}

/// Names of the fields; the first is the one that exports write.
const DEVICE: &[&str] = &["device", "device_id"];
const SENSOR: &[&str] = &["sensor", "sensor_name"];
const TIME: &[&str] = &["event_time", "timestamp", "time", "ts"];

impl Columns {
    /// # Errors
    /// Which column is missing.
    pub(super) fn read(head: &str) -> Result<Self, String> {
        let names = record(head)?;
        let find = |known: &[&str]| {
            known.iter().find_map(|known| {
                names.iter().position(|name| name.trim().eq_ignore_ascii_case(known))
            })
        };
        let need = |known: &'static [&'static str]| {
            find(known)
                .ok_or_else(|| format!("the head of the CSV has no column {}", known.join(" or ")))
        };
        Ok(Self {
            device: need(DEVICE)?,
            sensor: need(SENSOR)?,
            time: need(TIME)?,
            value: need(&["value"])?,
            quality: find(&["quality"]),
            unit: find(&["unit"]),
            count: names.len(),
        })
    }

    /// # Errors
    /// What is wrong with the line.
    pub(super) fn row(&self, line: &str, terms: Terms<'_>) -> Result<Row, String> {
        let fields = record(line)?;
        if fields.len() != self.count {
            return Err(format!("{} fields, where the head has {}", fields.len(), self.count));
        }
        let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
        let given = |at: Option<usize>| at.map(field).filter(|text| !text.is_empty());
        let value = match field(self.value) {
            "" | "null" | "NaN" | "nan" => None,
            text => Some(text.parse::<f64>().map_err(|_| format!("{text:?} is no number"))?),
        };
        build(
            (field(self.device), field(self.sensor), field(self.time)),
            value,
            (given(self.quality), given(self.unit)),
            terms,
        )
    }
}

#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow, alias = "device_id")]
    device: Cow<'a, str>,
    #[serde(borrow, alias = "sensor_name")]
    sensor: Cow<'a, str>,
    #[serde(alias = "timestamp", alias = "time", alias = "ts")]
    event_time: Value,
    value: Option<f64>,
    #[serde(borrow, default)]
    quality: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    unit: Option<Cow<'a, str>>,
}

/// # Errors
/// What is wrong with the line.
pub(super) fn json_row(line: &str, terms: Terms<'_>) -> Result<Row, String> {
    let read: JsonLine<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let time = match &read.event_time {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    let others = (read.quality.as_deref(), read.unit.as_deref());
    build((&read.device, &read.sensor, &time), read.value, others, terms)
}

fn build(
    (device, sensor, time): (&str, &str, &str),
    value: Option<f64>,
    (quality, unit): (Option<&str>, Option<&str>),
    terms: Terms<'_>,
) -> Result<Row, String> {
    let device = DeviceKey::new(device).map_err(|error| format!("{device:?}: {error}"))?;
    let sensor = SensorName::in_topic(sensor).map_err(|error| format!("{sensor:?}: {error}"))?;
    let time = read_time_text(time, terms.zone)?;
    if !is_plausible(time, terms.now) {
        return Err(format!("{time} is before the year 2000, or ahead of the present"));
    }
    if value.is_some_and(|value| !value.is_finite()) {
        return Err("the value is no finite number".to_owned());
    }
    let own: Quality = match quality {
        None if value.is_none() => Quality::Bad,
        None => Quality::Good,
        Some(word) => word.parse().map_err(|error| format!("{error}"))?,
    };
    let quality = if value.is_none() { Quality::Bad } else { own };
    let unit = unit.map(Unit::new).transpose().map_err(|error| error.to_string())?.flatten();
    let time = ClaimedTime::Plausible(time);
    Ok(Row { device, sample: Sample { sensor, value, quality, unit, time } })
}

/// The fields of a CSV record (RFC 4180); one record is one line.
fn record(line: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut fields = Vec::with_capacity(8);
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => match rest.find(',') {
                Some(at) => (Cow::Borrowed(&rest[..at]), &rest[at..]),
                None => (Cow::Borrowed(rest), ""),
            },
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("text follows a closing quote".to_owned()),
        }
    }
}

/// A field whose opening quote has been read, and what follows its closing one.
fn quoted_field(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut field = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let Some(at) = rest.find('"') else {
            return Err("a quote is not closed; a record is one line".to_owned());
        };
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if field.is_empty() {
            field = Cow::Borrowed(before);
        } else {
            field.to_mut().push_str(before);
        }
        match after.strip_prefix('"') {
            Some(next) => {
                field.to_mut().push('"');
                rest = next;
            }
            None => return Ok((field, after)),
        }
    }
}

/// Writes a field so that `record` reads it.
pub fn csv_field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
        return Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")));
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(zone: &TimeZone) -> Terms<'_> {
        Terms { zone, now: Timestamp::from_micros(1_766_125_800_000_000) }
    }

    #[test]
    fn columns_stand_in_any_order_and_under_any_of_their_names() {
        let zone = TimeZone::UTC;
        let columns = Columns::read("unit,Value,ts,sensor_name,device_id").unwrap();
        let row = columns.row("\"°C, wet\",25.5,1766125800,t,d", terms(&zone)).unwrap();
        assert_eq!((row.device.as_str(), row.sample.sensor.as_str()), ("d", "t"));
        assert_eq!((row.sample.value, row.sample.quality), (Some(25.5), Quality::Good));
        assert_eq!(row.sample.unit.unwrap().as_str(), "°C, wet");
        assert!(Columns::read("device,sensor,value").unwrap_err().contains("event_time"));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let zone = TimeZone::UTC;
        let columns = Columns::read("device,sensor,event_time,value,quality").unwrap();
        for (line, expected) in [
            ("d,t,2025-12-19T06:30:00Z,1", "4 fields"),
            ("d d,t,2025-12-19T06:30:00Z,1,", "device id"),
            ("d,t t,2025-12-19T06:30:00Z,1,", "sensor id"),
            ("d,t,yesterday,1,", "RFC 3339"),
            ("d,t,1999-12-19T06:30:00Z,1,", "2000"),
            ("d,t,2999-12-19T06:30:00Z,1,", "ahead"),
            ("d,t,2025-12-19T06:30:00Z,one,", "no number"),
            ("d,t,2025-12-19T06:30:00Z,inf,", "finite"),
            ("d,t,2025-12-19T06:30:00Z,1,fine", "quality"),
            ("d,\"t,2025-12-19T06:30:00Z,1,", "not closed"),
            ("d,\"t\"t,2025-12-19T06:30:00Z,1,", "closing quote"),
        ] {
            let refused = columns.row(line, terms(&zone)).unwrap_err();
            assert!(refused.contains(expected), "{line}: {refused}");
        }
        for line in ["", "{}", "[]", r#"{"device":"d","sensor":"t","event_time":[],"value":1}"#] {
            assert!(json_row(line, terms(&zone)).is_err(), "{line}");
        }
    }

    #[test]
    fn a_reading_without_a_value_is_bad() {
        let zone = TimeZone::UTC;
        let line = r#"{"device":"d","sensor":"t","ts":1766125800000,"value":null,"more":[1]}"#;
        let row = json_row(line, terms(&zone)).unwrap();
        assert_eq!((row.sample.value, row.sample.quality), (None, Quality::Bad));
        let columns = Columns::read("device,sensor,time,value").unwrap();
        assert_eq!(columns.row("d,t,1766125800,", terms(&zone)), Ok(row));
    }

    proptest! {
        #[test]
        fn fields_are_read_as_they_were_written(fields in prop::collection::vec("[^\n\r]{0,12}", 1..6)) {
            let line: Vec<_> = fields.iter().map(|field| csv_field(field)).collect();
            let line = line.join(",");
            let read = record(&line).unwrap();
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn no_line_panics(line in ".{0,80}") {
            let zone = TimeZone::UTC;
            let columns = Columns::read("device,sensor,event_time,value").unwrap();
            let _ = (columns.row(&line, terms(&zone)), json_row(&line, terms(&zone)), Columns::read(&line));
        }
    }
}
