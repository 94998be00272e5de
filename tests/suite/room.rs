//! Room on the disk: ingest stops before there is none, and the file stays below its size.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::{
    harness::Brooklet,
    retention::{import, raw, today, within},
};

const DAY: i64 = 86_400;

#[tokio::test]
async fn nothing_is_taken_while_the_disk_has_too_little_room() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 0}"#).await;
    // More than any disk has.
    let floor = [("DATABASE__MIN_FREE_SPACE", "1000000000GiB")];
    let mut brooklet = brooklet.restart_with(&floor).await;
    brooklet.may_log_errors();
    assert!(brooklet.metric("brooklet_store_free_bytes").await > 0.0);
    let health = brooklet.request(Method::GET, "/health", None).await;
    assert_eq!(
        (health.status, &health.body["status"]),
        (503.try_into().unwrap(), &json!("failing"))
    );
    assert!(health.body["components"]["ingest"].as_str().unwrap().contains("the disk has no room"));
    let message = json!({"device_id": "d", "t": 1});
    let csv = "device,sensor,event_time,value\nd,t,1700000000,1\n".to_owned();
    let kind = ("Content-Type", "text/csv");
    for refused in [
        brooklet.request(Method::POST, "/api/devices/data/upload", Some(message)).await,
        brooklet.send(Method::POST, "/api/data/import?", csv, &[kind]).await,
    ] {
        assert_eq!(refused.status, 503, "{}", refused.text);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("database.min_free_space"), "{detail}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    let overview = brooklet.get("/api/overview").await;
    let attention = overview["attention"].as_array().unwrap();
    let low = attention.iter().find(|entry| entry["kind"] == "disk_low").unwrap();
    assert_eq!(low["severity"], "critical");
    let mut device = brooklet.connect("d").await;
    let id = device.next_id();
    let publish = device.publish_packet(0x32, "devices/d/data", id, br#"{"t": 1}"#);
    device.send(&publish).await;
    assert!(device.quiet_for(Duration::from_millis(300)).await, "nothing is acknowledged");
    let history = brooklet.get("/api/data/history?device_id=d").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
    // What is no ingest message goes on.
    let mut other = brooklet.connect("other").await;
    other.publish("not/ingest", "goes on").await;
}

/// Takes room from where the data are, and gives it back: in memory, since a disk is used by others too.
#[tokio::test]
async fn ingest_goes_on_by_itself_when_there_is_room() {
    if crate::servers::is_elsewhere() {
        return;
    }
    const MIB: u64 = 1 << 20;
    let Ok(folder) = tempfile::TempDir::new_in("/dev/shm") else { return };
    let told = rustix::fs::statvfs(folder.path()).unwrap();
    let free = told.f_bavail * told.f_frsize;
    if free < 4_096 * MIB {
        return;
    }
    let floor = format!("{}B", free - 512 * MIB);
    let url = format!("sqlite://{}", folder.path().join("brooklet.db").display());
    let variables = [("DATABASE__MIN_FREE_SPACE", &*floor), ("DATABASE__URL", &*url)];
    let mut brooklet = Brooklet::with(&variables).await;
    brooklet.may_log_errors();
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 0}"#).await;
    let path = folder.path().join("ballast");
    let ballast = std::fs::File::create(&path).unwrap();
    let flags = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(&ballast, flags, 0, 1_024 * MIB).unwrap();
    let short = |line: &serde_json::Value| {
        line["message"].as_str().unwrap_or("").contains("min_free_space")
    };
    brooklet.logged(short).await;
    let id = device.next_id();
    let publish = device.publish_packet(0x32, "devices/d/data", id, br#"{"t": 1}"#);
    device.send(&publish).await;
    assert!(device.quiet_for(Duration::from_millis(300)).await, "nothing is acknowledged");
    std::fs::remove_file(path).unwrap();
    drop(ballast);
    brooklet.logged(|line| line["message"] == "the disk has room again").await;
    let acked = device.ack().await;
    assert_eq!((acked.id, acked.reason), (id, 0));
    let health = brooklet.request(Method::GET, "/health", None).await;
    assert_eq!(health.status, 200, "{}", health.text);
}

#[tokio::test]
async fn above_its_size_the_oldest_days_go() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let mut brooklet = Brooklet::with(&[("DATABASE__READINGS_IN_MEMORY", "1000")]).await;
    let start = today() - 40 * DAY;
    // Values that do not pack well, of twenty days.
    let noise = |n: i64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) >> 12;
    let rows: Vec<_> = (0..20 * 2_880).map(|n| ("s", start + n * 30, noise(n))).collect();
    import(&brooklet, &rows).await;
    let range = |from: i64, to: i64| (start + from * DAY, start + to * DAY);
    let count = async |brooklet: &Brooklet, range| {
        let path = format!("/api/data/statistics?sensor=s&{}", within(range));
        brooklet.get(&path).await["items"][0]["count"].as_i64().unwrap()
    };
    brooklet.stop().await;
    let connection = rusqlite::Connection::open(brooklet.database()).unwrap();
    let pragma = |name: &str| -> i64 {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    };
    let bytes = (pragma("page_count") - pragma("freelist_count")) * pragma("page_size");
    drop(connection);
    let max = format!("{}B", bytes - 100_000);
    let variables = [("DATABASE__MAX_SIZE", &*max), ("RETENTION__INTERVAL", "1s")];
    let brooklet = brooklet.restart_with(&variables).await;
    let dropped = |line: &serde_json::Value| {
        line["message"] == "the oldest readings are dropped for want of room"
    };
    brooklet.logged(dropped).await;
    let page = brooklet
        .eventually("/api/overview", |page| {
            page["attention"].as_array().unwrap().iter().any(|entry| entry["kind"] == "store_full")
        })
        .await;
    assert!(page["store"]["bytes"].as_u64().unwrap() > 0);
    let left = raw(&brooklet, "s", range(0, 40)).await;
    assert!((1..20 * 2_880).contains(&left), "{left}");
    assert_eq!(left % 2_880, 0, "whole days went");
    assert_eq!(raw(&brooklet, "s", range(0, 1)).await, 0);
    assert_eq!(count(&brooklet, range(0, 40)).await, 20 * 2_880);
    brooklet.logged(|line| line["message"].as_str().unwrap_or("").contains("nine tenths")).await;
    let used = brooklet.metric("brooklet_store_used_bytes").await;
    assert!(used > 0.0 && used <= (bytes - 100_000) as f64, "{used}");
}
