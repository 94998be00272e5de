//! Devices, keys and users that prove themselves over MQTT, and are cut when they may not be there.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    certificates::Authority,
    harness::Brooklet,
    people::{ask, closed, make_key},
    wire::{Client, login},
};

const PASSWORD: &str = "a fine long password";

/// A server that is closed on both surfaces, with the devices `esp` and `other`.
async fn world(more: &[(&str, &str)]) -> (Brooklet, String) {
    let mut variables = vec![("MQTT__ALLOW_ANONYMOUS", "false")];
    variables.extend(more);
    let (brooklet, key) = closed(&variables).await;
    for device in ["esp", "other"] {
        let body = Some(json!({"device": device}));
        assert_eq!(ask(&brooklet, &key, Method::POST, "/api/devices", body).await.status, 201);
    }
    (brooklet, key)
}

async fn issue(brooklet: &Brooklet, key: &str, device: &str, body: Value) -> (i64, String) {
    let path = format!("/api/devices/{device}/credentials");
    let made = ask(brooklet, key, Method::POST, &path, Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let secret = made.body["secret"].as_str().unwrap_or_default().to_owned();
    (made.body["id"].as_i64().unwrap(), secret)
}

async fn log_in(brooklet: &Brooklet, user: &str, password: &str) -> Option<u8> {
    let connect = login(5, "client", Some(user), Some(password));
    Client::raw(brooklet.mqtt).await.log_in(&connect).await
}

async fn connected(brooklet: &Brooklet, client: &str, user: &str, password: &str) -> Client {
    let connect = login(5, client, Some(user), Some(password));
    Client::open(brooklet.mqtt, connect, true).await.0
}

const NOT_AUTHORIZED: Option<u8> = Some(0x87);
const WRONG: Option<u8> = Some(0x86);

#[tokio::test]
async fn a_device_logs_in_with_its_secret_and_keeps_to_itself() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let (brooklet, key) = world(&[]).await;
    let (_, secret) = issue(&brooklet, &key, "esp", json!({})).await;
    assert_eq!(log_in(&brooklet, "other", &secret).await, WRONG);
    assert_eq!(log_in(&brooklet, "esp", "brd_guessed").await, WRONG);
    assert_eq!(log_in(&brooklet, "esp", "").await, WRONG);
    let mut esp = connected(&brooklet, "any client id", "esp", &secret).await;
    let online = async || {
        let shown = ask(&brooklet, &key, Method::GET, "/api/devices/esp", None).await;
        shown.body["online"].clone()
    };
    assert_eq!(online().await, true, "by its connection alone");
    assert_eq!(esp.publish("devices/esp/data", r#"{"t": 1}"#).await.reason & 0x80, 0);
    for other in ["devices/other/data", "telemetry/other/t", "x", "devices/new/data"] {
        assert_eq!(esp.publish(other, r#"{"t": 1}"#).await.reason, 0x87, "{other}");
    }
    assert_eq!(esp.subscribe("devices/esp/#", 1).await, 1);
    assert_eq!(esp.subscribe("devices/other/#", 1).await, 0x87);
    // What it may do beside is in force at once.
    let path = "/api/devices/esp/permissions";
    let body = Some(json!({"allow": ["both:news/#"]}));
    assert_eq!(ask(&brooklet, &key, Method::PUT, path, body).await.status, 200);
    assert_eq!(esp.publish("news/1", "x").await.reason & 0x80, 0);
    assert_eq!(esp.subscribe("news/#", 1).await, 1);
    let wrong = Some(json!({"allow": ["fly:#"]}));
    assert_eq!(ask(&brooklet, &key, Method::PUT, path, wrong).await.status, 422);
    // A gateway speaks for its devices.
    let behind = Some(json!({"device": "behind", "gateway": "esp"}));
    assert_eq!(ask(&brooklet, &key, Method::POST, "/api/devices", behind).await.status, 201);
    assert_eq!(esp.publish("devices/behind/data", r#"{"t": 1}"#).await.reason & 0x80, 0);
    let listed = ask(&brooklet, &key, Method::GET, "/api/devices/esp/credentials", None).await;
    assert!(listed.body["items"][0]["used_at"].is_string() && !listed.text.contains(&secret));
    let brooklet = brooklet.restart().await;
    assert_eq!(log_in(&brooklet, "esp", &secret).await, Some(0));
    let stored = std::fs::read(brooklet.database()).unwrap();
    let is_stored = stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
    assert!(!is_stored, "the secret stands in the database");
}

#[tokio::test]
async fn topics_are_given_away_by_those_only_who_may_grant_them() {
    let (brooklet, key) = world(&[]).await;
    let scopes = ["devices:write", "keys:write", "telemetry:write"];
    let (_, operator) = make_key(&brooklet, &key, json!({"name": "o", "scopes": scopes})).await;
    let permissions = "/api/devices/esp/permissions";
    let body = Some(json!({"allow": ["both:shop/#"]}));
    assert_eq!(ask(&brooklet, &key, Method::PUT, permissions, body).await.status, 200);
    let bound = |device| json!({"name": device, "scopes": ["telemetry:write"], "device": device});
    for (path, body) in [
        ("/api/devices/esp/credentials", json!({})),
        ("/api/devices/esp/credentials", json!({"kind": "certificate", "subject": "SN 7"})),
        ("/api/keys", bound("esp")),
    ] {
        let refused = ask(&brooklet, &operator, Method::POST, path, Some(body)).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text);
    }
    // Where there are no such topics it is theirs to do, as before.
    issue(&brooklet, &operator, "other", json!({})).await;
    make_key(&brooklet, &operator, bound("other")).await;
    make_key(&brooklet, &operator, bound("unseen")).await;
    issue(&brooklet, &key, "esp", json!({})).await;
    // Nor is a key prolonged by those who may not make it.
    let (id, _) = make_key(&brooklet, &key, bound("esp")).await;
    let path = format!("/api/keys/{id}");
    let longer = Some(json!({"expires_at": "2999-01-01T00:00:00Z"}));
    let refused = ask(&brooklet, &operator, Method::PATCH, &path, longer.clone()).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let prolonged = ask(&brooklet, &key, Method::PATCH, &path, longer).await;
    assert_eq!(prolonged.status, 200, "{}", prolonged.text);
}

#[tokio::test]
async fn a_password_that_changes_while_it_is_checked_lets_nobody_in() {
    let (brooklet, key) = world(&[]).await;
    let mut old = "the first fine password".to_owned();
    let body = json!({"name": "ann", "role": "admin", "password": old});
    assert_eq!(ask(&brooklet, &key, Method::POST, "/api/users", Some(body)).await.status, 201);
    for round in 0..3 {
        let new = format!("another fine password {round}");
        let connect = login(5, "ann", Some("ann"), Some(&old));
        let (mut client, body) =
            (Client::raw(brooklet.mqtt).await, json!({"password": new.clone()}));
        let path = "/api/users/ann/password";
        let (answer, changed) = tokio::join!(
            client.log_in(&connect),
            ask(&brooklet, &key, Method::PUT, path, Some(body))
        );
        assert_eq!(changed.status, 204, "{}", changed.text);
        // Either it was too late, or it was in and is cut.
        match answer {
            Some(0) => assert_eq!(client.goodbye().await, Some(0x87)),
            refused => assert_eq!(refused, WRONG),
        }
        old = new;
    }
}

#[tokio::test]
async fn a_secret_is_rotated_and_revoked() {
    let (brooklet, key) = world(&[]).await;
    let (first, old) = issue(&brooklet, &key, "esp", json!({})).await;
    let (_, new) = issue(&brooklet, &key, "esp", json!({"overlap_seconds": 3600})).await;
    assert_eq!(log_in(&brooklet, "esp", &old).await, Some(0));
    assert_eq!(log_in(&brooklet, "esp", &new).await, Some(0));
    let mut esp = connected(&brooklet, "esp", "esp", &old).await;
    let mut other = {
        let (_, secret) = issue(&brooklet, &key, "other", json!({})).await;
        connected(&brooklet, "other", "other", &secret).await
    };
    let path = format!("/api/devices/esp/credentials/{first}");
    assert_eq!(ask(&brooklet, &key, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(esp.goodbye().await, NOT_AUTHORIZED, "its connection is cut");
    assert!(other.is_quiet().await, "another's is not");
    assert_eq!(log_in(&brooklet, "esp", &old).await, WRONG);
    assert_eq!(log_in(&brooklet, "esp", &new).await, Some(0));
    assert_eq!(ask(&brooklet, &key, Method::DELETE, &path, None).await.status, 404);
    let (_, next) = issue(&brooklet, &key, "esp", json!({"overlap_seconds": 0})).await;
    assert_eq!(log_in(&brooklet, "esp", &new).await, WRONG, "without overlap it ends at once");
    assert_eq!(log_in(&brooklet, "esp", &next).await, Some(0));
    let past = json!({"expires_at": "2020-01-01T00:00:00Z"});
    let (_, expired) = issue(&brooklet, &key, "esp", past).await;
    assert_eq!(log_in(&brooklet, "esp", &expired).await, WRONG);
    let audit = ask(&brooklet, &key, Method::GET, "/api/audit?limit=1000", None).await;
    assert!(audit.text.contains("revoke_credential") && !audit.text.contains("brd_"));
}

#[tokio::test]
async fn a_blocked_or_deleted_device_is_cut() {
    let (brooklet, key) = world(&[]).await;
    let (_, secret) = issue(&brooklet, &key, "esp", json!({})).await;
    let bound = json!({"name": "bound", "scopes": ["telemetry:write"], "device": "esp"});
    let (_, bound) = make_key(&brooklet, &key, bound).await;
    let mut esp = connected(&brooklet, "esp", "esp", &secret).await;
    let mut by_key = connected(&brooklet, "by key", "any", &bound).await;
    assert_eq!(by_key.publish("devices/esp/data", r#"{"t": 1}"#).await.reason & 0x80, 0);
    assert_eq!(by_key.publish("devices/other/data", r#"{"t": 1}"#).await.reason, 0x87);
    let approve = async |approval: &str| {
        let body = Some(json!({"approval": approval}));
        ask(&brooklet, &key, Method::PATCH, "/api/devices/esp", body).await.status
    };
    assert_eq!(approve("blocked").await, 200);
    assert_eq!(esp.goodbye().await, NOT_AUTHORIZED);
    assert_eq!(by_key.goodbye().await, NOT_AUTHORIZED);
    assert_eq!(log_in(&brooklet, "esp", &secret).await, NOT_AUTHORIZED);
    assert_eq!(log_in(&brooklet, "any", &bound).await, NOT_AUTHORIZED);
    assert_eq!(approve("active").await, 200);
    let mut esp = connected(&brooklet, "esp", "esp", &secret).await;
    assert_eq!(ask(&brooklet, &key, Method::DELETE, "/api/devices/esp", None).await.status, 202);
    assert_eq!(esp.goodbye().await, NOT_AUTHORIZED);
    // Its secret goes with it, once the job is done.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reason = log_in(&brooklet, "esp", &secret).await;
        if reason == WRONG {
            break;
        }
        assert_eq!(reason, NOT_AUTHORIZED);
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // So do the keys that are bound to it, over both surfaces.
    assert_eq!(log_in(&brooklet, "any", &bound).await, WRONG);
    let upload = ask(&brooklet, &bound, Method::POST, "/api/telemetry", Some(json!({"t": 1})));
    assert_eq!(upload.await.status, 401);
    let keys = ask(&brooklet, &key, Method::GET, "/api/keys", None).await;
    assert!(!keys.text.contains("bound"), "{}", keys.text);
}

#[tokio::test]
async fn a_certificate_is_a_devices() {
    let authority = Authority::new();
    let more = format!(", client_certificates = \"required\"{}", authority.client_ca());
    let listener = format!("[{}]", authority.listener("tls", &more));
    let (brooklet, key) =
        world(&[("MQTT__LISTENERS", &listener), ("ACCESS__CERTIFICATE_USER", "cn")]).await;
    let address = brooklet.listener("tls");
    let open = async |name: &str| {
        let stream = authority.connect(address, Some(authority.issue(name))).await.unwrap();
        let mut client = Client::over(stream);
        assert_eq!(client.log_in(&login(5, name, None, None)).await, Some(0), "{name}");
        client
    };
    let mut esp = open("esp").await;
    assert_eq!(esp.publish("devices/esp/data", r#"{"t": 1}"#).await.reason & 0x80, 0);
    assert_eq!(esp.publish("devices/other/data", r#"{"t": 1}"#).await.reason, 0x87);
    let certificate = json!({"kind": "certificate", "subject": "SN 0815"});
    issue(&brooklet, &key, "other", certificate.clone()).await;
    let path = "/api/devices/esp/credentials";
    let taken = ask(&brooklet, &key, Method::POST, path, Some(certificate)).await;
    assert_eq!(taken.status, 409, "{}", taken.text);
    let mut other = open("SN 0815").await;
    assert_eq!(other.publish("devices/other/data", r#"{"t": 1}"#).await.reason & 0x80, 0);
}

#[tokio::test]
async fn users_and_keys_read_everything_where_they_may() {
    let (brooklet, admin) = world(&[]).await;
    let body = json!({"name": "ann", "role": "viewer", "password": PASSWORD,
        "mqtt_allow": ["publish:shop/#"]});
    let made = ask(&brooklet, &admin, Method::POST, "/api/users", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mut ann = connected(&brooklet, "ann", "ann", PASSWORD).await;
    assert_eq!(ann.subscribe("#", 0).await, 0);
    assert_eq!(ann.publish("shop/1", "x").await.reason & 0x80, 0);
    assert_eq!(ann.message().await.1, "shop/1");
    assert_eq!(ann.publish("devices/esp/data", "1").await.reason, 0x87);
    assert_eq!(log_in(&brooklet, "ann", "wrong").await, WRONG);
    let body = json!({"name": "panel", "scopes": ["mqtt:read"]});
    let (id, key) = make_key(&brooklet, &admin, body).await;
    let mut panel = connected(&brooklet, "panel", "any", &key).await;
    assert_eq!(panel.subscribe("devices/#", 0).await, 0);
    assert_eq!(panel.publish("shop/1", "x").await.reason, 0x87);
    let body = json!({"name": "reader", "scopes": ["data:read"]});
    let (_, reader) = make_key(&brooklet, &admin, body).await;
    assert_eq!(log_in(&brooklet, "any", &reader).await, NOT_AUTHORIZED);
    let path = format!("/api/keys/{id}");
    assert_eq!(ask(&brooklet, &admin, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(panel.goodbye().await, NOT_AUTHORIZED);
    let off = Some(json!({"active": false}));
    assert_eq!(ask(&brooklet, &admin, Method::PATCH, "/api/users/ann", off).await.status, 200);
    assert_eq!(ann.goodbye().await, NOT_AUTHORIZED);
    assert_eq!(log_in(&brooklet, "ann", PASSWORD).await, WRONG);
}

/// Two real clients that are not ours.
#[tokio::test]
async fn a_client_of_others_logs_in_with_a_secret() {
    let (brooklet, key) = world(&[]).await;
    let (_, secret) = issue(&brooklet, &key, "esp", json!({})).await;
    let open = |password: &str| {
        let (host, port) = (brooklet.mqtt.ip().to_string(), brooklet.mqtt.port());
        let mut options = rumqttc::MqttOptions::new("other's", host, port);
        options.set_credentials("esp", password);
        rumqttc::AsyncClient::new(options, 10)
    };
    let (client, mut events) = open(&secret);
    client
        .publish("devices/esp/data", rumqttc::QoS::AtLeastOnce, false, r#"{"t": 21.5}"#)
        .await
        .unwrap();
    loop {
        let event = events.poll().await.unwrap();
        if matches!(event, rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) {
            break;
        }
    }
    let path = "/api/data/latest?device_id=esp";
    let latest = ask(&brooklet, &key, Method::GET, path, None).await.body;
    assert_eq!(latest["items"][0]["value"], 21.5);
    let (_client, mut events) = open("brd_wrong");
    let refused = events.poll().await.unwrap_err();
    assert!(matches!(refused, rumqttc::ConnectionError::ConnectionRefused(_)), "{refused}");
}
