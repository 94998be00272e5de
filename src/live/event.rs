//! Events, and how they look on the wire: one buffer holds an event's Server-Sent Events form, and its
//! JSON, which is what WebSocket clients get, is a part of it.

use std::{fmt, io::Write};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{cursor::Cursor, filter::Kind};
use crate::telemetry::{DeviceKey, Reading, Timestamp};

/// A payload is shown up to this many bytes.
const SHOWN_PAYLOAD_MAX: usize = 4_096;

/// Something that happened, encoded.
pub struct Event {
    block: Bytes,
    json: Bytes,
}

/// Something that happened to an alarm; both as they are shown elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmChange {
    /// What happened: a line of its history.
    pub event: Value,
    /// The alarm as it stands afterwards.
    pub alarm: Value,
}

/// A device's message as it came, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RawMessage<'a> {
    pub device: &'a DeviceKey,
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// `stored`, `partial`, `refused`, …
    pub outcome: &'static str,
    /// Why, where something was refused.
    pub detail: Option<String>,
    pub received_at: Timestamp,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Shape<'a> {
    SensorData {
        sensor_id: i64,
        id: Text<'a, Cursor>,
        data: ReadingData<'a>,
    },
    Presence {
        device: &'a str,
        online: bool,
        at: Text<'a, Timestamp>,
    },
    Alarm {
        id: Text<'a, Cursor>,
        event: &'a Value,
        alarm: &'a Value,
    },
    Message {
        device: &'a str,
        topic: &'a str,
        received_at: Text<'a, Timestamp>,
        outcome: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        payload_bytes: usize,
        #[serde(flatten)]
        payload: Payload,
    },
    Gap {
        missed: Option<u64>,
    },
}

#[derive(Serialize)]
struct ReadingData<'a> {
    device: &'a str,
    sensor: &'a str,
    sensor_id: i64,
    event_time: Text<'a, Timestamp>,
    received_at: Text<'a, Timestamp>,
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    quality: &'a str,
}

/// Text where it is text; cut where it is long.
#[derive(Serialize)]
#[serde(untagged)]
enum Payload {
    Text { payload_text: String },
    Binary { payload_base64: String },
}

/// What prints itself.
struct Text<'a, T>(&'a T);

impl<T: fmt::Display> Serialize for Text<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

impl Event {
    /// `cursor` is where the stream stands with it; here and below.
    pub fn reading(reading: &Reading, cursor: Cursor) -> Self {
        let shape = Shape::SensorData {
            sensor_id: reading.sensor_id.0,
            id: Text(&cursor),
            data: ReadingData {
                device: reading.device.as_str(),
                sensor: reading.sensor.as_str(),
                sensor_id: reading.sensor_id.0,
                event_time: Text(&reading.event_time),
                received_at: Text(&reading.received_at),
                value: reading.value,
                unit: reading.unit.as_deref(),
                quality: reading.quality.as_str(),
            },
        };
        Self::encode(Kind::Readings.label(), Some(cursor), &shape)
    }

    pub fn presence(device: &DeviceKey, online: bool, at: Timestamp) -> Self {
        let shape = Shape::Presence { device: device.as_str(), online, at: Text(&at) };
        Self::encode(Kind::Presence.label(), None, &shape)
    }

    pub fn alarm(change: &AlarmChange, cursor: Cursor) -> Self {
        let AlarmChange { event, alarm } = change;
        let shape = Shape::Alarm { id: Text(&cursor), event, alarm };
        Self::encode(Kind::Alarms.label(), Some(cursor), &shape)
    }

    pub fn message(message: &RawMessage<'_>) -> Self {
        let shape = Shape::Message {
            device: message.device.as_str(),
            topic: message.topic,
            received_at: Text(&message.received_at),
            outcome: message.outcome,
            detail: message.detail.as_deref(),
            payload_bytes: message.payload.len(),
            payload: Payload::of(message.payload),
        };
        Self::encode(Kind::Messages.label(), None, &shape)
    }

    /// `None`: nobody knows how many.
    pub fn gap(missed: Option<u64>) -> Self {
        Self::encode("gap", None, &Shape::Gap { missed })
    }

    #[cfg(test)]
    pub(super) fn raw(json: String) -> Self {
        Self { block: Bytes::new(), json: json.into() }
    }

    fn encode(name: &str, cursor: Option<Cursor>, shape: &Shape<'_>) -> Self {
        let mut block = Vec::with_capacity(384);
        // Writing to memory does not fail, and nothing here has keys that are no text.
        let _ = match cursor {
            Some(cursor) => write!(block, "event: {name}\nid: {cursor}\ndata: "),
            None => write!(block, "event: {name}\ndata: "),
        };
        let start = block.len();
        if let Err(error) = serde_json::to_writer(&mut block, shape) {
            tracing::error!(%error, "an event can't be encoded");
        }
        let end = block.len();
        block.extend_from_slice(b"\n\n");
        let block = Bytes::from(block);
        let json = block.slice(start..end);
        Self { block, json }
    }

    /// As a block of a `text/event-stream`.
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// As JSON.
    pub fn json(&self) -> &Bytes {
        &self.json
    }
}

impl Payload {
    fn of(payload: &[u8]) -> Self {
        let shown = payload.get(..SHOWN_PAYLOAD_MAX).unwrap_or(payload);
        // The cut may have parted a character.
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() && shown.len() < payload.len() => {
                shown.get(..error.valid_up_to()).and_then(|part| std::str::from_utf8(part).ok())
            }
            Err(_) => None,
        };
        match text {
            Some(text) => Self::Text { payload_text: text.to_owned() },
            None => {
                use base64::Engine;
                let payload_base64 = base64::engine::general_purpose::STANDARD.encode(shown);
                Self::Binary { payload_base64 }
            }
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.json))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::telemetry::{Position, Quality, SensorId, SensorName};

    fn shown(event: &Event) -> Value {
        let text = std::str::from_utf8(event.block()).unwrap();
        let data = text.split_once("data: ").unwrap().1;
        assert_eq!(data.as_bytes(), [&event.json()[..], b"\n\n"].concat(), "{text}");
        serde_json::from_slice(event.json()).unwrap()
    }

    #[test]
    fn a_reading_has_the_source_s_shape_and_an_id() {
        let at = Timestamp::from_micros(1_766_125_800_000_000);
        let reading = Reading {
            device: DeviceKey::new("esp").unwrap(),
            sensor: SensorName::in_payload("temperature").unwrap(),
            sensor_id: SensorId(7),
            event_time: at,
            received_at: at.plus_micros(5),
            value: Some(25.5),
            unit: Some("°C".into()),
            quality: Quality::Good,
        };
        let position = Position {
            received_at: reading.received_at,
            sensor: reading.sensor_id,
            event_time: reading.event_time,
        };
        let event = Event::reading(&reading, Cursor { position, alarm: 12 });
        let expected = json!({
            "type": "sensor_data", "sensor_id": 7, "id": "1766125800000005.7.1766125800000000.12",
            "data": {
                "device": "esp", "sensor": "temperature", "sensor_id": 7,
                "event_time": "2025-12-19T06:30:00.000Z",
                "received_at": "2025-12-19T06:30:00.000005Z",
                "value": 25.5, "unit": "°C", "quality": "good",
            },
        });
        assert_eq!(shown(&event), expected);
        let head = "event: sensor_data\nid: 1766125800000005.7.1766125800000000.12\ndata: {";
        assert!(event.block().starts_with(head.as_bytes()));
    }

    #[test]
    fn line_breaks_don_t_leave_their_line() {
        let device = DeviceKey::new("d").unwrap();
        let event = Event::message(&RawMessage {
            device: &device,
            topic: "devices/d/data",
            payload: b"{\n\r\n\"t\": 1}\n\ndata: x\n\n",
            outcome: "refused",
            detail: Some("a\nb".to_owned()),
            received_at: Timestamp::UNIX_EPOCH,
        });
        assert_eq!(shown(&event)["detail"], "a\nb");
        let lines = std::str::from_utf8(event.block()).unwrap().lines().count();
        assert_eq!(lines, 3, "event, data, and the end");
    }

    #[test]
    fn long_payloads_are_cut_between_characters() {
        let device = DeviceKey::new("d").unwrap();
        let message = |payload: &[u8]| {
            let event = Event::message(&RawMessage {
                device: &device,
                topic: "t",
                payload,
                outcome: "refused",
                detail: None,
                received_at: Timestamp::UNIX_EPOCH,
            });
            shown(&event)
        };
        let long = format!("x{}", "é".repeat(4_000));
        let told = message(long.as_bytes());
        assert_eq!(
            (&told["payload_bytes"], told["payload_text"].as_str().unwrap().len()),
            (&json!(8_001), 4_095)
        );
        assert_eq!(message(b"\xff\xfe")["payload_base64"], "//4=");
    }

    #[test]
    fn an_alarm_is_told_with_what_happened_to_it() {
        let change = AlarmChange { event: json!({"kind": "raised"}), alarm: json!({"id": 3}) };
        let position = Position::end_of(Timestamp::UNIX_EPOCH);
        let cursor = Cursor { position, alarm: 4 };
        let event = Event::alarm(&change, cursor);
        assert_eq!(
            shown(&event),
            json!({
                "type": "alarm", "id": cursor.to_string(),
                "event": {"kind": "raised"}, "alarm": {"id": 3},
            })
        );
        assert!(event.block().starts_with(format!("event: alarm\nid: {cursor}\n").as_bytes()));
        assert_eq!(shown(&Event::gap(Some(4))), json!({"type": "gap", "missed": 4}));
    }
}
