//! Alarms and what they are of: deletion, retirement, imports and trials, through the real server.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};

use super::receiver::Receiver;
use crate::{
    harness::{Brooklet, PATIENCE, Response},
    wire::Client,
};

const RULES: &str = "ALARMS__RULES";
const HOT: &str = r#"[{ name = "hot", cooldown = "0s", scope = { sensors = ["t", "u"] }, levels = [
    { severity = "warning", condition = { type = "above", limit = 30, deadband = 1 } } ] }]"#;
const ACTIVE: &str = r#"brooklet_alarms_active{severity="warning"}"#;
const CSV: (&str, &str) = ("Content-Type", "text/csv");

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn watched(receiver: &Receiver) -> Brooklet {
    watched_by(HOT, receiver).await
}

async fn watched_by(rules: &str, receiver: &Receiver) -> Brooklet {
    let targets = format!(
        r#"[{{ name = "topics", group_wait = "0s", channel = {{ type = "mqtt" }} }},
            {{ name = "ops", group_wait = "0s", channel = {{ type = "webhook", url = "{}" }} }}]"#,
        receiver.url("/")
    );
    Brooklet::with(&[(RULES, rules), ("NOTIFICATIONS__TARGETS", &targets)]).await
}

async fn say(brooklet: &Brooklet, body: Value) {
    let mut client = brooklet.connect("boiler").await;
    assert_eq!(client.publish("devices/boiler/data", body.to_string()).await.reason, 0);
}

/// The next message on the alarms' topics: whether an alarm is retained there.
async fn is_retained(watcher: &mut Client) -> bool {
    let (_, topic, _, payload) = watcher.message().await;
    assert_eq!(topic, "alarms/boiler/warning/hot");
    !payload.is_empty()
}

async fn alarms(brooklet: &Brooklet) -> Vec<Value> {
    brooklet.get("/api/alarms").await["items"].as_array().unwrap().clone()
}

async fn kinds(brooklet: &Brooklet, alarm: &Value) -> Vec<String> {
    let shown = brooklet.get(&format!("/api/alarms/{}", alarm["id"])).await;
    let items = shown["events"].as_array().unwrap().iter();
    items.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

async fn active(brooklet: &Brooklet, count: f64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = brooklet.metric(ACTIVE).await;
        if found == count {
            return;
        }
        assert!(Instant::now() < deadline, "{found} active, not {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn sensor_path(brooklet: &Brooklet, name: &str) -> String {
    let found = brooklet.get(&format!("/api/sensors?name={name}")).await;
    format!("/api/sensors/{}", found["items"][0]["id"])
}

#[tokio::test]
async fn a_deleted_device_ends_its_alarms_for_everybody_who_was_told() {
    let receiver = Receiver::start(&[]).await;
    let brooklet = watched(&receiver).await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("alarms/#", 0).await;
    say(&brooklet, json!({"t": 31})).await;
    assert!(is_retained(&mut watcher).await);
    receiver.until_requests(1).await;
    active(&brooklet, 1.0).await;
    let ordered = brooklet.request(Method::DELETE, "/api/devices/boiler", None).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "done");
    assert!(!is_retained(&mut watcher).await);
    let requests = receiver.until_requests(2).await;
    assert_eq!(requests[1].body["status"], "resolved", "{}", requests[1].text);
    active(&brooklet, 0.0).await;
    assert!(alarms(&brooklet).await.is_empty());
    // The same name again is another device, of which nothing is known.
    say(&brooklet, json!({"t": 32})).await;
    assert!(is_retained(&mut watcher).await);
    let again = alarms(&brooklet).await;
    assert_eq!(again.len(), 1);
    assert_eq!(kinds(&brooklet, &again[0]).await, ["raised"]);
    let brooklet = brooklet.restart().await;
    active(&brooklet, 1.0).await;
    assert_eq!(alarms(&brooklet).await.len(), 1);
}

#[tokio::test]
async fn a_shelved_alarm_that_was_told_is_taken_back_with_its_device() {
    let receiver = Receiver::start(&[]).await;
    let brooklet = watched(&receiver).await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("alarms/#", 0).await;
    say(&brooklet, json!({"t": 31})).await;
    assert!(is_retained(&mut watcher).await);
    let path = format!("/api/alarms/{}/shelve", alarms(&brooklet).await[0]["id"]);
    let shelved = brooklet.request(Method::POST, &path, Some(json!({"duration": "1h"}))).await;
    assert_eq!(shelved.status, 200, "{}", shelved.text);
    let ordered = brooklet.request(Method::DELETE, "/api/devices/boiler", None).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "done");
    assert!(!is_retained(&mut watcher).await);
}

#[tokio::test]
async fn the_end_of_a_quiet_alarm_goes_to_those_of_its_rule() {
    let receiver = Receiver::start(&[]).await;
    let rules = HOT.replace("scope", r#"targets = ["topics"], scope"#);
    let brooklet = watched_by(&rules, &receiver).await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("alarms/#", 0).await;
    for fate in ["keep", "delete"] {
        say(&brooklet, json!({"t": 31})).await;
        assert!(is_retained(&mut watcher).await);
        let path = format!("/api/alarms/{}/shelve", alarms(&brooklet).await[0]["id"]);
        let shelved = brooklet.request(Method::POST, &path, Some(json!({"duration": "1h"}))).await;
        assert_eq!(shelved.status, 200, "{}", shelved.text);
        let path = format!("/api/devices/boiler?data={fate}");
        let ended = brooklet.request(Method::DELETE, &path, None).await;
        assert!(ended.status.is_success(), "{}", ended.text);
        assert!(!is_retained(&mut watcher).await, "{fate}");
        if fate == "keep" {
            let back = Some(json!({"approval": "active"}));
            let edited = brooklet.request(Method::PATCH, "/api/devices/boiler", back).await;
            assert_eq!(edited.status, 200, "{}", edited.text);
            let path = format!("/api/alarms/{}/unshelve", alarms(&brooklet).await[0]["id"]);
            brooklet.request(Method::POST, &path, None).await;
        }
    }
    assert!(receiver.requests().is_empty(), "the others were never told");
}

#[tokio::test]
async fn a_deleted_sensor_ends_its_own_alarm_only() {
    let receiver = Receiver::start(&[]).await;
    let brooklet = watched(&receiver).await;
    say(&brooklet, json!({"t": 31, "u": 32})).await;
    active(&brooklet, 2.0).await;
    let path = sensor_path(&brooklet, "t").await;
    let ordered = brooklet.request(Method::DELETE, &path, None).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "done");
    active(&brooklet, 1.0).await;
    let left = alarms(&brooklet).await;
    assert_eq!((left.len(), &left[0]["sensor"]), (1, &json!("u")));
    say(&brooklet, json!({"t": 20, "u": 20})).await;
    active(&brooklet, 0.0).await;
    assert_eq!(kinds(&brooklet, &left[0]).await, ["raised", "cleared"]);
}

#[tokio::test]
async fn what_is_retired_keeps_its_history_and_judges_again_when_it_is_back() {
    let receiver = Receiver::start(&[]).await;
    let brooklet = watched(&receiver).await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("alarms/#", 0).await;
    say(&brooklet, json!({"t": 31})).await;
    assert!(is_retained(&mut watcher).await);
    let path = sensor_path(&brooklet, "t").await;
    for (there, back) in [
        (path.as_str(), json!({"active": true})),
        ("/api/devices/boiler", json!({"approval": "active"})),
    ] {
        let kept = brooklet.request(Method::DELETE, &format!("{there}?data=keep"), None).await;
        assert_eq!(kept.status, 204, "{}", kept.text);
        assert!(!is_retained(&mut watcher).await);
        active(&brooklet, 0.0).await;
        let ended = alarms(&brooklet).await;
        assert_eq!(kinds(&brooklet, &ended[0]).await.last().unwrap(), "rule_disabled");
        let edited = brooklet.request(Method::PATCH, there, Some(back)).await;
        assert_eq!(edited.status, 200, "{}", edited.text);
        say(&brooklet, json!({"t": 32})).await;
        active(&brooklet, 1.0).await;
        assert!(is_retained(&mut watcher).await);
    }
}

#[tokio::test]
async fn an_edit_of_a_sensor_brings_it_under_other_rules() {
    let rules = r#"[{ name = "hot", scope = { sensor_types = ["temperature"] }, levels = [
        { severity = "warning", condition = { type = "above", limit = 30 } } ] }]"#;
    let brooklet = Brooklet::with(&[(RULES, rules)]).await;
    say(&brooklet, json!({"t": 31})).await;
    assert!(alarms(&brooklet).await.is_empty());
    let path = sensor_path(&brooklet, "t").await;
    for (kind, count) in [("temperature", 1.0), ("humidity", 0.0)] {
        let edited = brooklet.request(Method::PATCH, &path, Some(json!({"type": kind}))).await;
        assert_eq!(edited.status, 200, "{}", edited.text);
        if count > 0.0 {
            say(&brooklet, json!({"t": 32})).await;
        }
        active(&brooklet, count).await;
    }
}

async fn import(brooklet: &Brooklet, query: &str, value: f64, at: u64) {
    let body = format!("device,sensor,event_time,value\nboiler,t,{at},{value}\n");
    let path = format!("/api/data/import?{query}");
    let ordered: Response = brooklet.send(Method::POST, &path, body, &[CSV]).await;
    let job = brooklet.ended(&ordered).await;
    assert_eq!(job["state"], "done", "{job}");
}

#[tokio::test]
async fn an_import_raises_only_where_it_is_asked_to() {
    let brooklet = Brooklet::with(&[(RULES, HOT)]).await;
    let start = seconds() - 1_000;
    say(&brooklet, json!({"t": 20, "ts": start})).await;
    import(&brooklet, "", 50.0, start + 1).await;
    import(&brooklet, "alarms=true&dry_run=true", 50.0, start + 2).await;
    assert!(alarms(&brooklet).await.is_empty());
    let brooklet = brooklet.restart().await;
    assert!(alarms(&brooklet).await.is_empty(), "nor does the next start judge it");
    import(&brooklet, "alarms=true", 50.0, start + 3).await;
    let raised = alarms(&brooklet).await;
    assert_eq!((raised.len(), &raised[0]["active"]), (1, &json!(true)));
    import(&brooklet, "", 20.0, start + 4).await;
    assert_eq!(kinds(&brooklet, &raised[0]).await, ["raised"]);
    let brooklet = brooklet.restart().await;
    assert_eq!(kinds(&brooklet, &raised[0]).await, ["raised"]);
    say(&brooklet, json!({"t": 20, "ts": start + 5})).await;
    assert_eq!(kinds(&brooklet, &raised[0]).await, ["raised", "cleared"]);
}

#[tokio::test]
async fn a_trial_tells_what_alarms_would_do_and_does_nothing() {
    let receiver = Receiver::start(&[]).await;
    let brooklet = watched(&receiver).await;
    let start = seconds() - 1_000;
    let path = "/api/ingest/dry-run?topic=devices%2Fboiler%2Fdata";
    let trial = async |value: f64, at: u64| {
        let body = json!({"t": value, "ts": at});
        let tried = brooklet.request(Method::POST, path, Some(body)).await;
        assert_eq!(tried.status, 200, "{}", tried.text);
        let told = tried.body["alarms"].as_array().unwrap().iter();
        told.map(|alarm| {
            assert_eq!((&alarm["rule"], &alarm["device"]), (&json!("hot"), &json!("boiler")));
            assert_eq!((&alarm["sensor"], &alarm["severity"]), (&json!("t"), &json!("warning")));
            (alarm["kind"].as_str().unwrap().to_owned(), alarm["value"].as_f64().unwrap())
        })
        .collect::<Vec<_>>()
    };
    let raised = [("raised".to_owned(), 31.0)];
    assert_eq!(trial(31.0, start).await, raised, "of a device that nobody has seen");
    assert_eq!(trial(31.0, start).await, raised);
    assert_eq!(trial(30.0, start).await, []);
    assert!(alarms(&brooklet).await.is_empty());
    say(&brooklet, json!({"t": 31, "ts": start})).await;
    assert_eq!(trial(32.0, start + 1).await, []);
    assert_eq!(trial(20.0, start + 1).await, [("cleared".to_owned(), 20.0)]);
    active(&brooklet, 1.0).await;
    let found = alarms(&brooklet).await;
    assert_eq!(found.len(), 1);
    assert_eq!(kinds(&brooklet, &found[0]).await, ["raised"]);
    let told = brooklet.get("/api/notifications").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 2, "{told}");
}
