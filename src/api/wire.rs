//! Types that several resources share on the wire.

use std::{borrow::Cow, time::Duration};

use poem::web::Field;
use poem_openapi::{
    Object,
    registry::{MetaSchema, MetaSchemaRef},
    types::{
        ParseError, ParseFromJSON, ParseFromMultipartField, ParseFromParameter, ParseResult,
        ToJSON, Type,
    },
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{body, problem::Fault};
use crate::{
    config::Period,
    telemetry::{self, Timestamp},
};

/// What a person may ask for to last.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A point in time, RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Timestamp);

impl Type for Time {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl ParseFromJSON for Time {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value.unwrap_or_default() {
            Value::String(text) => Self::parse_from_parameter(&text),
            other => Err(ParseError::expected_type(other)),
        }
    }
}

impl ParseFromParameter for Time {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        // In a query an unescaped + reads as a space.
        let text = text.trim().replace(' ', "+");
        text.parse().map(Self).map_err(ParseError::custom)
    }
}

impl ParseFromMultipartField for Time {
    async fn parse_from_multipart(field: Option<Field>) -> ParseResult<Self> {
        match field {
            Some(field) => Self::parse_from_parameter(&field.text().await?),
            None => Err(ParseError::expected_input()),
        }
    }
}

impl ToJSON for Time {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.to_string()))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// The end of a time that is given by its end, at `pointer`, or by how long it lasts.
pub(super) fn end(
    start: Timestamp,
    end: Option<Time>,
    pointer: &str,
    duration: Option<&str>,
) -> Result<Timestamp, Fault> {
    match (end, duration) {
        (Some(end), None) => Ok(end.0),
        (None, Some(duration)) => {
            let period: Period = body::fit(duration.into(), "/duration")?;
            if period.0 > LONGEST {
                return Err(Fault::invalid("/duration", "at most 366d"));
            }
            Ok(start.plus_micros(period.as_micros()))
        }
        _ => {
            let name = pointer.trim_start_matches('/');
            Err(Fault::invalid(pointer, format!("give `{name}` or `duration`")))
        }
    }
}

/// A reading, the same object everywhere
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(example)]
pub(super) struct Reading {
    /// The device's id
    device: String,
    /// The sensor's name within its device
    sensor: String,
    sensor_id: i64,
    /// When it was taken, by the device's clock; ours where it gave none
    event_time: Time,
    /// When it arrived, by our clock
    received_at: Time,
    /// Missing when the sensor reported that it has none
    #[oai(nullable)]
    value: Option<f64>,
    #[oai(skip_serializing_if_is_none)]
    unit: Option<String>,
    /// `good`, `uncertain` or `bad`
    quality: String,
}

impl poem_openapi::types::Example for Reading {
    fn example() -> Self {
        let at = Time(Timestamp::from_micros(1_766_125_800_000_000));
        Self {
            device: "esp".to_owned(),
            sensor: "temperature".to_owned(),
            sensor_id: 7,
            event_time: at,
            received_at: at,
            value: Some(25.5),
            unit: Some("°C".to_owned()),
            quality: "good".to_owned(),
        }
    }
}

impl From<telemetry::Reading> for Reading {
    fn from(reading: telemetry::Reading) -> Self {
        Self {
            device: reading.device.to_string(),
            sensor: reading.sensor.to_string(),
            sensor_id: reading.sensor_id.0,
            event_time: Time(reading.event_time),
            received_at: Time(reading.received_at),
            value: reading.value,
            unit: reading.unit.map(|unit| unit.to_string()),
            quality: reading.quality.to_string(),
        }
    }
}

/// A time in a body.
pub(super) fn time(pointer: &str, text: &str) -> Result<Timestamp, Fault> {
    text.trim().parse().map_err(|_| Fault::invalid(pointer, "a time is RFC 3339"))
}
