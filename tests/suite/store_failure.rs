//! A store that does not answer: nothing is acknowledged, nothing is lost, sockets wait.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::{
    harness::Brooklet,
    wire::{Client, connect},
};

fn lock(brooklet: &Brooklet) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(brooklet.database()).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[tokio::test]
async fn acknowledgements_are_withheld_while_the_store_is_locked() {
    let mut brooklet =
        Brooklet::with(&[("DATABASE__BUSY_TIMEOUT", "50ms"), ("MQTT__RECEIVE_MAXIMUM", "10")])
            .await;
    brooklet.may_log_errors();
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 0}"#).await;
    let held = lock(&brooklet);
    let mut bytes = Vec::new();
    for n in 1..=10 {
        let id = device.next_id();
        let payload = format!(r#"{{"t": {n}}}"#);
        bytes.extend(device.publish_packet(0x32, "devices/d/data", id, payload.as_bytes()));
    }
    device.send(&bytes).await;
    assert!(device.quiet_for(Duration::from_millis(300)).await, "nothing is acknowledged");
    let health = brooklet.request(Method::GET, "/health", None).await;
    assert_eq!(health.status, 503, "{}", health.text);
    let mut other = brooklet.connect("other").await;
    other.publish("not/ingest", "goes on").await;
    drop(held);
    for id in 2..=11 {
        let acked = device.ack().await;
        assert_eq!((acked.id, acked.reason), (id, 0));
    }
    let history = brooklet.get("/api/data/history?device_id=d").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 11);
    brooklet.eventually("/version", |_| true).await;
    let health = brooklet.request(Method::GET, "/health", None).await;
    assert_eq!(health.status, 200, "{}", health.text);
}

#[tokio::test]
async fn a_socket_that_waits_too_long_is_told_server_busy() {
    let mut brooklet =
        Brooklet::with(&[("DATABASE__BUSY_TIMEOUT", "50ms"), ("MQTT__RECEIVE_MAXIMUM", "1")]).await;
    brooklet.may_log_errors();
    let (mut device, _) = Client::open(brooklet.mqtt, connect(5, 2, 2, &[], "d"), true).await;
    device.publish("devices/d/data", r#"{"t": 0}"#).await;
    let held = lock(&brooklet);
    let publish = device.publish_packet(0x32, "devices/d/data", 9, br#"{"t": 1}"#);
    device.send(&publish).await;
    assert_eq!(device.goodbye().await, Some(0x89));
    drop(held);
    brooklet
        .eventually("/api/data/history?device_id=d", |page| {
            page["items"].as_array().unwrap().len() == 2
        })
        .await;
}

#[tokio::test]
async fn a_message_that_the_store_refuses_is_found_and_the_rest_is_stored() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 0}"#).await;
    rusqlite::Connection::open(brooklet.database())
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER poison BEFORE INSERT ON reading_journal \
             WHEN NEW.rows LIKE '%,666.0]%' BEGIN SELECT RAISE(ABORT, 'poison'); END",
        )
        .unwrap();
    let mut bytes = Vec::new();
    for n in 650..=680 {
        let id = device.next_id();
        let payload = format!(r#"{{"t": {n}}}"#);
        bytes.extend(device.publish_packet(0x32, "devices/d/data", id, payload.as_bytes()));
    }
    device.send(&bytes).await;
    for n in 650..=680 {
        let expected = if n == 666 { 0x83 } else { 0 };
        assert_eq!(device.ack().await.reason, expected, "{n}");
    }
    let history = brooklet.get("/api/data/history?device_id=d").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 31);
    let quarantine = brooklet.get("/api/quarantine").await;
    assert_eq!(quarantine["items"][0]["reason"], "unstorable");
    assert_eq!(quarantine["items"][0]["payload_text"], r#"{"t": 666}"#);
}

#[tokio::test]
async fn a_stop_while_the_store_fails_is_in_time_and_acknowledges_nothing() {
    let mut brooklet = Brooklet::with(&[("DATABASE__BUSY_TIMEOUT", "50ms")]).await;
    brooklet.may_log_errors();
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 0}"#).await;
    let held = lock(&brooklet);
    let publish = device.publish_packet(0x32, "devices/d/data", 9, br#"{"t": 1}"#);
    device.send(&publish).await;
    assert!(device.quiet_for(Duration::from_millis(100)).await);
    let asked = std::time::Instant::now();
    brooklet.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
    while let Some(packet) = device.packet().await {
        assert_eq!(packet.first, 0xE0, "no acknowledgement");
    }
    drop(held);
}

const HOT: &str = r#"[{ name = "hot", scope = { sensors = ["t"] }, latching = true, levels = [
    { severity = "warning", condition = { type = "above", limit = 30 } } ] }]"#;

#[tokio::test]
async fn what_people_do_to_alarms_is_refused_while_the_store_is_locked() {
    let mut brooklet =
        Brooklet::with(&[("DATABASE__BUSY_TIMEOUT", "50ms"), ("ALARMS__RULES", HOT)]).await;
    brooklet.may_log_errors();
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 31}"#).await;
    let before = brooklet.get("/api/alarms").await["items"][0].clone();
    let path = format!("/api/alarms/{}", before["id"]);
    let shelve = json!({"duration": "1h"});
    let mut orders: Vec<_> = ["ack", "clear", "out-of-service"]
        .map(|what| (format!("{path}/{what}"), None))
        .into_iter()
        .collect();
    orders.push((format!("{path}/shelve"), Some(shelve)));
    orders.push(("/api/alarms/acknowledge".to_owned(), Some(json!({"filter": {}}))));
    let rule = json!({"name": "R", "levels": [
        {"severity": "major", "condition": {"type": "above", "limit": 5}}]});
    orders.push(("/api/alarm-rules".to_owned(), Some(rule)));
    let target = json!({"name": "log", "channel": {"type": "log"}});
    orders.push(("/api/notification-targets".to_owned(), Some(target)));
    let held = lock(&brooklet);
    for (path, body) in &orders {
        let refused = brooklet.request(Method::POST, path, body.clone()).await;
        assert_eq!(refused.status, 503, "{path}: {}", refused.text);
        assert!(refused.headers.contains_key("retry-after"), "{path}");
        assert_eq!(refused.headers["content-type"], "application/problem+json");
    }
    // What was refused is not done, then or later.
    assert_eq!(brooklet.get(&path).await["state"], before["state"]);
    drop(held);
    brooklet.logged(|line| line["message"] == "the store takes readings again").await;
    let shown = brooklet.get(&path).await;
    assert_eq!(
        (&shown["changed_at"], &shown["state"]),
        (&before["changed_at"], &before["state"]),
        "{shown}"
    );
    for (path, body) in orders {
        // Acknowledged and cleared by then, it is closed.
        let done = brooklet.request(Method::POST, &path, body).await;
        assert!(done.status.is_success() || done.status == 409, "{path}: {}", done.text);
    }
    assert_eq!(brooklet.get(&path).await["closed"], true);
}

/// The news that a device is gone finds no room; presence is read anew when there is some.
#[tokio::test]
async fn who_drops_while_the_queue_is_full_is_missed_all_the_same() {
    let rules = r#"[{ name = "gone", scope = { devices = ["boiler"] }, levels = [
        { severity = "major", condition = { type = "offline" } } ] }]"#;
    let mut brooklet = Brooklet::with(&[
        ("DATABASE__BUSY_TIMEOUT", "50ms"),
        ("ALARMS__RULES", rules),
        ("DEVICES__OFFLINE_GRACE", "0s"),
        ("INGEST__MAX_QUEUED_MESSAGES", "2"),
    ])
    .await;
    brooklet.may_log_errors();
    let mut boiler = brooklet.connect("boiler").await;
    boiler.publish("devices/boiler/data", r#"{"t": 0}"#).await;
    let mut other = brooklet.connect("other").await;
    other.publish("devices/other/data", r#"{"t": 0}"#).await;
    let held = lock(&brooklet);
    let mut fill = async |count: i32| {
        for n in 0..count {
            let id = other.next_id();
            let payload = format!(r#"{{"n": {n}}}"#);
            let packet = other.publish_packet(0x32, "devices/other/data", id, payload.as_bytes());
            other.send(&packet).await;
        }
    };
    fill(1).await;
    // The committer holds on to what it has.
    brooklet.logged(|line| line["target"] == "brooklet::ingest::committer").await;
    fill(5).await;
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while brooklet.metric("brooklet_ingest_queue_messages").await < 2.0 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(boiler);
    let is_gone = |line: &serde_json::Value| {
        line["message"] == "presence changed"
            && line["device"] == "boiler"
            && line["state"] == "offline"
    };
    brooklet.logged(is_gone).await;
    drop(held);
    let alarms = |page: &serde_json::Value| !page["items"].as_array().unwrap().is_empty();
    let page = brooklet.eventually("/api/alarms?active=true", alarms).await;
    assert_eq!(page["items"][0]["device"], "boiler");
}

#[tokio::test]
async fn dry_runs_wait_for_each_other_not_others_for_them() {
    let mut brooklet = Brooklet::with(&[("DATABASE__BUSY_TIMEOUT", "20s")]).await;
    brooklet.may_log_errors();
    let lock = rusqlite::Connection::open(brooklet.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let message = json!({"device_id": "d", "t": 1});
    let flood = (0..40)
        .map(|_| brooklet.request(Method::POST, "/api/ingest/dry-run", Some(message.clone())));
    // Requests that wait for their turn give no sign of it, so a look that comes before them only ever
    // lets a mistake through.
    let looked = async {
        for _ in 0..50 {
            let queued = brooklet.get("/api/statistics").await["queued"].as_u64().unwrap();
            assert!(queued <= 4, "{queued}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(lock);
    };
    let (told, ()) = tokio::join!(futures_util::future::join_all(flood), looked);
    assert!(told.iter().all(|answer| answer.body["status"] == "stored"));
}
