//! Charts as pages get them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Brooklet, Response};

const DAY: &str = "from=2025-12-19T00:00:00Z&to=2025-12-20T00:00:00Z";

/// Readings of a device's sensor, one a minute from 06:00 on; no value: of bad quality.
async fn upload(
    brooklet: &Brooklet,
    device: &str,
    sensor: &str,
    unit: &str,
    values: &[Option<f64>],
) {
    let reading = |(minute, value): (usize, &Option<f64>)| {
        json!({
            "sensor_name": sensor, "value": value, "unit": unit,
            "timestamp": format!("2025-12-19T06:{minute:02}:00Z"),
        })
    };
    let sensors: Vec<Value> = values.iter().enumerate().map(reading).collect();
    let mut client = brooklet.connect(device).await;
    let payload = json!({"sensors": sensors}).to_string();
    assert_eq!(client.publish(&format!("devices/{device}/data"), payload).await.reason, 0);
}

async fn chart(brooklet: &Brooklet, query: &str) -> Response {
    brooklet.request(Method::GET, &format!("/api/data/chart.svg?{query}"), None).await
}

async fn metadata(brooklet: &Brooklet, query: &str) -> Value {
    let drawn = chart(brooklet, query).await;
    assert_eq!(drawn.status, 200, "{}", drawn.text);
    let (_, rest) = drawn.text.split_once("<metadata id=\"series\">").unwrap();
    let text = rest.split_once("</metadata>").unwrap().0;
    let text = text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    serde_json::from_str(&text.replace("&#39;", "'").replace("&amp;", "&")).unwrap()
}

async fn sensor_id(brooklet: &Brooklet, device: &str, sensor: &str) -> i64 {
    let page = brooklet.get(&format!("/api/data/latest?device_id={device}")).await;
    let items = page["items"].as_array().unwrap();
    let found = items.iter().find(|reading| reading["sensor"] == sensor).unwrap();
    found["sensor_id"].as_i64().unwrap()
}

#[tokio::test]
async fn a_chart_shows_what_is_stored() {
    let brooklet = Brooklet::start().await;
    upload(&brooklet, "d", "temperature", "°C", &[Some(20.0), Some(21.0), None, Some(22.0)]).await;
    upload(&brooklet, "d", "humidity", "%", &[Some(40.0), Some(42.0)]).await;
    let (t, h) = (
        sensor_id(&brooklet, "d", "temperature").await,
        sensor_id(&brooklet, "d", "humidity").await,
    );
    let query = format!("sensors={h},{t}&{DAY}&width=600&height=200&theme=dark");
    let drawn = chart(&brooklet, &query).await;
    assert_eq!(
        (drawn.status.as_u16(), &drawn.headers["content-type"]),
        (200, &"image/svg+xml".parse().unwrap())
    );
    assert!(
        drawn
            .text
            .starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"600\" height=\"200\"")
    );
    assert!(drawn.text.contains("data-from=\"1766102400000\" data-to=\"1766188800000\""));
    let told = metadata(&brooklet, &query).await;
    let series = told["series"].as_array().unwrap();
    let of =
        |at: usize| (series[at]["sensor"].as_str().unwrap(), series[at]["axis"].as_str().unwrap());
    assert_eq!([of(0), of(1)], [("humidity", "left"), ("temperature", "right")]);
    assert_eq!(told["bucket_ms"], 300_000.0);
    // 06:00 to 06:05 is one piece.
    let at = 1_766_124_090_000_i64;
    assert_eq!(series[1]["points"], json!([[at, 20.0, 21.0, 22.0, "bad"]]));

    let tag = drawn.headers["etag"].to_str().unwrap();
    let path = format!("/api/data/chart.svg?{query}");
    let again = brooklet.request_with(Method::GET, &path, None, &[("If-None-Match", tag)]).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    upload(&brooklet, "d", "humidity", "%", &[Some(40.0), Some(42.0), Some(45.0)]).await;
    let changed = brooklet.request_with(Method::GET, &path, None, &[("If-None-Match", tag)]).await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn devices_and_names_choose_sensors_too() {
    let brooklet = Brooklet::start().await;
    for device in ["a", "b"] {
        upload(&brooklet, device, "t", "°C", &[Some(1.0)]).await;
        upload(&brooklet, device, "h", "%", &[Some(2.0)]).await;
    }
    let told = metadata(&brooklet, &format!("sensor=t&{DAY}")).await;
    let devices: Vec<_> =
        told["series"].as_array().unwrap().iter().map(|series| series["device"].clone()).collect();
    assert_eq!(devices, ["a", "b"]);
    let told =
        metadata(&brooklet, &format!("device_id=a&{DAY}&locale=zh-CN&time_zone=Asia/Shanghai"))
            .await;
    assert_eq!(told["series"].as_array().unwrap().len(), 2);
    let drawn =
        chart(&brooklet, &format!("device_id=a&{DAY}&locale=zh-CN&time_zone=Asia/Shanghai")).await;
    assert!(drawn.text.contains("2025年12月19日"), "{}", drawn.text);
    let told = metadata(&brooklet, "device_id=a&last=90m").await;
    assert_eq!(told["series"][0]["points"], json!([]));
}

#[tokio::test]
async fn alarms_are_marked_where_rules_are_and_callers_may_see_them() {
    let brooklet = Brooklet::with(&[
        ("HTTP__ALLOW_ANONYMOUS", "true"),
        (
            "ALARMS__RULES",
            r#"[{ name = "hot", scope = { sensors = ["t"] }, levels = [
            { severity = "major", condition = { type = "above", limit = 30 } } ] }]"#,
        ),
    ])
    .await;
    let mut client = brooklet.connect("d").await;
    for value in [20, 35, 20] {
        let payload = json!({"t": value}).to_string();
        assert_eq!(client.publish("devices/d/data", payload).await.reason, 0);
    }
    let told = metadata(&brooklet, "device_id=d&last=1h").await;
    assert_eq!(told["limits"][0]["low"], 30.0);
    assert_eq!(told["limits"][0]["severity"], "major");
    let kinds: Vec<_> =
        told["markers"].as_array().unwrap().iter().map(|marker| marker["kind"].clone()).collect();
    assert_eq!(kinds, ["raised", "cleared"]);
    let told = metadata(&brooklet, "device_id=d&last=1h&bands=false&markers=false").await;
    assert_eq!((&told["limits"], &told["markers"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn names_of_devices_and_sensors_are_text_whatever_they_are() {
    let brooklet = Brooklet::start().await;
    upload(&brooklet, "d", "t", "<script>", &[Some(1.0), Some(2.0)]).await;
    upload(&brooklet, "d", "u", "<script>", &[Some(1.0), Some(2.0)]).await;
    let id = sensor_id(&brooklet, "d", "t").await;
    let name = json!({"display_name": "\"><img src=x onerror=alert(1)>&amp;"});
    let path = format!("/api/sensors/{id}");
    let changed = brooklet.request(Method::PATCH, &path, Some(name)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let drawn = chart(&brooklet, &format!("device_id=d&{DAY}")).await;
    assert_eq!(drawn.status, 200);
    assert!(!drawn.text.contains("<script") && !drawn.text.contains("<img"), "{}", drawn.text);
    let told = metadata(&brooklet, &format!("device_id=d&{DAY}")).await;
    assert_eq!(told["series"][0]["sensor"], "\"><img src=x onerror=alert(1)>&amp;");
}

#[tokio::test]
async fn what_can_t_be_drawn_is_told() {
    let brooklet = Brooklet::start().await;
    for (sensor, unit) in [("a", "°C"), ("b", "%"), ("c", "hPa")] {
        upload(&brooklet, "d", sensor, unit, &[Some(1.0)]).await;
    }
    for (query, status, words) in [
        ("", 422, "of which sensors"),
        ("sensors=x", 422, "commas"),
        ("sensors=999999", 404, "sensor"),
        ("device_id=none", 404, "device"),
        ("device_id=d", 422, "two units"),
        ("device_id=d&sensor=a&last=soon", 422, "last"),
        ("device_id=d&sensor=a&last=1h&from=2025-12-19T00:00:00Z", 422, "not both"),
        ("device_id=d&sensor=a&last=401d", 422, "400 days"),
        ("device_id=d&sensor=a&width=100", 422, "200 to 4000"),
        ("device_id=d&sensor=a&height=9000", 422, "120 to 2000"),
        ("device_id=d&sensor=a&time_zone=Nowhere/Land", 422, "time zone"),
        ("device_id=d&sensor=a&theme=pink", 400, "theme"),
    ] {
        let refused = chart(&brooklet, query).await;
        assert_eq!(refused.status.as_u16(), status, "{query}: {}", refused.text);
        assert!(refused.text.contains(words), "{query}: {}", refused.text);
    }
}
