//! The HTTP surface: pages, ranges, statistics, errors, keys, limits.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Brooklet;

async fn with_readings(count: i64) -> Brooklet {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let batch: Vec<Value> = (0..count)
        .map(|n| json!({"ts": 1_766_125_800 + n * 60, "values": {"a": n, "b": -n}}))
        .collect();
    device.publish("devices/d/data", Value::Array(batch).to_string()).await;
    brooklet
}

#[tokio::test]
async fn paging_by_cursor_gives_every_reading_once_in_either_order() {
    let brooklet = with_readings(50).await;
    for order in ["asc", "desc"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/data/history?device_id=d&order={order}&limit=7{cursor}");
            let page = brooklet.get(&path).await;
            seen.extend(page["items"].as_array().unwrap().iter().map(|reading| {
                (reading["event_time"].as_str().unwrap().to_owned(), reading["sensor_id"].as_i64())
            }));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 100);
        let mut sorted = seen.clone();
        sorted.sort();
        sorted.dedup();
        if order == "desc" {
            sorted.reverse();
        }
        assert_eq!(seen, sorted, "{order}");
    }
    let page = brooklet.get("/api/data/history?page=3&per_page=30&order=asc").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["total"]), (30, &json!(100)));
}

#[tokio::test]
async fn ranges_are_half_open_and_statistics_are_right() {
    let brooklet = with_readings(120).await;
    let range = "from=2025-12-19T06:30:00Z&to=2025-12-19T07:30:00Z";
    let page = brooklet.get(&format!("/api/data/history?sensor=a&{range}&limit=1000")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 60);
    let path = format!("/api/data/statistics?device_id=d&sensor=a&{range}&bucket=5m");
    let statistics = &brooklet.get(&path).await["items"][0];
    assert_eq!(statistics["count"], 60);
    assert_eq!((&statistics["min"], &statistics["max"]), (&json!(0.0), &json!(59.0)));
    assert_eq!(statistics["mean"], 29.5);
    let expected = ((60.0_f64 * 60.0 - 1.0) / 12.0).sqrt();
    assert!((statistics["stddev"].as_f64().unwrap() - expected).abs() < 1e-9);
    assert_eq!(statistics["first"]["value"], 0.0);
    assert_eq!(statistics["last"]["event_time"], "2025-12-19T07:29:00.000Z");
    let series = statistics["series"].as_array().unwrap();
    assert_eq!(series.len(), 12);
    assert_eq!(series[1]["start"], "2025-12-19T06:35:00.000Z");
    assert_eq!(series[1]["mean"], 7.0);
}

#[tokio::test]
async fn errors_are_problems() {
    let brooklet = Brooklet::start().await;
    for (path, status) in [
        ("/api/nothing", 404),
        ("/api/devices/none", 404),
        ("/api/data/latest?device_id=none", 404),
        ("/api/data/history?from=yesterday", 400),
        ("/api/data/history?limit=0", 422),
        ("/api/data/history?limit=abc", 400),
        ("/api/data/history?cursor=x", 422),
        ("/api/data/statistics?from=2025-01-01T00:00:00Z&to=2024-01-01T00:00:00Z", 422),
        ("/api/devices?kind=toaster", 422),
        ("/api/quarantine?cursor=x", 422),
    ] {
        let response = brooklet.request(Method::GET, path, None).await;
        assert_eq!(response.status, status, "{path} {}", response.text);
        assert_eq!(response.headers["content-type"], "application/problem+json", "{path}");
        assert_eq!(response.body["status"], status, "{path}");
    }
    let wrong_method = brooklet.request(Method::PUT, "/api/devices", None).await;
    assert_eq!((wrong_method.status.as_u16(), &wrong_method.body["status"]), (405, &json!(405)));
    let body = Some(json!({"device": "no spaces"}));
    let refused = brooklet.request(Method::POST, "/api/devices", body).await;
    assert_eq!(refused.body["errors"][0]["pointer"], "/device", "{}", refused.text);
    let large = Some(json!({"x": "y".repeat(2_000_000)}));
    let refused = brooklet.request(Method::POST, "/api/devices/data/upload", large).await;
    assert_eq!(refused.status, 413);
}

#[tokio::test]
async fn a_device_bound_key_uploads_and_nothing_else() {
    let keys = r#"[{ name = "all", key = "everything-everything" },
                   { name = "one", key = "bound-to-a-device", device = "bound" }]"#;
    let brooklet = Brooklet::with(&[("HTTP__API_KEYS", &keys.replace('\n', ""))]).await;
    let bound = [("Authorization", "Bearer bound-to-a-device")];
    let path = "/api/devices/data/upload";
    let body = Some(json!({"t": 1}));
    assert_eq!(brooklet.request_with(Method::POST, path, body, &bound).await.status, 200);
    let other = Some(json!({"t": 1, "device_id": "other"}));
    let refused = brooklet.request_with(Method::POST, path, other, &bound).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let refused = brooklet.request_with(Method::GET, "/api/devices", None, &bound).await;
    assert_eq!(refused.status, 403);
    let all = [("X-API-Key", "everything-everything")];
    let devices = brooklet.request_with(Method::GET, "/api/devices", None, &all).await;
    assert_eq!(devices.body["items"][0]["device"], "bound");
    assert_eq!(brooklet.request(Method::GET, "/api/devices", None).await.status, 401);
    assert_eq!(brooklet.request(Method::GET, "/health/live", None).await.status, 200);
}

#[tokio::test]
async fn docs_and_metrics_are_served() {
    let brooklet = with_readings(1).await;
    let docs = brooklet.request(Method::GET, "/docs", None).await;
    assert_eq!(docs.status, 200);
    assert!(docs.text.contains("swagger"));
    let metrics = brooklet.request(Method::GET, "/metrics", None).await.text;
    for name in [
        "brooklet_build_info",
        "brooklet_ingest_messages_total",
        "brooklet_ingest_acknowledge_seconds_bucket",
        "brooklet_store_commit_seconds_bucket",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(name), "{name} is missing");
    }
    let status = brooklet.get("/api/database/status").await;
    assert_eq!((&status["engine"], &status["journal_mode"]), (&json!("sqlite"), &json!("wal")));
}
