//! Devices: learned, pending, rejected, blocked; who is online; edits and deletion.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Brooklet;

#[tokio::test]
async fn a_pending_device_is_held_and_replayed_on_approval() {
    let brooklet =
        Brooklet::with(&[("DEVICES__UNKNOWN", "pending"), ("DEVICES__MAX_HELD_MESSAGES", "3")])
            .await;
    let mut device = brooklet.connect("d").await;
    for n in 0..3 {
        assert_eq!(device.publish("devices/d/data", format!(r#"{{"t": {n}}}"#)).await.reason, 0);
    }
    assert_eq!(device.publish("devices/d/data", r#"{"t": 3}"#).await.reason, 0x97);
    assert_eq!(brooklet.get("/api/devices?approval=pending").await["items"][0]["device"], "d");
    assert!(brooklet.latest("d").await.is_empty());
    let approved = brooklet.request(Method::POST, "/api/devices/d/approve", None).await;
    assert_eq!((approved.status.as_u16(), &approved.body["replayed"]), (200, &json!(3)));
    let history = brooklet.get("/api/data/history?device_id=d&order=asc").await;
    let values: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|r| r["value"].clone()).collect();
    assert_eq!(values, [0.0, 1.0, 2.0]);
    assert_eq!(device.publish("devices/d/data", r#"{"t": 9}"#).await.reason, 0);
}

#[tokio::test]
async fn what_was_held_keeps_the_time_when_it_came_and_is_not_judged() {
    let rule = r#"[{ name = "hot", levels = [
        { severity = "warning", condition = { type = "above", limit = 30 } } ] }]"#;
    let brooklet =
        Brooklet::with(&[("DEVICES__UNKNOWN", "pending"), ("ALARMS__RULES", rule)]).await;
    let mut client = brooklet.connect("d").await;
    assert_eq!(client.publish("devices/d/data", r#"{"t": 40}"#).await.reason, 0);
    drop(client);
    let time = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let held = time(&brooklet.get("/api/health").await["time"]);
    let brooklet = brooklet.restart().await;
    let approved = brooklet.request(Method::POST, "/api/devices/d/approve", None).await;
    assert_eq!(approved.body["replayed"], 1, "{}", approved.text);
    let latest = brooklet.get("/api/data/latest?device_id=d").await;
    assert!(time(&latest["items"][0]["event_time"]) < held, "{latest}");
    assert_eq!(brooklet.get("/api/alarms").await["items"], json!([]));
    let brooklet = brooklet.restart().await;
    assert_eq!(brooklet.get("/api/alarms").await["items"], json!([]));
}

#[tokio::test]
async fn what_is_held_is_stored_once_whoever_approves_and_blocks_meanwhile() {
    let brooklet = Brooklet::with(&[("DEVICES__UNKNOWN", "pending")]).await;
    let mut devices = brooklet.connect("c").await;
    for n in 0..250 {
        for device in ["twice", "blocked"] {
            let topic = format!("devices/{device}/data");
            assert_eq!(devices.publish(&topic, format!(r#"{{"t": {n}}}"#)).await.reason, 0);
        }
    }
    let approve = async |device: &str| {
        let path = format!("/api/devices/{device}/approve");
        brooklet.request(Method::POST, &path, None).await
    };
    let stored = async |device: &str| {
        let path = format!("/api/data/history?device_id={device}&page=1&per_page=1");
        brooklet.get(&path).await["total"].clone()
    };
    // The second finds the first at work.
    let (first, second) = tokio::join!(approve("twice"), async {
        while stored("twice").await == 0 {}
        approve("twice").await
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200), "{}", second.text);
    assert_eq!(stored("twice").await, 250);
    // Blocked at some moment of the replay: what is left stays in the hold.
    let block = async || {
        let body = json!({"approval": "blocked"});
        brooklet.request(Method::PATCH, "/api/devices/blocked", Some(body)).await
    };
    let (approved, _) = tokio::join!(approve("blocked"), async {
        while stored("blocked").await == 0 {}
        assert_eq!(block().await.status, 200);
    });
    assert_eq!(approved.status, 200, "{}", approved.text);
    let before = stored("blocked").await.as_i64().unwrap();
    assert_eq!(approved.body["replayed"], before, "no more, and no less, than is stored");
    let rest = approve("blocked").await;
    assert_eq!(rest.body["replayed"], 250 - before, "{}", rest.text);
    assert_eq!(stored("blocked").await, 250);
}

#[tokio::test]
async fn unknown_devices_are_rejected_where_that_is_the_policy() {
    let brooklet = Brooklet::with(&[("DEVICES__UNKNOWN", "reject")]).await;
    let mut device = brooklet.connect("d").await;
    assert_eq!(device.publish("devices/d/data", r#"{"t": 1}"#).await.reason, 0x87);
    let created = brooklet
        .request(Method::POST, "/api/devices", Some(json!({"device": "d", "name": "One"})))
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(device.publish("devices/d/data", r#"{"t": 1}"#).await.reason, 0);
    let again = brooklet.request(Method::POST, "/api/devices", Some(json!({"device": "d"}))).await;
    assert_eq!(again.status, 409);
    assert!(brooklet.get("/api/quarantine").await["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn over_the_cap_new_devices_wait_for_approval() {
    let brooklet = Brooklet::with(&[("DEVICES__MAX_LEARNED_PER_HOUR", "2")]).await;
    let mut device = brooklet.connect("c").await;
    for n in 0..4 {
        assert_eq!(device.publish(&format!("devices/d{n}/data"), r#"{"t": 1}"#).await.reason, 0);
    }
    let count = async |approval: &str| {
        let page = brooklet.get(&format!("/api/devices?approval={approval}")).await;
        page["items"].as_array().unwrap().len()
    };
    assert_eq!((count("active").await, count("pending").await), (2, 2));
}

#[tokio::test]
async fn presence_follows_the_connections() {
    let brooklet = Brooklet::with(&[("DEVICES__OFFLINE_GRACE", "100ms")]).await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("devices/+/presence", 1).await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let (first, topic, id, payload) = watcher.message().await;
    let told: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((topic.as_str(), &told["online"]), ("devices/d/presence", &json!(true)));
    assert_eq!(first & 1, 0, "not retained for those who were there");
    watcher.send(&crate::wire::packet(0x40, &id.to_be_bytes())).await;
    drop(device);
    let (_, _, id, payload) = watcher.message().await;
    let told: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(told["online"], false);
    watcher.send(&crate::wire::packet(0x40, &id.to_be_bytes())).await;
    let mut late = brooklet.connect("late").await;
    late.subscribe("devices/d/presence", 0).await;
    assert_eq!(late.message().await.0 & 1, 1, "retained for those who come later");
}

#[tokio::test]
async fn edits_are_guarded_by_the_entity_tag() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let shown = brooklet.request(Method::GET, "/api/devices/d", None).await;
    let tag = shown.headers["etag"].to_str().unwrap().to_owned();
    let change = Some(json!({"name": "Boiler", "labels": {"hall": "3"}}));
    let with_tag = [("If-Match", tag.as_str())];
    let changed =
        brooklet.request_with(Method::PATCH, "/api/devices/d", change.clone(), &with_tag).await;
    assert_eq!((changed.status.as_u16(), &changed.body["name"]), (200, &json!("Boiler")));
    let stale = brooklet.request_with(Method::PATCH, "/api/devices/d", change, &with_tag).await;
    assert_eq!(stale.status, 412);
    let wrong = brooklet.request(Method::PATCH, "/api/devices/d", Some(json!({"kind": 5}))).await;
    assert_eq!(wrong.status, 422);
    assert_eq!(wrong.body["errors"][0]["pointer"], "/kind");
    let block = Some(json!({"approval": "blocked"}));
    assert_eq!(brooklet.request(Method::PATCH, "/api/devices/d", block).await.status, 200);
    assert_eq!(device.publish("devices/d/data", r#"{"t": 2}"#).await.reason, 0x87);
    let brooklet = brooklet.restart().await;
    let shown = brooklet.get("/api/devices/d").await;
    assert_eq!((&shown["name"], &shown["approval"]), (&json!("Boiler"), &json!("blocked")));
    assert_eq!(shown["last_report"]["sensors"]["t"]["value"], 1.0);
}

#[tokio::test]
async fn a_deleted_device_is_as_if_never_seen() {
    let brooklet = Brooklet::start().await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("devices/d/presence", 0).await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    assert!(!watcher.message().await.3.is_empty());
    let ordered = brooklet.request(Method::DELETE, "/api/devices/d", None).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "done");
    assert!(watcher.message().await.3.is_empty(), "what was retained is taken back");
    assert_eq!(brooklet.request(Method::GET, "/api/devices/d", None).await.status, 404);
    device.publish("devices/d/data", r#"{"t": 2}"#).await;
    let history = brooklet.get("/api/data/history?device_id=d").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
    assert_eq!(history["items"][0]["value"], 2.0);
}

#[tokio::test]
async fn changes_without_if_match_do_not_get_in_each_others_way() {
    let brooklet = Brooklet::with(&[("DEVICES__UNKNOWN", "pending")]).await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let approve = || brooklet.request(Method::POST, "/api/devices/d/approve", None);
    let label = |n: usize| {
        let body = json!({"labels": {"n": n.to_string()}});
        brooklet.request(Method::PATCH, "/api/devices/d", Some(body))
    };
    let approved = futures_util::future::join_all((0..8).map(|_| approve()));
    let labelled = futures_util::future::join_all((0..8).map(label));
    let (approved, labelled) = tokio::join!(approved, labelled);
    for answer in approved.iter().chain(&labelled) {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(brooklet.get("/api/devices/d").await["approval"], "active");
    let stale = [("If-Match", "\"1\"")];
    let body = Some(json!({"name": "x"}));
    let refused = brooklet.request_with(Method::PATCH, "/api/devices/d", body, &stale).await;
    assert_eq!(refused.status, 412, "{}", refused.text);
}
