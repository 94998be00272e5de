//! Alarms that nobody looks after: what is told of their end, and how much of them is kept.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Brooklet;

async fn post(brooklet: &Brooklet, path: &str, body: Value) -> Value {
    let made = brooklet.request(Method::POST, path, Some(body)).await;
    assert!(made.status.is_success(), "{path}: {}", made.text);
    made.body
}

/// A rule, a target, and an alarm of which the target was told.
async fn with_alarm() -> (Brooklet, i64) {
    let brooklet = Brooklet::start().await;
    let channel = json!({"type": "webhook", "url": "http://127.0.0.1:9/hook"});
    post(&brooklet, "/api/notification-targets", json!({"name": "ops", "channel": channel})).await;
    let level = json!({"severity": "major", "condition": {"type": "above", "limit": 5}});
    let rule = json!({"name": "R", "levels": [level]});
    let rule = post(&brooklet, "/api/alarm-rules", rule).await["id"].as_i64().unwrap();
    let mut device = brooklet.connect("d").await;
    assert_eq!(device.publish("devices/d/data", r#"{"t": 6}"#).await.reason, 0);
    (brooklet, rule)
}

#[tokio::test]
async fn the_end_of_a_shelved_alarm_is_told_when_its_rule_is_disabled() {
    let (brooklet, rule) = with_alarm().await;
    post(&brooklet, "/api/alarms/1/shelve", json!({"duration": "1h"})).await;
    let told = async || {
        let page = brooklet.get("/api/notifications").await;
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told().await, ["raised"]);
    let path = format!("/api/alarm-rules/{rule}/disable");
    assert_eq!(brooklet.request(Method::POST, &path, None).await.status, 200);
    assert_eq!(told().await, ["cleared", "raised"]);
    // It stays to be acknowledged, and is not told of once more.
    assert_eq!(brooklet.get("/api/alarms/1").await["acknowledged"], false);
    assert_eq!(brooklet.request(Method::POST, "/api/alarms/1/ack", None).await.status, 200);
    assert_eq!(told().await, ["cleared", "raised"]);
}

#[tokio::test]
async fn of_an_alarm_without_end_the_first_event_and_the_newest_are_kept() {
    let (brooklet, _) = with_alarm().await;
    let database = rusqlite::Connection::open(brooklet.database()).unwrap();
    let columns: String = database
        .query_row(
            "SELECT group_concat(name) FROM pragma_table_info('alarm_event') WHERE name <> 'id'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 7000) \
         INSERT INTO alarm_event ({columns}) SELECT {columns} FROM n, alarm_event WHERE id = 1"
    );
    database.execute_batch(&many).unwrap();
    drop(database);
    let brooklet = brooklet.restart().await;
    brooklet.logged(|line| line["events"] == 6001).await;
    let database = rusqlite::Connection::open(brooklet.database()).unwrap();
    let kept = "SELECT count(*), min(id), (SELECT min(id) FROM alarm_event WHERE id > 1) \
                FROM alarm_event WHERE alarm_id = 1";
    let kept: (i64, i64, i64) =
        database.query_row(kept, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(kept, (1_000, 1, 6_003));
}
