//! From a message over MQTT to a server that fails first: the whole broker.

use reqwest::Method;
use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use crate::harness::Brooklet;

async fn make(brooklet: &Brooklet, path: &str, body: Value) {
    let made = brooklet.request(Method::POST, path, Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn a_server_that_recovers_gets_an_alarm_once_with_the_key_of_the_first_try() {
    let receiver = Receiver::start(&[Answer::status("503 Service Unavailable")]).await;
    let mut brooklet = Brooklet::start().await;
    let target = super::webhook("ops", &receiver.url("/hook"));
    make(&brooklet, "/api/notification-targets", target).await;
    let level = json!({"severity": "major", "condition": {"type": "above", "limit": 5}});
    make(&brooklet, "/api/alarm-rules", json!({"name": "R", "levels": [level]})).await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 6}"#).await;
    receiver.until_requests(1).await;
    let failed = brooklet
        .eventually("/api/notifications", |page| page["items"][0]["error"].is_string())
        .await;
    let told = &failed["items"][0];
    assert_eq!((&told["state"], &told["attempts"]), (&json!("waiting"), &json!(1)));
    let sent = brooklet.eventually("/api/notifications?state=sent", has_one).await;
    assert_eq!((&sent["items"][0]["id"], &sent["items"][0]["attempts"]), (&told["id"], &json!(2)));
    // What comes after it shows that nothing more came of it.
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let requests = receiver.until_requests(3).await;
    let statuses: Vec<_> = requests.iter().map(|request| &request.body["status"]).collect();
    assert_eq!(statuses, ["firing", "firing", "resolved"]);
    assert_eq!(requests[0].text, requests[1].text);
    let keys: Vec<_> = requests.iter().map(|request| &request.headers["idempotency-key"]).collect();
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
    brooklet.stop().await;
    assert_eq!(receiver.requests().len(), 3);
}

fn has_one(page: &Value) -> bool {
    page["items"].as_array().unwrap().len() == 1
}
