//! Query parameters that an operation does not know are refused, not read over.

use reqwest::Method;
use serde_json::json;

use crate::{
    harness::Brooklet,
    people::{ask, closed, make_key},
    stream_clients::Socket,
};

#[tokio::test]
async fn a_misspelt_filter_is_refused_with_the_name_that_was_meant() {
    let brooklet = Brooklet::start().await;
    for (path, unknown, told) in [
        ("/api/data/latest?device=esp", "device", "did you mean device_id?"),
        ("/api/data/history?device_id=esp&form=2025-01-01T00:00:00Z", "form", "did you mean from?"),
        ("/api/devices?Online=true", "Online", "did you mean online?"),
        ("/api/sensors?device%5Fids=esp", "device_ids", "did you mean device_id?"),
        ("/api/statistics?verbose=1", "verbose", "this operation has none"),
        ("/api/alarms?colour", "colour", "there are active, acknowledged"),
        ("/api/stream?device=esp", "device", "did you mean devices?"),
    ] {
        let refused = brooklet.request(Method::GET, path, None).await;
        assert_eq!(refused.status, 422, "{path}: {}", refused.text);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        assert_eq!(refused.body["errors"][0]["pointer"], unknown, "{path}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(told), "{path}: {detail}");
    }
    // Nothing is deleted, whatever else the query says.
    let path = "/api/data?device_id=esp&too=2025-01-01T00:00:00Z";
    assert_eq!(brooklet.request(Method::DELETE, path, None).await.status, 422);
    let made =
        brooklet.request(Method::POST, "/api/devices?dry_run=true", Some(json!({"device": "d"})));
    assert_eq!(made.await.status, 422);
    assert_eq!(brooklet.get("/api/devices").await["items"], json!([]));
    for path in ["/ws?device=esp", "/ws/alarms?devices=esp", "/ws/devices/d?sensors=a"] {
        assert_eq!(Socket::attempt(brooklet.http, path, &[]).await.err(), Some(422), "{path}");
    }
    for (path, status) in
        [("/api/nothing?x=1", 404), ("/api/devices?", 200), ("/api/devices?q=", 200)]
    {
        assert_eq!(brooklet.request(Method::GET, path, None).await.status, status, "{path}");
    }
    assert_eq!(brooklet.request(Method::PUT, "/api/devices?x=1", None).await.status, 405);
}

#[tokio::test]
async fn what_can_not_be_read_is_told_in_the_words_of_the_caller() {
    let brooklet = Brooklet::start().await;
    for (path, told) in [
        ("/api/data/export?format=xml", "format can't be read: expected one of csv, ndjson"),
        ("/api/devices?online=perhaps", "online can't be read: expected true or false"),
        ("/api/devices?limit=-1", "limit can't be read: expected a whole number, 0 or more"),
        ("/api/data/latest?sensor_id=x", "sensor_id can't be read: expected a whole number"),
        (
            "/api/data?from=yesterday",
            "from can't be read: expected a time such as 2025-12-19T06:30:00Z",
        ),
        ("/api/sensors/one", "id can't be read: expected a whole number"),
    ] {
        let refused = brooklet.request(Method::GET, path, None).await;
        assert_eq!((refused.status.as_u16(), &refused.body["detail"]), (400, &json!(told)));
        assert!(refused.body["request_id"].is_string(), "{}", refused.text);
    }
}

#[tokio::test]
async fn who_may_not_is_told_that_first() {
    let (brooklet, admin) = closed(&[]).await;
    let path = "/api/devices?devise=d";
    assert_eq!(brooklet.request(Method::GET, path, None).await.status, 401);
    let (_, reader) =
        make_key(&brooklet, &admin, json!({"name": "r", "scopes": ["data:read"]})).await;
    assert_eq!(ask(&brooklet, &reader, Method::GET, path, None).await.status, 403);
    assert_eq!(ask(&brooklet, &admin, Method::GET, path, None).await.status, 422);
    assert_eq!(ask(&brooklet, &admin, Method::HEAD, path, None).await.status, 422);
}

#[tokio::test]
async fn what_devices_and_dashboards_append_is_read_over() {
    let brooklet = Brooklet::start().await;
    let body = json!({"device_id": "esp", "tempC": 21.5});
    let sent = brooklet.request(Method::POST, "/api/telemetry?t=1700000000", Some(body)).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    let body = json!({"device_id": "aiot", "sensors": [{"sensor_name": "t", "value": 1.0}]});
    let sent = brooklet.request(Method::POST, "/api/devices/data/upload?v=2", Some(body)).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    for path in [
        "/api/device_status?_=1700000000",
        "/api/telemetry_recent?_=1700000000",
        "/api/database/status?_=1",
        "/api/health?probe=lb",
        "/health/ready?probe=lb",
        "/version?x=1",
    ] {
        brooklet.get(path).await;
    }
}
