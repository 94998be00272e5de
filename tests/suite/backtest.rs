//! Backtests over HTTP: what they say of a history is what the broker did when it was live.

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::Brooklet;

const RULES: &str = r#"[
    { name = "Too hot", scope = { sensors = ["temperature"] }, cooldown = "0s", levels = [
        { severity = "warning", condition = { type = "above", limit = 30, deadband = 1 } },
        { severity = "critical", condition = { type = "above", limit = 40 }, on_delay = "2s" } ] },
    { name = "Mean", levels = [
        { severity = "minor", condition = { type = "aggregate", function = "mean", window = "5s", above = { limit = 33 } } } ] },
]"#;

/// What the broker has written of a rule, in the order of arrival.
fn live_events(brooklet: &Brooklet, rule: &str) -> Vec<Value> {
    let connection = Connection::open(brooklet.database()).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT a.sensor, e.kind, e.at, e.arrival, e.severity, e.value FROM alarm_event e \
             JOIN alarm a ON a.id = e.alarm_id WHERE a.rule_name = ?1 \
             ORDER BY e.arrival, a.sensor_id, e.id",
        )
        .unwrap();
    let severities = ["info", "warning", "minor", "major", "critical"];
    let rows = statement.query_map([rule], |row| {
        Ok(json!({
            "sensor": row.get::<_, Option<String>>(0)?,
            "kind": row.get::<_, String>(1)?,
            "at": row.get::<_, i64>(2)?,
            "arrival": row.get::<_, i64>(3)?,
            "severity": severities[usize::from(row.get::<_, u8>(4)?)],
            "value": row.get::<_, Option<f64>>(5)?,
        }))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn micros(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<brooklet::telemetry::Timestamp>().unwrap().as_micros()
}

fn tried_events(result: &Value) -> Vec<Value> {
    let events = result["rule"]["events"].as_array().unwrap().iter();
    let plain = |event: &Value| {
        json!({
            "sensor": event["sensor"],
            "kind": event["kind"],
            "at": micros(&event["at"]),
            "arrival": micros(&event["arrival"]),
            "severity": event["severity"],
            "value": event.get("value"),
        })
    };
    events.map(plain).collect()
}

/// An hour ago, in microseconds.
fn an_hour_ago() -> i64 {
    brooklet::clock::Clock::system().unix_micros() - 3_600_000_000
}

/// From before the broker to after now.
fn whole(rule: Value) -> Value {
    let at = |micros| brooklet::telemetry::Timestamp::from_micros(micros).to_string();
    let (from, to) = (at(an_hour_ago()), at(an_hour_ago() + 7_200_000_000));
    let mut body = json!({"from": from, "to": to});
    body.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    body
}

/// Two devices report ten minutes with jitter, some of it late, in an hour that is past. Returns when a
/// backtest sees all of it: it goes up to the watermark, a moment ago.
async fn publish_history(brooklet: &Brooklet) {
    let start = an_hour_ago() / 1_000;
    for name in ["boiler-1", "boiler-2"] {
        let mut device = brooklet.connect(name).await;
        let phase = if name == "boiler-1" { 0.0 } else { 2.0 };
        for n in 0..120_i64 {
            let value = 33.0 + 12.0 * (n as f64 / 9.0 + phase).sin();
            let value = (value * 10.0).round() / 10.0;
            // Every tenth is of a time long before: back-fill, not judged.
            let event = start + n * 1_000 - if n % 10 == 7 { 300_500 } else { 0 };
            let body = json!({"temperature": value, "pressure": 100.0 - value, "ts": event});
            let topic = format!("devices/{name}/data");
            assert_eq!(device.publish(&topic, body.to_string()).await.reason, 0);
        }
    }
    let rule = json!({"name": "any", "scope": {"sensors": ["temperature"]}, "levels": [
        {"severity": "info", "condition": {"type": "above", "limit": 1000}}]});
    let body = whole(json!({"rule": rule}));
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    loop {
        let path = "/api/alarm-rules/backtest";
        let tried = brooklet.request(Method::POST, path, Some(body.clone())).await;
        if tried.body["readings"] == 240 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{}", tried.text);
    }
}

#[tokio::test]
async fn a_backtest_says_what_was_done_live() {
    let brooklet = Brooklet::with(&[("ALARMS__RULES", RULES)]).await;
    publish_history(&brooklet).await;
    let connection = Connection::open(brooklet.database()).unwrap();
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let before = (count("alarm"), count("alarm_event"), count("notification"));
    for (id, name, least) in [(1, "Too hot", 8), (2, "Mean", 4)] {
        let body = whole(json!({"rule_id": id}));
        let tried = brooklet.request(Method::POST, "/api/alarm-rules/backtest", Some(body)).await;
        assert_eq!(tried.status, 200, "{}", tried.text);
        let live = live_events(&brooklet, name);
        assert!(live.len() >= least, "{live:#?}");
        assert_eq!(tried_events(&tried.body), live);
        let rule = &tried.body["rule"];
        assert_eq!((&rule["name"], &rule["version"]), (&json!(name), &json!(1)));
        let raised = live.iter().filter(|event| event["kind"] == "raised").count();
        assert_eq!(rule["alarms_total"], raised);
        assert_eq!(rule["alarms"].as_array().unwrap().len(), raised);
    }
    assert_eq!(before, (count("alarm"), count("alarm_event"), count("notification")));
}

#[tokio::test]
async fn two_rules_are_compared_and_devices_chosen() {
    let brooklet = Brooklet::start().await;
    publish_history(&brooklet).await;
    let above = |limit: i64| {
        json!({"name": "Too hot", "scope": {"sensors": ["temperature"]}, "levels": [
            {"severity": "warning", "condition": {"type": "above", "limit": limit}}]})
    };
    let body = json!({"rule": above(44), "compare_with": {"rule": above(30)},
                      "devices": ["boiler-1"]});
    let tried =
        brooklet.request(Method::POST, "/api/alarm-rules/backtest", Some(whole(body))).await;
    assert_eq!(tried.status, 200, "{}", tried.text);
    let (rule, compared) = (&tried.body["rule"], &tried.body["compared"]);
    assert_eq!((&rule["originators"], &compared["originators"]), (&json!(1), &json!(1)));
    assert!(rule["alarms_total"].as_u64().unwrap() > 0, "{rule:#}");
    let difference = &tried.body["difference"];
    assert_eq!(difference["common"], rule["alarms_total"]);
    assert_eq!(difference["added"], 0);
    assert_eq!(tried.body["limitations"], json!([]));
    assert_eq!(tried.body["readings"], 120);
}

#[tokio::test]
async fn a_backtest_in_lines_ends_with_the_answer() {
    let brooklet = Brooklet::with(&[("ALARMS__RULES", RULES)]).await;
    publish_history(&brooklet).await;
    let whole = whole(json!({"rule_id": 1}));
    let path = "/api/alarm-rules/backtest";
    let accept = [("accept", "application/x-ndjson")];
    let lines = brooklet.request_with(Method::POST, path, Some(whole.clone()), &accept).await;
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    let last: Value = serde_json::from_str(lines.text.lines().last().unwrap()).unwrap();
    let plain = brooklet.request(Method::POST, path, Some(whole.clone())).await;
    assert_eq!(tried_events(&last), tried_events(&plain.body));
    assert!(last["rule"]["alarms_total"].as_u64().unwrap() > 0);
    // Given up after the head of the answer, time and again: nothing stays behind.
    for _ in 0..5 {
        let url = format!("http://{}{path}?stream=true", brooklet.http);
        let answer = reqwest::Client::new().post(url).json(&whole).send().await.unwrap();
        assert!(answer.status() == 200 || answer.status() == 503);
    }
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while brooklet.request(Method::POST, path, Some(whole.clone())).await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "the places are not given back");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_backtest_is_pointed_at() {
    let brooklet = Brooklet::start().await;
    let rule = json!({"name": "Too hot", "levels": [
        {"severity": "warning", "condition": {"type": "above", "limit": 30}}]});
    let mut wrong_rule = rule.clone();
    wrong_rule["levels"][0]["condition"]["deadband"] = json!(-1);
    for (body, status, pointer) in [
        (json!({"rule": wrong_rule}), 422, "/rule/levels/0/condition/deadband"),
        (json!({"rule": {"name": "x"}}), 422, "/rule"),
        (
            json!({"rule": rule, "compare_with": {"rule": wrong_rule}}),
            422,
            "/compare_with/rule/levels/0/condition/deadband",
        ),
        (json!({}), 422, "/rule"),
        (json!({"rule": rule, "rule_id": 1}), 422, "/rule"),
        (json!({"rule": rule, "version": 1}), 422, "/rule"),
        (json!({"rule": rule, "devices": ["nobody"]}), 422, "/devices/0"),
        (
            json!({"rule": rule, "from": "2031-01-01T00:00:00Z", "to": "2031-01-02T00:00:00Z"}),
            422,
            "/from",
        ),
        (json!({"rule": rule, "from": "2020-01-01T00:00:00Z"}), 422, "/from"),
        (json!({"rule": rule, "from": "noon"}), 422, "/from"),
        (json!({"rule_id": 7}), 404, ""),
    ] {
        let mut request = whole(json!({}));
        request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let path = "/api/alarm-rules/backtest";
        let answer = brooklet.request(Method::POST, path, Some(request.clone())).await;
        assert_eq!(answer.status, status, "{request} {}", answer.text);
        if !pointer.is_empty() {
            assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.text);
        }
    }
}
