//! Alarms on the live streams: raised by readings, by timers, acknowledged by people; and told to who
//! comes back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::Brooklet,
    stream_clients::{Events, Socket, say},
};

const RULES: &str = "ALARMS__RULES";
const HOT: &str = r#"[{ name = "hot", scope = { sensors = ["t"] }, levels = [
    { severity = "warning", condition = { type = "above", limit = 30, deadband = 1 } } ] }]"#;

/// What happened, and how the alarm stands then.
fn told(event: &Value) -> (&str, &str) {
    assert_eq!(event["type"], "alarm", "{event}");
    (event["event"]["kind"].as_str().unwrap(), event["alarm"]["state"].as_str().unwrap())
}

async fn order(brooklet: &Brooklet, alarm: &Value, what: &str, note: &str) {
    let path = format!("/api/alarms/{alarm}/{what}");
    let done = brooklet.request(Method::POST, &path, Some(json!({"note": note}))).await;
    assert_eq!(done.status, 200, "{}", done.text);
}

#[tokio::test]
async fn an_alarm_is_told_at_each_step_of_its_life() {
    let brooklet = Brooklet::with(&[(RULES, HOT)]).await;
    let mut device = brooklet.connect("boiler").await;
    say(&mut device, "boiler", 20).await;
    let mut socket = Socket::open(brooklet.http, "/ws/alarms").await;
    let mut events = Events::listening(brooklet.http, "?events=alarms").await;
    let mut of_device = Socket::open(brooklet.http, "/ws/devices/boiler").await;
    let mut other = Events::listening(brooklet.http, "?devices=other&events=alarms").await;
    say(&mut device, "boiler", 31).await;
    let raised = socket.event().await;
    assert_eq!(told(&raised), ("raised", "ACTIVE_UNACKNOWLEDGED"));
    let (happened, alarm) = (&raised["event"], &raised["alarm"]);
    assert_eq!((&happened["severity"], &happened["value"]), (&json!("warning"), &json!(31.0)));
    assert_eq!(
        (&alarm["device"], &alarm["sensor"], &alarm["rule"]["name"]),
        (&json!("boiler"), &json!("t"), &json!("hot"))
    );
    // It is the object that the resource shows.
    let id = alarm["id"].clone();
    let mut shown = brooklet.get(&format!("/api/alarms/{id}")).await;
    let history = shown.as_object_mut().unwrap().remove("events").unwrap();
    assert_eq!((alarm, happened), (&shown, &history[0]));
    order(&brooklet, &id, "ack", "on my way").await;
    let acknowledged = socket.event().await;
    assert_eq!(told(&acknowledged), ("acknowledged", "ACTIVE_ACKNOWLEDGED"));
    assert_eq!(acknowledged["event"]["note"], "on my way");
    say(&mut device, "boiler", 20).await;
    let cleared = socket.event().await;
    assert_eq!(told(&cleared), ("cleared", "CLEARED_ACKNOWLEDGED"));
    let all = [raised, acknowledged, cleared];
    for expected in &all {
        assert_eq!(events.event().await, *expected);
    }
    // A device's stream has its readings as well; what a reading did follows it.
    let kinds = [
        of_device.event().await,
        of_device.event().await,
        of_device.event().await,
        of_device.event().await,
        of_device.event().await,
    ]
    .into_iter()
    .filter(|event| event["type"] != "presence")
    .map(|event| event["type"].as_str().unwrap().to_owned());
    let kinds: Vec<_> = kinds.collect();
    assert!(
        kinds.starts_with(&["sensor_data".to_owned(), "alarm".to_owned(), "alarm".to_owned()]),
        "{kinds:?}"
    );
    let mut elsewhere = brooklet.connect("other").await;
    say(&mut elsewhere, "other", 40).await;
    assert_eq!(other.event().await["alarm"]["device"], "other");
}

#[tokio::test]
async fn a_timer_that_fires_is_told_without_a_message() {
    let rules = r#"[{ name = "silent", levels = [
        { severity = "major", condition = { type = "missing", for = "1s" } } ] }]"#;
    let brooklet = Brooklet::with(&[(RULES, rules)]).await;
    let mut socket = Socket::open(brooklet.http, "/ws/alarms").await;
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 1).await;
    let raised = socket.event().await;
    assert_eq!(told(&raised), ("raised", "ACTIVE_UNACKNOWLEDGED"));
    assert_eq!(raised["alarm"]["severity"], "major");
}

#[tokio::test]
async fn who_comes_back_is_told_of_the_alarms_since() {
    let brooklet = Brooklet::with(&[(RULES, HOT)]).await;
    let mut device = brooklet.connect("boiler").await;
    let mut events = Events::listening(brooklet.http, "?events=alarms").await;
    let opened = events.last_id.clone();
    say(&mut device, "boiler", 31).await;
    let raised = events.event().await;
    let id = raised["alarm"]["id"].clone();
    let after_raised = events.last_id.clone();
    drop(events);
    order(&brooklet, &id, "ack", "seen").await;
    drop(device);
    // A restart in between changes nothing.
    let brooklet = brooklet.restart().await;
    let mut device = brooklet.connect("boiler").await;
    say(&mut device, "boiler", 20).await;
    let query = "?events=alarms";
    let mut back = Events::resumed(brooklet.http, query, after_raised.as_deref()).await;
    say(&mut device, "boiler", 35).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let event = back.event().await;
        kinds.push(event["event"]["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, ["acknowledged", "cleared", "raised"]);
    // With readings, each comes before what it did; and the id of any event says where to go on.
    let mut all =
        Events::resumed(brooklet.http, "?events=alarms,readings&devices=boiler", opened.as_deref())
            .await;
    let expected = ["31", "raised", "acknowledged", "20", "cleared", "35", "raised"];
    let mut ids = Vec::new();
    for expected in expected {
        assert_eq!(summary(&all.event().await), expected);
        ids.push(all.last_id.clone());
    }
    for (place, id) in ids.iter().enumerate() {
        let query = "?events=alarms,readings&sensors=boiler/t";
        let mut rest = Events::resumed(brooklet.http, query, id.as_deref()).await;
        for expected in &expected[place + 1..] {
            assert_eq!(summary(&rest.event().await), *expected, "after {place}");
        }
    }
}

/// A reading by its value, an alarm by what happened.
fn summary(event: &Value) -> String {
    match event["type"].as_str().unwrap() {
        "alarm" => event["event"]["kind"].as_str().unwrap().to_owned(),
        _ => crate::stream_clients::value(event).to_string(),
    }
}
