use serde_json::{Value, json};

use super::*;

mod properties;

const NOW: i64 = 1_766_125_800_000_000;

fn decode_as(
    payload: impl AsRef<[u8]>,
    sensor: Option<&str>,
    kind: MessageKind,
) -> Result<Decoded, Rejection> {
    let device = DeviceKey::new("dev-1").unwrap();
    let sensor = sensor.map(|name| SensorName::in_topic(name).unwrap());
    decode(
        payload.as_ref(),
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
        &["temperature=25.5 good", "humidity=60 good", "light=850 good"],
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
        (r#"{"sensors": 5}"#, RejectionReason::Shape),
        (r#"{"ts": 1766125800}"#, RejectionReason::Empty),
        (r#"{"t": 1, "ts": 1, "ts": 2}"#, RejectionReason::Repeated),
        ("[1, 2", RejectionReason::NotJson),
        ("  \n", RejectionReason::Empty),
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

#[test]
fn every_example_of_the_sources() {
    check(
        r#"{
    "sensors": [
      {"sensor_name": "temperature", "value": 25.5, "unit": "°C"},
      {"sensor_name": "humidity", "value": 60, "unit": "%"}
    ],
    "status": {
      "ip_address": "192.168.1.100",
      "rssi": -50
    },
    "timestamp": "2025-12-19T14:30:00+08:00"
  }"#,
        &[
            "temperature=25.5°C good 2025-12-19T06:30:00.000Z",
            "humidity=60% good 2025-12-19T06:30:00.000Z",
        ],
    );
    check(
        r#"{
     "sensors": [
       {"sensor_name": "temperature", "value": 25.5},
       {"sensor_name": "humidity", "value": 60},
       {"sensor_name": "pressure", "value": 1013.25}
     ]
   }"#,
        &["temperature=25.5 good", "humidity=60 good", "pressure=1013.25 good"],
    );
    // What the AIOT service stores, sent back.
    check(
        r#"{
  "sensors": {
    "temperature": {"value": 25.5, "unit": "", "timestamp": "2025-12-19T14:30:00+08:00"},
    "humidity": {"value": 60, "unit": ""}
  },
  "upload_timestamp": "2025-12-19T14:30:00+08:00"
}"#,
        &["temperature=25.5 good 2025-12-19T06:30:00.000Z", "humidity=60 good"],
    );
    check(r#"{"temperature": 25.5}"#, &["temperature=25.5 good"]);
    let at = r#"{"timestamp": "2025-12-19T14:30:00+08:00"}"#;
    let heartbeat = decode_as(at, None, MessageKind::Heartbeat).unwrap();
    assert_eq!(heartbeat.report.reported_at, Some(Timestamp::from_micros(NOW)));
}

#[test]
fn a_device_named_in_the_body() {
    let undirected = |payload: &str| {
        let context = MessageContext {
            kind: MessageKind::Data,
            form: PayloadForm::Auto,
            device: None,
            sensor: None,
            received_at: Timestamp::from_micros(NOW),
            zone: &TimeZone::UTC,
        };
        decode(payload.as_bytes(), &context)
    };
    for (payload, expected) in [
        (r#"{"device_id": "a", "t": 1}"#, Some("a")),
        (r#"{"device_uuid": "u", "t": 1}"#, Some("u")),
        (r#"{"device_uuid": "u", "device_id": "a", "t": 1}"#, Some("a")),
        (r#"{"device_id": 7, "sensors": [{"sensor_name": "t", "value": 1}]}"#, Some("7")),
        (r#"{"device_id": null, "t": 1}"#, None),
        (r#"{"deviceId": "1234567890ABCDEF", "tempC": 1}"#, Some("1234567890ABCDEF")),
    ] {
        assert_eq!(undirected(payload).unwrap().device_in_body.as_deref(), expected, "{payload}");
    }
    check(r#"{"device_id": null, "t": 1}"#, &["t=1 good"]);
    // Another device's element in the same list is not taken for the first one's.
    let decoded = undirected(
        r#"[{"device_id": "a", "ts": 1766125800, "values": {"t": 1}},
            {"device_id": "b", "ts": 1766125801, "values": {"t": 2}}]"#,
    )
    .unwrap();
    assert_eq!(shown(&decoded), ["t=1 good 2025-12-19T06:30:00.000Z", "![1] device_mismatch"]);
    let stranger = decode_as(r#"{"device_id": "other"}"#, None, MessageKind::Heartbeat);
    assert_eq!(stranger.unwrap_err().reason, RejectionReason::DeviceMismatch);
}

#[test]
fn nothing_said_twice_vanishes() {
    check(r#"{"t": 1, "u": 3, "t": 2}"#, &["t=1 good", "u=3 good", "!t repeated"]);
    check(r#"{"t": 1, "fw": "1", "fw": "2"}"#, &["t=1 good", "!fw repeated"]);
    check(
        r#"{"tempC": 20, "temperature": 21, "humidity": 60, "uptime": 5, "freeHeap": 9}"#,
        &["temperature=20°C good", "humidity=60 good", "!temperature repeated"],
    );
    let many: Vec<_> = (0..40).map(|n| format!("\"s{}\": {n}", n % 30)).collect();
    let decoded = data(&format!("{{{}}}", many.join(","))).unwrap();
    assert_eq!((decoded.readings.len(), decoded.rejections.len()), (30, 10));
    assert!(decoded.readings.iter().enumerate().all(|(n, sample)| sample.value == Some(n as f64)));
}

#[test]
fn both_names_of_the_time_are_no_sensor() {
    let at = "t=1 good 2025-12-19T06:30:00.000Z";
    check(r#"{"t": 1, "ts": 1766125900, "timestamp": 1766125800}"#, &[at]);
    check(r#"{"t": 1, "ts": 1766125800, "timestamp": null}"#, &[at]);
    // A sensor's own time wins over its message's.
    check(
        r#"{"sensors": [{"sensor_name": "t", "value": 1, "ts": 1766125800},
                        {"sensor_name": "t", "value": 2}], "timestamp": 1766125801}"#,
        &[at, "t=2 good 2025-12-19T06:30:01.000Z"],
    );
}

#[test]
fn a_number_too_large_is_refused_alone() {
    check(r#"{"t": 1e999, "u": -2}"#, &["u=-2 good", "!t out_of_range"]);
    check(r#"{"t": 1.7976931348623157e308}"#, &[&format!("t={} good", f64::MAX)]);
    assert_eq!(data("{\"t\": 1, \"x\": \"1e999\"}").unwrap().repairs, Repairs::default());
}

#[test]
fn a_mark_of_the_repair_is_only_the_repair_s() {
    let decoded = data(r#"{"t": 1, "name": "\u0000NaN"}"#).unwrap();
    assert_eq!(shown(&decoded), ["t=1 good"]);
    assert_eq!(decoded.report.extra.get("name"), Some(&json!("\u{0}NaN")));
    let status = decode_as(r#"{"rssi": NaN, "battery": 5}"#, None, MessageKind::Status).unwrap();
    assert_eq!(Value::Object(status.report.status), json!({"rssi": null, "battery": 5}));
}

#[test]
fn a_message_is_bounded() {
    let flat = |sensors: usize| {
        let entries: Vec<_> = (0..sensors).map(|n| format!("\"s{n}\":1")).collect();
        format!("{{{}}}", entries.join(","))
    };
    assert_eq!(data(&flat(SENSORS_MAX)).unwrap().readings.len(), SENSORS_MAX);
    let batch = |elements: usize| {
        let one = |n| format!(r#"{{"ts": {}, "values": {{"t": 1}}}}"#, 1_700_000_000 + n);
        format!("[{}]", (0..elements).map(one).collect::<Vec<_>>().join(","))
    };
    assert_eq!(data(&batch(SAMPLES_MAX)).unwrap().readings.len(), SAMPLES_MAX);
    let rich: Vec<_> =
        (0..=SENSORS_MAX).map(|n| format!(r#"{{"sensor_name":"s{n}","value":1}}"#)).collect();
    for payload in [
        flat(SENSORS_MAX + 1),
        batch(SAMPLES_MAX + 1),
        format!("[{},{}]", flat(SENSORS_MAX), flat(SENSORS_MAX + 1).replace("s", "r")),
        format!(r#"{{"sensors": [{}]}}"#, rich.join(",")),
    ] {
        match data(&payload) {
            Err(rejection) => assert_eq!(rejection.reason, RejectionReason::TooMany),
            Ok(decoded) => assert_eq!(shown(&decoded).last().unwrap(), "![1] too_many"),
        }
    }
    let deep = format!("{}{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert_eq!(data(&deep).unwrap_err().reason, RejectionReason::NotJson);
}

#[test]
fn a_message_of_which_all_is_refused_names_each() {
    let decoded = data(r#"{"Bad": 1, "123": 2, "fw": "x"}"#).unwrap();
    assert!(!decoded.is_usable());
    assert_eq!(shown(&decoded), ["!Bad name", "!123 name"]);
    // The status beside them is good.
    let decoded = data(r#"{"sensors": [{"sensor_name": "T", "value": 1}], "status": {"rssi": 1}}"#);
    assert!(decoded.unwrap().is_usable());
    assert!(data(r#"{"message": "started"}"#).unwrap().is_usable());
}

#[test]
fn a_bare_value_must_be_a_measurement() {
    for payload in [r#""25.5""#, "[1]", r#"{"value": "25.5"}"#, r#"{"value": [1]}"#, "{}"] {
        let rejection = decode_as(payload, Some("7"), MessageKind::Data).unwrap_err();
        assert_eq!(rejection.reason, RejectionReason::ValueType, "{payload}");
        assert_eq!(rejection.sensor.as_deref(), Some("7"), "{payload}");
        assert!(rejection.detail.contains("number"), "{payload}: {rejection}");
    }
    let not_utf8 = decode_as(b"{\"t\": \"\xff\"}", None, MessageKind::Data).unwrap_err();
    assert_eq!(not_utf8.reason, RejectionReason::NotUtf8);
    assert!(not_utf8.detail.contains("byte 7"), "{not_utf8}");
}
