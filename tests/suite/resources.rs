//! Sensors and gateways as resources: register, edit, list, retire, bring back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Brooklet;

fn names(page: &Value, field: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

async fn create(brooklet: &Brooklet, path: &str, body: Value) -> Value {
    let made = brooklet.request(Method::POST, path, Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body
}

#[tokio::test]
async fn a_sensor_is_registered_edited_and_shown_with_its_tag() {
    let brooklet = Brooklet::start().await;
    create(&brooklet, "/api/devices", json!({"device": "d"})).await;
    let body = json!({"device": "d", "name": "t", "type": "temperature", "unit": "°C", "min": -20.0,
        "max": 60.0, "resolution": 0.1, "display_name": "Boiler", "location": "hall 3"});
    let made = create(&brooklet, "/api/sensors", body.clone()).await;
    assert_eq!((&made["type"], &made["resolution"]), (&json!("temperature"), &json!(0.1)));
    let again = brooklet.request(Method::POST, "/api/sensors", Some(body)).await;
    assert_eq!(again.status, 409, "{}", again.text);
    let path = format!("/api/sensors/{}", made["id"]);
    let shown = brooklet.request(Method::GET, &path, None).await;
    let tag = shown.headers["etag"].to_str().unwrap().to_owned();
    let with_tag = [("If-Match", tag.as_str())];
    let change = json!({"unit": null, "max": 80.0});
    let patched =
        brooklet.request_with(Method::PATCH, &path, Some(change.clone()), &with_tag).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    assert_eq!((&patched.body["unit"], &patched.body["max"]), (&Value::Null, &json!(80.0)));
    assert_eq!(patched.body["min"], -20.0);
    let stale = brooklet.request_with(Method::PATCH, &path, Some(change), &with_tag).await;
    assert_eq!(stale.status, 412);
    let next = patched.headers["etag"].to_str().unwrap();
    let replaced = brooklet
        .request_with(Method::PUT, &path, Some(json!({"unit": "K"})), &[("If-Match", next)])
        .await;
    assert_eq!((&replaced.body["unit"], &replaced.body["min"]), (&json!("K"), &Value::Null));
    let brooklet = brooklet.restart().await;
    assert_eq!(brooklet.get(&path).await, replaced.body);
}

#[tokio::test]
async fn what_is_wrong_with_a_sensor_is_told_with_a_pointer() {
    let brooklet = Brooklet::start().await;
    create(&brooklet, "/api/devices", json!({"device": "d"})).await;
    for (body, pointer) in [
        (json!({"device": "none"}), "/device"),
        (json!({"device": "d", "name": "no spaces"}), "/name"),
        (json!({"device": "d", "min": 2, "max": 1}), "/min"),
        (json!({"device": "d", "resolution": 0}), "/resolution"),
        (json!({"device": "d", "unit": "a unit of more than twenty"}), "/unit"),
        (json!({"device": "d", "type": 5}), "/type"),
    ] {
        let refused = brooklet.request(Method::POST, "/api/sensors", Some(body)).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.text);
    }
    assert_eq!(brooklet.request(Method::GET, "/api/sensors/99", None).await.status, 404);
}

#[tokio::test]
async fn a_sensor_without_a_name_is_called_by_its_number_and_takes_readings() {
    let brooklet = Brooklet::start().await;
    create(&brooklet, "/api/devices", json!({"device": "d"})).await;
    let made = create(&brooklet, "/api/sensors", json!({"device": "d", "max": 10})).await;
    let name = made["id"].to_string();
    assert_eq!(made["name"], name);
    let mut device = brooklet.connect("d").await;
    let topic = format!("sensors/d/{name}/data");
    assert_eq!(device.publish(&topic, r#"{"value": 11}"#).await.reason, 0);
    assert_eq!(brooklet.latest("d").await, [(name, Some(11.0), "uncertain".to_owned())]);
}

#[tokio::test]
async fn lists_of_sensors_are_filtered_and_paged() {
    let brooklet = Brooklet::start().await;
    for (device, hall) in [("a", "1"), ("b", "2")] {
        let body = json!({"device": device, "labels": {"hall": hall}, "gateway": "gw"});
        create(&brooklet, "/api/devices", body).await;
        for (name, kind) in [("t", "temperature"), ("h", "humidity")] {
            let body = json!({"device": device, "name": name, "type": kind, "unit": "x"});
            create(&brooklet, "/api/sensors", body).await;
        }
    }
    for (query, count) in [
        ("", 4),
        ("device_id=a", 2),
        ("device_id=a&device_id=b&name=t", 2),
        ("type=humidity", 2),
        ("type=humidity&type=temperature&label=hall:2", 2),
        ("label=hall", 4),
        ("label=floor", 0),
        ("gateway=gw", 4),
        ("gateway=other", 0),
        ("unit=x&active=true", 4),
        ("active=false", 0),
        ("q=T", 2),
        ("retired=true", 0),
    ] {
        let page = brooklet.get(&format!("/api/sensors?{query}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}: {page}");
    }
    let first = brooklet.get("/api/sensors?limit=3").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = brooklet.get(&format!("/api/sensors?limit=3&cursor={cursor}")).await;
    assert_eq!(names(&second, "name"), ["h"]);
    assert!(second["next_cursor"].is_null());
    assert_eq!(brooklet.request(Method::GET, "/api/sensors?device_id=c", None).await.status, 404);
    let labelled = brooklet.get("/api/devices?label=hall:2").await;
    assert_eq!(names(&labelled, "device"), ["b"]);
}

#[tokio::test]
async fn a_retired_sensor_keeps_its_data_and_comes_back() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 1, "u": 5}"#).await;
    let sensors = brooklet.get("/api/sensors?name=t").await;
    let path = format!("/api/sensors/{}", sensors["items"][0]["id"]);
    let keep = format!("{path}?data=keep");
    assert_eq!(brooklet.request(Method::DELETE, &keep, None).await.status, 204);
    assert_eq!(names(&brooklet.get("/api/sensors").await, "name"), ["u"]);
    assert_eq!(names(&brooklet.get("/api/sensors?retired=true").await, "name"), ["t"]);
    assert_eq!(device.publish("devices/d/data", r#"{"t": 2}"#).await.reason, 0x83);
    let brooklet = brooklet.restart().await;
    let data = brooklet.get(&format!("/api/data?sensor_id={}", sensors["items"][0]["id"])).await;
    assert_eq!(data["items"][0]["value"], 1.0);
    assert_eq!(brooklet.get("/api/data").await["items"].as_array().unwrap().len(), 1);
    let back = brooklet.request(Method::PATCH, &path, Some(json!({"active": true}))).await;
    assert!(back.body["retired_at"].is_null(), "{}", back.text);
    assert_eq!(names(&brooklet.get("/api/sensors").await, "name"), ["t", "u"]);
    let mut device = brooklet.connect("d").await;
    assert_eq!(device.publish("devices/d/data", r#"{"t": 2}"#).await.reason, 0);
}

#[tokio::test]
async fn a_retired_device_keeps_its_data_and_comes_back() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let path = "/api/devices/d?data=keep";
    assert_eq!(brooklet.request(Method::DELETE, path, None).await.status, 204);
    assert!(names(&brooklet.get("/api/devices").await, "device").is_empty());
    assert_eq!(names(&brooklet.get("/api/devices?retired=true").await, "device"), ["d"]);
    assert_eq!(device.publish("devices/d/data", r#"{"t": 2}"#).await.reason, 0x87);
    assert_eq!(brooklet.latest("d").await.len(), 1);
    assert!(brooklet.get("/api/data").await["items"].as_array().unwrap().is_empty());
    let back = Some(json!({"approval": "active"}));
    assert_eq!(brooklet.request(Method::PATCH, "/api/devices/d", back).await.status, 200);
    assert_eq!(names(&brooklet.get("/api/devices").await, "device"), ["d"]);
    assert_eq!(device.publish("devices/d/data", r#"{"t": 2}"#).await.reason, 0);
}

#[tokio::test]
async fn a_gateway_is_shown_with_what_it_speaks_for() {
    let brooklet = Brooklet::start().await;
    let body = json!({"device": "gw", "name": "Hall 3", "labels": {"hall": "3"}});
    let made = create(&brooklet, "/api/gateways", body).await;
    assert_eq!((&made["kind"], &made["devices"]), (&json!("gateway"), &json!(0)));
    create(&brooklet, "/api/devices", json!({"device": "a", "gateway": "gw"})).await;
    create(&brooklet, "/api/devices", json!({"device": "b", "gateway": "gw"})).await;
    create(&brooklet, "/api/devices", json!({"device": "c"})).await;
    create(&brooklet, "/api/sensors", json!({"device": "gw", "name": "uptime"})).await;
    let mut device = brooklet.connect("a").await;
    device.publish("devices/a/data", r#"{"t": 1, "h": 2}"#).await;
    device.publish("gateways/gw/status", r#"{"status": "running"}"#).await;
    let shown = brooklet.request(Method::GET, "/api/gateways/gw", None).await;
    assert_eq!((&shown.body["devices"], &shown.body["devices_online"]), (&json!(2), &json!(1)));
    assert_eq!((&shown.body["sensors"], &shown.body["status"]), (&json!(3), &json!("running")));
    let devices = brooklet.get("/api/gateways/gw/devices").await;
    assert_eq!(names(&devices, "device"), ["a", "b"]);
    let online = brooklet.get("/api/gateways/gw/devices?online=true").await;
    assert_eq!(names(&online, "device"), ["a"]);
    let sensors = brooklet.get("/api/gateways/gw/sensors").await;
    assert_eq!(names(&sensors, "name").len(), 3);
    assert_eq!(names(&brooklet.get("/api/gateways?label=hall:3").await, "device"), ["gw"]);
    let tag = shown.headers["etag"].to_str().unwrap();
    let body = Some(json!({"name": "Hall 4"}));
    let put = brooklet
        .request_with(Method::PUT, "/api/gateways/gw", body.clone(), &[("If-Match", tag)])
        .await;
    assert_eq!((&put.body["name"], &put.body["labels"]), (&json!("Hall 4"), &json!({})));
    let stale =
        brooklet.request_with(Method::PUT, "/api/gateways/gw", body, &[("If-Match", tag)]).await;
    assert_eq!(stale.status, 412);
    for path in ["/api/gateways/a", "/api/gateways/a/devices", "/api/gateways/a/sensors"] {
        assert_eq!(brooklet.request(Method::GET, path, None).await.status, 404, "{path}");
    }
    let ordered = brooklet.request(Method::DELETE, "/api/gateways/gw", None).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "done");
    assert_eq!(brooklet.get("/api/devices/a").await["gateway"], "gw");
    assert!(names(&brooklet.get("/api/gateways").await, "device").is_empty());
}
