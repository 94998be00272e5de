//! Verdicts: what is taken, what is refused, and how the sender learns it, in both versions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Brooklet;

#[tokio::test]
async fn good_readings_are_kept_and_bad_ones_refused_by_name() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let acked = device.publish("devices/d/data", r#"{"ok": 1, "Bad Name": 2}"#).await;
    assert_eq!(acked.reason, 0);
    assert!(acked.properties.contains("Bad Name"), "{acked:?}");
    assert!(acked.properties.contains("1 stored, 1 refused"), "{acked:?}");
    assert_eq!(brooklet.latest("d").await.len(), 1);
    let quarantine = brooklet.get("/api/quarantine?device_id=d").await;
    assert_eq!(quarantine["items"][0]["reason"], "name");
    assert_eq!(quarantine["items"][0]["payload_text"], r#"{"ok": 1, "Bad Name": 2}"#);
}

#[tokio::test]
async fn a_message_refused_whole_names_each_reading_and_teaches_no_device() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let acked = device.publish("devices/d/data", r#"{"Bad Name": 1, "t": 1e999}"#).await;
    assert_eq!(acked.reason, 0x83);
    for named in ["Bad Name", "a sensor name is", "the number is too large"] {
        assert!(acked.properties.contains(named), "{acked:?}");
    }
    assert_eq!(brooklet.get("/api/devices").await["items"], json!([]));
    let quarantine = brooklet.get("/api/quarantine?device_id=d").await;
    assert_eq!(quarantine["items"].as_array().unwrap().len(), 1);
    // The status beside refused readings is taken.
    let body = r#"{"sensors": [{"sensor_name": "T", "value": 1}], "status": {"battery": 5}}"#;
    let acked = device.publish("devices/d/data", body).await;
    assert_eq!(acked.reason, 0);
    assert!(acked.properties.contains("0 stored, 1 refused"), "{acked:?}");
    let shown = brooklet.get("/api/devices/d").await;
    assert_eq!(shown["last_report"]["status"]["battery"], 5);
}

#[tokio::test]
async fn each_refusal_has_its_code() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    for (topic, payload, code) in [
        ("devices/d/data", &b"not json"[..], 0x83),
        ("devices/d/data", b"{\"t\": \"\xff\"}", 0x83),
        ("devices/d/data", br#"{"device_id": "other", "t": 1}"#, 0x83),
        ("devices/d/data", br#"{"t": 1, "ts": "noon"}"#, 0x83),
        ("devices/no spaces/data", br#"{"t": 1}"#, 0x90),
        ("sensors/d/bad sensor/data", b"1", 0x83),
        ("devices/d/presence", b"{}", 0x87),
        ("$SYS/broker", b"{}", 0x87),
    ] {
        let acked = device.publish(topic, payload).await;
        assert_eq!(acked.reason, code, "{topic} {acked:?}");
    }
    assert_eq!(device.publish_qos2("devices/d/data", "nonsense").await.reason, 0x83);
    let quarantine = brooklet.get("/api/quarantine").await;
    assert_eq!(quarantine["items"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_format_indicator_that_lies_is_0x99() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let mut body = crate::wire::text("devices/d/data");
    body.extend([0, 9, 2, 1, 1]);
    body.extend(b"{\"t\": \"\xff\"}");
    device.send(&crate::wire::packet(0x32, &body)).await;
    assert_eq!(device.ack().await.reason, 0x99);
}

#[tokio::test]
async fn explanations_go_only_to_those_who_want_and_can_hold_them() {
    let brooklet = Brooklet::start().await;
    let partial = r#"{"ok": 1, "Bad Name": 2}"#;
    let no_problem_information = &[23, 0][..];
    let small_packets = &[39, 0, 0, 0, 30][..];
    for properties in [no_problem_information, small_packets] {
        let connect = crate::wire::connect(5, 2, 60, properties, "terse");
        let (mut device, _) = crate::wire::Client::open(brooklet.mqtt, connect, true).await;
        let acked = device.publish("devices/d/data", partial).await;
        assert_eq!((acked.reason, acked.properties.as_str()), (0, ""));
        assert_eq!(device.publish("devices/d/data", "garbage").await.reason, 0x83);
    }
}

#[tokio::test]
async fn those_who_can_not_be_told_in_the_acknowledgement_have_a_topic() {
    let brooklet = Brooklet::start().await;
    let mut old = brooklet.connect_v4("old").await;
    let mut watcher = brooklet.connect_v4("watcher").await;
    assert_eq!(watcher.subscribe("devices/d/errors", 0).await, 0);
    let acked = old.publish("devices/d/data", r#"{"ok": 1, "Bad Name": 2}"#).await;
    assert_eq!((acked.reason, acked.properties.as_str()), (0, ""));
    let (_, topic, _, payload) = watcher.message().await;
    let told: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(topic, "devices/d/errors");
    assert_eq!((&told["accepted"], &told["packet_id"]), (&json!(1), &json!(acked.id)));
    assert_eq!(told["rejected"][0]["sensor"], "Bad Name");
    assert_eq!(told["topic"], "devices/d/data");
    old.publish_qos0("devices/d/data", "garbage").await;
    let (_, _, _, payload) = watcher.message().await;
    let told: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&told["reason"], &told["packet_id"]), (&json!("not_json"), &Value::Null));
}

#[tokio::test]
async fn what_is_refused_is_not_routed_and_what_is_stored_is() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("devices/#", 0).await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", "garbage").await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let (_, topic, _, payload) = watcher.message().await;
    assert_eq!((topic.as_str(), payload.as_slice()), ("devices/d/data", &br#"{"t": 1}"#[..]));
}

#[tokio::test]
async fn same_reading_again_is_a_duplicate_and_another_value_a_conflict() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let at = r#""ts": 1766125800"#;
    assert_eq!(device.publish("devices/d/data", format!(r#"{{"t": 1, {at}}}"#)).await.reason, 0);
    assert_eq!(device.publish("devices/d/data", format!(r#"{{"t": 1, {at}}}"#)).await.reason, 0);
    let conflict = device.publish("devices/d/data", format!(r#"{{"t": 2, {at}}}"#)).await;
    assert_eq!(conflict.reason, 0x83);
    assert!(conflict.properties.contains("1 is stored"), "{conflict:?}");
    let history = brooklet.get("/api/data/history?device_id=d").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
    assert_eq!(history["items"][0]["value"], 1.0);
}

#[tokio::test]
async fn readings_without_a_time_never_collapse_into_one() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let id = device.next_id();
        bytes.extend(device.publish_packet(0x32, "devices/d/data", id, br#"{"t": 1}"#));
    }
    device.send(&bytes).await;
    for id in 1..=200 {
        assert_eq!(device.ack().await.id, id);
    }
    let history = brooklet.get("/api/data/history?device_id=d&limit=1000").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 200);
}

#[tokio::test]
async fn a_wrong_clock_is_replaced_and_latest_is_by_event_time() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 1, "ts": 5}"#).await;
    assert_eq!(brooklet.latest("d").await, [("t".to_owned(), Some(1.0), "uncertain".to_owned())]);
    device.publish("devices/d/data", r#"{"t": 2, "ts": 1766125800}"#).await;
    assert_eq!(brooklet.latest("d").await[0].1, Some(1.0));
    let history = brooklet.get("/api/data/history?device_id=d&order=asc").await;
    assert_eq!(history["items"][0]["value"], 2.0);
}

#[tokio::test]
async fn a_resent_message_of_a_persistent_session_is_stored_once() {
    let brooklet = Brooklet::start().await;
    let connect = || crate::wire::connect(5, 0, 60, &[17, 0, 0, 1, 0], "persistent");
    let (mut device, _) = crate::wire::Client::open(brooklet.mqtt, connect(), true).await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    drop(device);
    let brooklet = brooklet.restart().await;
    let (mut device, _) = crate::wire::Client::open(brooklet.mqtt, connect(), true).await;
    let resent = device.publish_packet(0x3A, "devices/d/data", 1, br#"{"t": 1}"#);
    device.send(&resent).await;
    assert_eq!(device.ack().await.reason, 0);
    let history = || brooklet.get("/api/data/history?device_id=d");
    assert_eq!(history().await["items"].as_array().unwrap().len(), 1);
    let another = device.publish_packet(0x3A, "devices/d/data", 1, br#"{"t": 2}"#);
    device.send(&another).await;
    assert_eq!(device.ack().await.reason, 0);
    assert_eq!(history().await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn quarantine_is_capped_retried_and_emptied() {
    let brooklet = Brooklet::with(&[("QUARANTINE__MAX_ENTRIES", "3")]).await;
    let mut device = brooklet.connect("d").await;
    for n in 0..5 {
        device.publish("devices/d/data", format!("garbage {n}")).await;
    }
    let items = brooklet.get("/api/quarantine").await["items"].clone();
    let kept: Vec<_> =
        items.as_array().unwrap().iter().map(|e| e["payload_text"].clone()).collect();
    assert_eq!(kept, ["garbage 4", "garbage 3", "garbage 2"]);
    let id = items[0]["id"].as_i64().unwrap();
    let retried =
        brooklet.request(Method::POST, &format!("/api/quarantine/{id}/retry"), None).await;
    assert_eq!(retried.status, 422, "{}", retried.text);
    assert!(!retried.body["errors"][0]["detail"].as_str().unwrap().is_empty(), "{}", retried.text);
    assert_eq!(brooklet.get("/api/quarantine").await["items"][0]["attempts"], 1);
    let path = format!("/api/quarantine/{id}");
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 404);
    // An inactive sensor's reading is taken once the sensor is active again.
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let sensor = "/api/devices/d/sensors/t";
    brooklet.request(Method::PATCH, sensor, Some(json!({"active": false}))).await;
    assert_eq!(device.publish("devices/d/data", r#"{"t": 2}"#).await.reason, 0x83);
    brooklet.request(Method::PATCH, sensor, Some(json!({"active": true, "max": 1.5}))).await;
    let id = brooklet.get("/api/quarantine").await["items"][0]["id"].as_i64().unwrap();
    let retried =
        brooklet.request(Method::POST, &format!("/api/quarantine/{id}/retry"), None).await;
    assert_eq!(retried.body["ok"], true, "{}", retried.text);
    assert_eq!(brooklet.latest("d").await[0].1, Some(2.0));
    assert_eq!(brooklet.latest("d").await[0].2, "uncertain");
}

#[tokio::test]
async fn a_page_of_the_quarantine_is_bounded_in_bytes() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    for n in 0..8 {
        let length = if n == 7 { 60_000 } else { 900_000 };
        let payload = n.to_string().repeat(length);
        assert!(device.publish("devices/d/data", format!("x{payload}")).await.reason >= 0x80);
    }
    let (mut path, mut seen) = ("/api/quarantine?limit=1000".to_owned(), Vec::new());
    let mut pages = 0;
    loop {
        let page = brooklet.get(&path).await;
        let items = page["items"].as_array().unwrap();
        let bytes: usize =
            items.iter().map(|item| item["payload_base64"].as_str().unwrap().len() / 4 * 3).sum();
        assert!(bytes <= (4 << 20) + items.len() * 3, "{bytes}");
        seen.extend(items.iter().map(|item| item.get("payload_text").is_some()));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/quarantine?limit=1000&cursor={cursor}");
    }
    // The last of them came first, and is the only one that is short enough for a text.
    assert_eq!(seen, [true, false, false, false, false, false, false, false]);
    assert_eq!(pages, 2);
}
