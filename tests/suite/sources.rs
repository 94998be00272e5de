//! What the devices of the four source systems send, verbatim: topics and payloads work unchanged.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Brooklet;

const RICH: &str = r#"{
  "sensors": [
    {"sensor_name": "temperature", "value": 25.5, "unit": "°C", "timestamp": "2025-12-19T14:30:00+08:00"},
    {"sensor_name": "humidity", "value": 60, "unit": "%"}
  ],
  "status": {"ip_address": "192.168.1.100", "rssi": -50, "battery": 95},
  "location": {"latitude": 39.9042, "longitude": 116.4074},
  "timestamp": "2025-12-19T14:30:00+08:00"
}"#;

fn good(sensor: &str, value: f64) -> (String, Option<f64>, String) {
    (sensor.to_owned(), Some(value), "good".to_owned())
}

#[tokio::test]
async fn aiot_service_over_mqtt() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect_v4("test-device").await;
    let topic = |kind: &str| format!("devices/test-device-uuid/{kind}");
    device.publish(&topic("data"), RICH).await;
    let latest = brooklet.latest("test-device-uuid").await;
    assert_eq!(latest, [good("humidity", 60.0), good("temperature", 25.5)]);
    let page = brooklet.get("/api/data/latest?device_id=test-device-uuid&sensor=temperature").await;
    assert_eq!(page["items"][0]["event_time"], "2025-12-19T06:30:00.000Z");
    assert_eq!(page["items"][0]["unit"], "°C");

    device.publish(&topic("data"), r#"{"temperature": 26.5, "humidity": 61, "light": 850}"#).await;
    let latest = brooklet.latest("test-device-uuid").await;
    assert_eq!(latest, [good("humidity", 61.0), good("light", 850.0), good("temperature", 26.5)]);

    device
        .publish(&topic("status"), r#"{"status": "online", "battery": 90, "signal": "good"}"#)
        .await;
    device.publish(&topic("heartbeat"), r#"{"timestamp": "2025-12-19T14:30:00+08:00"}"#).await;
    let shown = brooklet.get("/api/devices/test-device-uuid").await;
    assert_eq!(shown["online"], true);
    assert_eq!(shown["status"], "online");
    assert_eq!(shown["ip"], "192.168.1.100");
    assert_eq!(shown["location"], json!({"latitude": 39.9042, "longitude": 116.4074}));
    assert!(shown["last_heartbeat"].is_string());
    let report = &shown["last_report"];
    assert_eq!(report["status"]["rssi"], -50);
    assert_eq!(report["status"]["battery"], 90);
    assert_eq!(report["status"]["signal"], "good");
    assert_eq!(report["sensors"]["light"]["value"], 850.0);
    assert!(report["upload_timestamp"].is_string());
}

#[tokio::test]
async fn aiot_service_over_http() {
    let brooklet = Brooklet::start().await;
    let body: Value = serde_json::from_str(RICH).unwrap();
    let path = "/api/devices/data/upload";
    let nobody = brooklet.request(Method::POST, path, Some(body.clone())).await;
    assert_eq!(nobody.status, 422, "{}", nobody.text);
    let by_header = [("X-Device-ID", "by-header")];
    let stored = brooklet.request_with(Method::POST, path, Some(body.clone()), &by_header).await;
    assert_eq!((stored.status.as_u16(), &stored.body["accepted"]), (200, &json!(2)));
    for name in ["device_id", "device_uuid"] {
        let mut body = body.clone();
        body[name] = json!(name);
        assert_eq!(brooklet.request(Method::POST, path, Some(body)).await.status, 200);
        assert_eq!(brooklet.latest(name).await.len(), 2);
    }
    assert_eq!(brooklet.latest("by-header").await.len(), 2);
}

#[tokio::test]
async fn sleep_blanket() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect_v4("blanket").await;
    device
        .publish("sleep_blanket/device001/data", r#"{"temperature": 36.6, "heart_rate": 61}"#)
        .await;
    device.publish("sleep_blanket/device001/status", r#"{"status": "online"}"#).await;
    let latest = brooklet.latest("device001").await;
    assert_eq!(latest, [good("heart_rate", 61.0), good("temperature", 36.6)]);
    let history = brooklet.get("/api/data/history?page=1&per_page=20").await;
    assert_eq!((&history["total"], &history["page"]), (&json!(2), &json!(1)));
    assert_eq!(brooklet.get("/api/health").await["status"], "ok");
    assert_eq!(brooklet.get("/api/statistics").await["messages"], 2);
}

#[tokio::test]
async fn oei_ms() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("gateway").await;
    device
        .publish(
            "sensors/1/7/data",
            r#"{"value": 21.5, "timestamp": "2025-12-19T06:30:00", "quality": "good"}"#,
        )
        .await;
    device.publish("gateways/1/status", r#"{"status": "online"}"#).await;
    assert_eq!(brooklet.latest("1").await, [good("7", 21.5)]);
    let gateway = brooklet.get("/api/devices/1").await;
    assert_eq!((&gateway["kind"], &gateway["status"]), (&json!("gateway"), &json!("online")));
    device.publish("telemetry/plain/level", "17.25").await;
    assert_eq!(brooklet.latest("plain").await, [good("level", 17.25)]);
}

#[tokio::test]
async fn esp32_monitor() {
    let keys = r#"[{ name = "cabinet", key = "your_secret_api_key_here" }]"#;
    let brooklet = Brooklet::with(&[("HTTP__API_KEYS", keys)]).await;
    let key = [("X-API-Key", "your_secret_api_key_here")];
    let body = json!({"deviceId": "1234567890ABCDEF", "fwVersion": "1.4.0", "ip": "192.168.1.100",
                      "uptimeSec": 3600, "tempC": 25.5});
    let path = "/api/telemetry";
    let refused = brooklet.request(Method::POST, path, Some(body.clone())).await;
    assert_eq!(refused.status, 401);
    assert!(refused.headers.contains_key("www-authenticate"));
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let stored = brooklet.request_with(Method::POST, path, Some(body.clone()), &key).await;
    assert_eq!((stored.status.as_u16(), &stored.body["ok"]), (200, &json!(true)));
    let record = stored.body["record_id"].as_i64().unwrap();
    let mut failed = body;
    failed["tempC"] = Value::Null;
    assert_eq!(brooklet.request_with(Method::POST, path, Some(failed), &key).await.status, 200);

    let get = |path: &'static str| brooklet.request_with(Method::GET, path, None, &key);
    let latest = get("/api/data/latest?device_id=1234567890ABCDEF").await.body;
    assert_eq!(latest["items"][0]["quality"], "bad");
    assert_eq!(latest["items"][0]["value"], Value::Null);
    let status = get("/api/device_status").await.body;
    assert_eq!(status[0]["device_id"], "1234567890ABCDEF");
    assert_eq!(status[0]["fw_version"], "1.4.0");
    assert_eq!(status[0]["uptime_sec"], 3600);
    assert_eq!(status[0]["status"], "online");
    let recent = get("/api/telemetry_recent").await.body;
    assert_eq!(recent["1234567890ABCDEF"]["temps"], json!([25.5]));
    let history = get("/api/data/history?order=asc").await.body;
    let first = history["items"][0]["event_time"].as_str().unwrap();
    let micros = first.parse::<brooklet::telemetry::Timestamp>().unwrap().as_micros();
    assert_eq!(micros, record);
}
