use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::telemetry::Quality;

const NOW: i64 = 1_766_125_800_000_000;

fn decode_as(payload: &str, sensor: Option<&str>, kind: MessageKind) -> Result<Decoded, Rejection> {
    let device = DeviceKey::new("dev-1").unwrap();
    let sensor = sensor.map(|name| SensorName::in_topic(name).unwrap());
    decode(
        payload.as_bytes(),
        &MessageContext {
            kind,
            form: PayloadForm::Auto,
            device: Some(&device),
            sensor: sensor.as_ref(),
            received_at: Timestamp::from_micros(NOW),
            zone: &TimeZone::UTC,
        },
    )
}

fn data(payload: &str) -> Result<Decoded, Rejection> {
    decode_as(payload, None, MessageKind::Data)
}

/// `sensor=value quality [time]` of each reading, then each rejection.
fn shown(decoded: &Decoded) -> Vec<String> {
    let readings = decoded.readings.iter().map(|sample| {
        let value = sample.value.map_or("none".to_owned(), |value| value.to_string());
        let time = match sample.time {
            ClaimedTime::Plausible(time) => format!(" {time}"),
            ClaimedTime::Implausible(time) => format!(" not {time}"),
            ClaimedTime::Absent => String::new(),
        };
        let unit = sample.unit.as_ref().map_or("", |unit| unit.as_str());
        format!("{}={value}{unit} {}{time}", sample.sensor, sample.quality)
    });
    let rejections = decoded
        .rejections
        .iter()
        .map(|r| format!("!{} {}", r.sensor.as_deref().unwrap_or("-"), r.reason.label()));
    readings.chain(rejections).collect()
}

fn check(payload: &str, expected: &[&str]) {
    assert_eq!(shown(&data(payload).unwrap()), expected, "{payload}");
}

#[test]
fn rich_form_of_the_aiot_service() {
    let payload = r#"{
      "sensors": [
        {"sensor_name": "temperature", "value": 25.5, "unit": "°C",
         "timestamp": "2025-12-19T14:30:00+08:00"},
        {"sensor_name": "humidity", "value": 60, "unit": "%"}
      ],
      "status": {"ip_address": "192.168.1.100", "rssi": -50, "battery": 95},
      "location": {"latitude": 39.9042, "longitude": 116.4074},
      "timestamp": "2025-12-19T14:30:00+08:00"
    }"#;
    check(
        payload,
        &[
            "temperature=25.5°C good 2025-12-19T06:30:00.000Z",
            "humidity=60% good 2025-12-19T06:30:00.000Z",
        ],
    );
    let report = data(payload).unwrap().report;
    assert_eq!(report.facts.ip.as_deref(), Some("192.168.1.100"));
    assert_eq!(report.facts.location.map(|l| l.latitude), Some(39.9042));
    assert_eq!(report.status.get("battery"), Some(&json!(95)));
}

#[test]
fn flat_form_and_its_facts() {
    check(
        r#"{"temperature": 25.5, "humidity": 60, "light": 850}"#,
        &["humidity=60 good", "light=850 good", "temperature=25.5 good"],
    );
    let decoded =
        data(r#"{"on": true, "fw": "1.2", "ts": 1766125800, "gone": null, "device_id": "dev-1"}"#)
            .unwrap();
    assert_eq!(shown(&decoded), ["on=1 good 2025-12-19T06:30:00.000Z"]);
    assert_eq!(Value::Object(decoded.report.extra), json!({"fw": "1.2", "gone": null}));
}

#[test]
fn batch_single_and_esp32_forms() {
    check(
        r#"[{"ts": 1766125800000, "values": {"t": 1}}, {"ts": 1766125801000, "values": {"t": 2}}]"#,
        &["t=1 good 2025-12-19T06:30:00.000Z", "t=2 good 2025-12-19T06:30:01.000Z"],
    );
    check(r#"{"ts": 1766125800, "values": {"t": 1}}"#, &["t=1 good 2025-12-19T06:30:00.000Z"]);
    for (payload, expected) in [
        ("25.5", "7=25.5 good"),
        (" -3e2\n", "7=-300 good"),
        ("true", "7=1 good"),
        ("NaN", "7=none bad"),
        ("null", "7=none bad"),
        (r#"{"value": 25.5, "unit": "°C", "quality": "uncertain"}"#, "7=25.5°C uncertain"),
        (r#"{"value": null, "timestamp": 1766125800}"#, "7=none bad 2025-12-19T06:30:00.000Z"),
    ] {
        let decoded = decode_as(payload, Some("7"), MessageKind::Data).unwrap();
        assert_eq!(shown(&decoded), [expected], "{payload}");
    }
    let body = r#"{"deviceId": "dev-1", "fwVersion": "1.4.0", "ip": "192.168.1.100",
                   "uptimeSec": 3600, "tempC": 25.5}"#;
    check(body, &["temperature=25.5°C good"]);
    let facts = data(body).unwrap().report.facts;
    assert_eq!((facts.uptime_seconds, facts.firmware.as_deref()), (Some(3600), Some("1.4.0")));
    check(&body.replace("25.5", "null"), &["temperature=none°C bad"]);
}

#[test]
fn good_readings_stay_when_others_are_refused() {
    check(
        r#"{"sensors": [{"sensor_name": "a", "value": 1}, {"sensor_name": "123abc", "value": 1},
            {"sensor_name": "b", "value": "1"}, {"value": 2}, {"sensor_name": "c"},
            {"sensor_name": "a", "value": 2}, {"sensor_name": "d", "value": 1, "timestamp": "?"},
            {"sensor_name": "e", "value": 1, "quality": "fine"}],
            "location": {"latitude": 91, "longitude": 0}}"#,
        &[
            "a=1 good",
            "!123abc name",
            "!b value_type",
            "!sensors[3] name",
            "!c value_type",
            "!a repeated",
            "!d timestamp",
            "!e quality",
            "!location location",
        ],
    );
    check(r#"{"ok": 1, "Bad Name": 2}"#, &["ok=1 good", "!Bad Name name"]);
}

#[test]
fn a_wrong_clock_is_replaced_and_said() {
    check(r#"{"t": 1, "ts": 5}"#, &["t=1 uncertain not 1970-01-01T00:00:05.000Z"]);
    check(r#"{"t": 1, "ts": 1766129400}"#, &["t=1 uncertain not 2025-12-19T07:30:00.000Z"]);
}

#[test]
fn small_damage_is_mended() {
    check("\u{feff}{\"t\": 1,}\0", &["t=1 good"]);
    check(r#"{"t": NaN, "u": -Infinity, "v": 2}"#, &["t=none bad", "u=none bad", "v=2 good"]);
    let repairs = data("\u{feff}{\"t\": 1,}\0").unwrap().repairs;
    assert_eq!(repairs.labels().count(), 3);
}

#[test]
fn what_can_not_be_used_says_why() {
    for (payload, reason) in [
        ("", RejectionReason::Empty),
        ("{}", RejectionReason::Empty),
        ("{\"t\": ", RejectionReason::NotJson),
        ("hello", RejectionReason::NotJson),
        ("42", RejectionReason::Shape),
        (r#"{"device_id": "other", "t": 1}"#, RejectionReason::DeviceMismatch),
        (r#"{"t": 1, "ts": "noon"}"#, RejectionReason::Timestamp),
        (r#"{"123": 1}"#, RejectionReason::Name),
        (r#"{"sensors": 5}"#, RejectionReason::Shape),
        (r#"{"t": 1e999}"#, RejectionReason::NotJson),
    ] {
        let rejection = data(payload).unwrap_err();
        assert_eq!(rejection.reason, reason, "{payload}: {rejection}");
        assert!(!rejection.detail.is_empty());
    }
}

#[test]
fn status_and_heartbeat() {
    let decoded = decode_as(
        r#"{"status": "online", "battery": 95, "signal": "good"}"#,
        None,
        MessageKind::Status,
    )
    .unwrap();
    assert!(decoded.readings.is_empty());
    assert_eq!(decoded.report.facts.status.as_deref(), Some("online"));
    assert_eq!(decoded.report.status.get("battery"), Some(&json!(95)));
    let word = decode_as("offline", None, MessageKind::Status).unwrap();
    assert_eq!(word.report.facts.status.as_deref(), Some("offline"));
    for payload in ["", "garbage", r#"{"timestamp": "2025-12-19T14:30:00+08:00"}"#] {
        assert!(decode_as(payload, None, MessageKind::Heartbeat).is_ok(), "{payload}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(payload in prop::collection::vec(any::<u8>(), 0..200), sensor: bool) {
        let sensor = sensor.then_some("s");
        let text = String::from_utf8_lossy(&payload);
        for kind in [MessageKind::Data, MessageKind::Status, MessageKind::Heartbeat] {
            let _ = decode_as(&text, sensor, kind);
        }
    }

    #[test]
    fn no_mutation_of_a_message_panics(at in 0_usize..120, with in any::<u8>()) {
        let mut payload = br#"{"sensors":[{"sensor_name":"t","value":25.5,"timestamp":"2025-12-19T14:30:00+08:00"}],"ts":1766125800}"#.to_vec();
        let at = at % payload.len();
        payload[at] = with;
        let _ = data(&String::from_utf8_lossy(&payload));
    }

    #[test]
    fn flat_messages_come_back_as_they_were(
        values in prop::collection::btree_map("[a-z_][a-z0-9_]{0,10}", -1e9..1e9, 1..20),
    ) {
        prop_assume!(values.keys().all(|name| !matches!(name.as_str(),
            "ts" | "timestamp" | "values" | "sensors" | "device_id" | "device_uuid" | "uuid")));
        let decoded = data(&serde_json::to_string(&values).unwrap()).unwrap();
        let back: std::collections::BTreeMap<String, f64> = decoded
            .readings
            .iter()
            .map(|sample| (sample.sensor.to_string(), sample.value.unwrap()))
            .collect();
        prop_assert_eq!(back, values);
        prop_assert!(decoded.readings.iter().all(|sample| sample.quality == Quality::Good));
    }
}
