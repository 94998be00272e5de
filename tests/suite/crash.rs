//! `kill -9` at any moment loses no acknowledged reading and stores none twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;

use crate::{
    harness::Brooklet,
    wire::{Client, connect},
};

/// Acknowledged readings: (device, event time in µs) and value.
pub(crate) type Acknowledged = Arc<Mutex<BTreeMap<(String, i64), f64>>>;

pub(crate) const PUBLISHERS: usize = 6;
const START: i64 = 1_766_125_800_000_000;

pub(crate) fn rounds() -> u64 {
    std::env::var("BROOKLET_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_reading_outlives_kill_9() {
    survive(Brooklet::start().await).await;
}

/// The same, killed while readings are moved into chunks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_reading_outlives_kill_9_on_its_way_into_chunks() {
    survive(Brooklet::with(&[("DATABASE__READINGS_IN_MEMORY", "1000")]).await).await;
}

async fn survive(mut brooklet: Brooklet) {
    let acknowledged = Acknowledged::default();
    for round in 0..rounds() {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (address, acknowledged) = (brooklet.mqtt, acknowledged.clone());
                tokio::spawn(publish_until_dead(address, publisher, round, acknowledged))
            })
            .collect();
        let moment = 20 + (round * 7919 + u64::from(brooklet.pid())) % 180;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        brooklet.kill();
        for publisher in publishers {
            publisher.await.unwrap();
        }
        brooklet = brooklet.restart().await;
        compare(&brooklet, &acknowledged).await;
    }
    assert!(acknowledged.lock().unwrap().len() as u64 > rounds());
}

/// Publishes readings with times of their own, noting each that is acknowledged; QoS 1 and 2 by turns.
pub(crate) async fn publish_until_dead(
    address: std::net::SocketAddr,
    publisher: usize,
    round: u64,
    acknowledged: Acknowledged,
) {
    let device = format!("p{publisher}");
    let client_id = format!("crash-{publisher}");
    let hello = connect(5, 2, 60, &[], &client_id);
    let Some((mut client, _)) = Client::try_open(address, hello).await else {
        return;
    };
    for n in 0..100_000_i64 {
        let time = START + (round as i64 * 100_000 + n) * 1_000_000;
        let payload = format!(r#"{{"t": {n}, "ts": {time}}}"#);
        let topic = format!("devices/{device}/data");
        let first = if publisher.is_multiple_of(2) { 0x32 } else { 0x34 };
        let id = (n % 60_000 + 1) as u16;
        let bytes = client.publish_packet(first, &topic, id, payload.as_bytes());
        if !client.try_send(&bytes).await {
            return;
        }
        let Some(packet) = client.packet().await else { return };
        assert_eq!(packet.body.get(2).copied().unwrap_or(0), 0);
        acknowledged.lock().unwrap().insert((device.clone(), time), n as f64);
        if first == 0x34 {
            let release = crate::wire::packet(0x62, &id.to_be_bytes());
            if !client.try_send(&release).await || client.packet().await.is_none() {
                return;
            }
        }
    }
}

fn time(text: &Value) -> i64 {
    text.as_str().unwrap().parse::<brooklet::telemetry::Timestamp>().unwrap().as_micros()
}

/// Everything that was acknowledged is stored, once.
async fn compare(brooklet: &Brooklet, acknowledged: &Acknowledged) {
    let mut stored = BTreeMap::new();
    for publisher in 0..PUBLISHERS {
        let device = format!("p{publisher}");
        let path = format!("/api/data/export?format=ndjson&device_id={device}");
        let file = brooklet.request(Method::GET, &path, None).await;
        if file.status == 404 {
            // Killed before it was first heard of.
            continue;
        }
        assert_eq!(file.status, 200, "{}", file.text);
        for line in file.text.lines() {
            let reading: Value = serde_json::from_str(line).unwrap();
            let key = (device.clone(), time(&reading["event_time"]));
            let value = reading["value"].as_f64().unwrap();
            assert!(stored.insert(key, value).is_none(), "stored twice: {line}");
        }
    }
    for (key, value) in acknowledged.lock().unwrap().iter() {
        assert_eq!(stored.get(key), Some(value), "{key:?} was acknowledged");
    }
}
