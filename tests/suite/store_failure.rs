//! A store that does not answer: nothing is acknowledged, nothing is lost, sockets wait.

use std::time::Duration;

use reqwest::Method;

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
            "CREATE TRIGGER poison BEFORE INSERT ON reading WHEN NEW.value = 666 \
             BEGIN SELECT RAISE(ABORT, 'poison'); END",
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
