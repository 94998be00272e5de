//! Notification targets, silences and notifications over REST.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Brooklet, Response};

const TARGETS: &str = "/api/notification-targets";

async fn post(brooklet: &Brooklet, path: &str, body: Value) -> Response {
    brooklet.request(Method::POST, path, Some(body)).await
}

fn webhook() -> Value {
    json!({
        "name": "ops",
        "channel": {
            "type": "webhook", "url": "http://127.0.0.1:1/hook", "bearer": "s3cret-1",
            "headers": {"X-Key": "s3cret-2"}
        },
        "match": {"min_severity": "major"}
    })
}

fn pointer(response: &Response) -> &Value {
    assert_eq!(response.status, 422, "{}", response.text);
    &response.body["errors"][0]["pointer"]
}

#[tokio::test]
async fn secrets_of_a_target_are_kept_and_never_shown() {
    let brooklet = Brooklet::start().await;
    let made = post(&brooklet, TARGETS, webhook()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("{TARGETS}/{}", made.body["id"]);
    let shown = brooklet.request(Method::GET, &path, None).await;
    let listed = brooklet.request(Method::GET, TARGETS, None).await;
    assert_eq!(shown.headers["etag"], "\"1\"");
    assert_eq!(shown.body["target"]["channel"]["bearer"], "***");
    let mut edit = shown.body["target"].clone();
    edit["description"] = json!("Operations");
    let tag = [("If-Match", "\"1\"")];
    let edited = brooklet.request_with(Method::PUT, &path, Some(edit.clone()), &tag).await;
    assert_eq!(
        (edited.status.as_u16(), &edited.body["version"]),
        (200, &json!(2)),
        "{}",
        edited.text
    );
    let stale = brooklet.request_with(Method::PUT, &path, Some(edit), &tag).await;
    assert_eq!(stale.status, 412);
    for answer in [&made, &shown, &listed, &edited] {
        assert!(!answer.text.contains("s3cret"), "{}", answer.text);
    }
    // The secrets are still there: what is stored outlives a restart and would be sent.
    let stored = std::fs::read(brooklet.database()).unwrap();
    let log = std::fs::read(brooklet.database().with_extension("db-wal")).unwrap_or_default();
    let holds = |secret: &[u8]| {
        [&stored, &log].iter().any(|file| file.windows(secret.len()).any(|window| window == secret))
    };
    assert!(holds(b"s3cret-1") && holds(b"s3cret-2"));
    let brooklet = brooklet.restart().await;
    assert_eq!(brooklet.get(&path).await, edited.body);
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(brooklet.request(Method::GET, &path, None).await.status, 404);
}

#[tokio::test]
async fn a_secret_does_not_follow_a_target_to_another_server() {
    let brooklet = Brooklet::start().await;
    let made = post(&brooklet, TARGETS, webhook()).await;
    let path = format!("{TARGETS}/{}", made.body["id"]);
    let mut edit = made.body["target"].clone();
    edit["channel"]["url"] = json!("http://127.0.0.1:2/hook");
    let moved = brooklet.request(Method::PUT, &path, Some(edit.clone())).await;
    assert_eq!(pointer(&moved), "/channel/bearer");
    edit["channel"]["bearer"] = json!("another");
    let moved = brooklet.request(Method::PUT, &path, Some(edit.clone())).await;
    assert_eq!(pointer(&moved), "/channel/headers/X-Key");
    edit["channel"]["headers"] = json!({});
    let moved = brooklet.request(Method::PUT, &path, Some(edit)).await;
    assert_eq!((moved.status.as_u16(), &moved.body["version"]), (200, &json!(2)));
}

#[tokio::test]
async fn mistakes_of_a_target_are_told_with_their_places() {
    let brooklet = Brooklet::start().await;
    for (place, value, expected) in [
        ("/name", json!(""), "/name"),
        ("/channel/url", json!("ftp://x"), "/channel/url"),
        ("/channel/bearer", json!("***"), "/channel/bearer"),
        ("/match/min_severity", json!("bad"), "/match/min_severity"),
        ("/match/nothing", json!(1), "/match/nothing"),
        ("/rate_per_minute", json!(0), "/rate_per_minute"),
        ("/group_wait", json!("soon"), "/group_wait"),
    ] {
        let mut wrong = webhook();
        let (parent, name) = place.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(pointer(&post(&brooklet, TARGETS, wrong).await), expected);
    }
    assert_eq!(post(&brooklet, TARGETS, webhook()).await.status, 201);
    assert_eq!(post(&brooklet, TARGETS, webhook()).await.status, 409);
}

#[tokio::test]
async fn a_target_that_rules_name_stays() {
    let brooklet = Brooklet::start().await;
    let made = post(&brooklet, TARGETS, webhook()).await.body;
    let path = format!("{TARGETS}/{}", made["id"]);
    let level = json!({"severity": "major", "condition": {"type": "above", "limit": 5}});
    let rule = json!({"name": "R", "levels": [level], "targets": ["ops"]});
    let rule = post(&brooklet, "/api/alarm-rules", rule).await;
    assert_eq!(rule.status, 201, "{}", rule.text);
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 409);
    let mut renamed = made["target"].clone();
    renamed["name"] = json!("other");
    assert_eq!(brooklet.request(Method::PUT, &path, Some(renamed.clone())).await.status, 409);
    let rule = format!("/api/alarm-rules/{}", rule.body["id"]);
    assert_eq!(brooklet.request(Method::DELETE, &rule, None).await.status, 204);
    assert_eq!(brooklet.request(Method::PUT, &path, Some(renamed)).await.status, 200);
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 204);
}

#[tokio::test]
async fn a_test_says_whether_it_arrived() {
    let brooklet = Brooklet::start().await;
    let mut failing = webhook();
    failing["enabled"] = json!(false);
    let failing = post(&brooklet, TARGETS, failing).await.body["id"].clone();
    let topics = json!({"name": "topics", "channel": {"type": "mqtt"}});
    let topics = post(&brooklet, TARGETS, topics).await.body["id"].clone();
    let test = async |id: &Value| {
        let path = format!("{TARGETS}/{id}/test");
        brooklet.request(Method::POST, &path, None).await
    };
    let failed = test(&failing).await;
    assert_eq!(failed.status, 200, "{}", failed.text);
    assert_eq!(
        (&failed.body["delivered"], &failed.body["would_retry"]),
        (&json!(false), &json!(true))
    );
    assert!(!failed.body["error"].as_str().unwrap().is_empty());
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("alarms/#", 0).await;
    assert_eq!(test(&topics).await.body["delivered"], true);
    let (_, _, _, payload) = watcher.message().await;
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["kind"], "test");
    assert_eq!(test(&json!(999)).await.status, 404);
}

#[tokio::test]
async fn silences_are_made_edited_and_ended() {
    let keys = r#"[{ name = "anna", key = "the-secret-key-of-anna" }]"#;
    let brooklet =
        Brooklet::with(&[("HTTP__API_KEYS", keys), ("HTTP__ALLOW_ANONYMOUS", "true")]).await;
    let anna = [("X-API-Key", "the-secret-key-of-anna")];
    let silence =
        json!({"match": {"devices": ["boiler-*"]}, "duration": "2h", "comment": "Service"});
    let made = brooklet.request_with(Method::POST, "/api/silences", Some(silence), &anna).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!((&made.body["author"], &made.body["active"]), (&json!("anna"), &json!(true)));
    let path = format!("/api/silences/{}", made.body["id"]);
    assert_eq!(brooklet.get(&path).await, made.body);
    for (body, expected) in [
        (json!({"match": {}, "duration": "1h"}), "/match"),
        (json!({"match": {"device": ["x"]}, "duration": "1h"}), "/match/device"),
        (json!({"match": {"devices": ["x"]}}), "/ends_at"),
        (json!({"match": {"devices": ["x"]}, "ends_at": "2020-01-01T00:00:00Z"}), "/ends_at"),
        (json!({"match": {"devices": ["x"]}, "duration": "1 year"}), "/duration"),
    ] {
        assert_eq!(pointer(&post(&brooklet, "/api/silences", body).await), expected);
    }
    let ended = json!({
        "match": {"devices": ["boiler-*"]}, "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-01T01:00:00Z"
    });
    let edited = brooklet.request(Method::PUT, &path, Some(ended)).await;
    assert_eq!(
        (edited.status.as_u16(), &edited.body["active"]),
        (200, &json!(false)),
        "{}",
        edited.text
    );
    assert_eq!((&edited.body["author"], &edited.body["comment"]), (&json!("anna"), &json!("")));
    let count = async |query: &str| {
        let page = brooklet.get(&format!("/api/silences{query}")).await;
        page["items"].as_array().unwrap().len()
    };
    assert_eq!((count("").await, count("?ended=true").await), (0, 1));
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 404);
}

/// A server with one target, and a rule for what is above 5.
async fn with_target_and_rule() -> Brooklet {
    let brooklet = Brooklet::start().await;
    assert_eq!(post(&brooklet, TARGETS, webhook()).await.status, 201);
    let level = json!({"severity": "major", "condition": {"type": "above", "limit": 5}});
    let rule = post(&brooklet, "/api/alarm-rules", json!({"name": "R", "levels": [level]})).await;
    assert_eq!(rule.status, 201, "{}", rule.text);
    brooklet
}

#[tokio::test]
async fn notifications_are_listed_by_state_and_alarm() {
    let brooklet = with_target_and_rule().await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 6}"#).await;
    let alarm = brooklet.get("/api/alarms").await["items"][0]["id"].clone();
    let page = brooklet.get(&format!("/api/notifications?alarm={alarm}&state=waiting")).await;
    let told = &page["items"][0];
    assert_eq!(
        (&told["target"], &told["kind"], &told["alarm"]),
        (&json!("ops"), &json!("raised"), &alarm)
    );
    assert_eq!(told["notice"]["device"]["key"], "d");
    for (query, count) in [("state=dead", 0), ("alarm=999", 0), ("limit=1", 1)] {
        let page = brooklet.get(&format!("/api/notifications?{query}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
    }
    let retry = async |id: &Value| {
        let path = format!("/api/notifications/{id}/retry");
        brooklet.request(Method::POST, &path, None).await.status
    };
    assert_eq!((retry(&told["id"]).await.as_u16(), retry(&json!(999)).await.as_u16()), (409, 404));
}

/// The edit is stored and answered so; what could not be read at once is in force a moment later.
#[tokio::test]
async fn an_edit_that_can_not_be_read_at_once_is_in_force_later() {
    let brooklet = Brooklet::start().await;
    let database = rusqlite::Connection::open(brooklet.database()).unwrap();
    database.execute_batch("ALTER TABLE silence RENAME TO silence_away").unwrap();
    let made = post(&brooklet, TARGETS, webhook()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let level = json!({"severity": "major", "condition": {"type": "above", "limit": 5}});
    let rule = json!({"name": "R", "levels": [level], "targets": ["ops"]});
    assert_eq!(pointer(&post(&brooklet, "/api/alarm-rules", rule.clone()).await), "/targets/0");
    database.execute_batch("ALTER TABLE silence_away RENAME TO silence").unwrap();
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while post(&brooklet, "/api/alarm-rules", rule.clone()).await.status != 201 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let path = format!("{TARGETS}/{}", made.body["id"]);
    database.execute_batch("DELETE FROM alarm_rule").unwrap();
    database.execute_batch("ALTER TABLE silence RENAME TO silence_away").unwrap();
    assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 204);
}

#[tokio::test]
async fn what_the_cooldown_holds_back_leaves_a_trace() {
    let brooklet = with_target_and_rule().await;
    let mut device = brooklet.connect("d").await;
    let say = async |device: &mut crate::wire::Client, value: i32| {
        device.publish("devices/d/data", json!({"t": value}).to_string()).await;
    };
    say(&mut device, 6).await;
    say(&mut device, 1).await;
    let suppressed = async || {
        let page = brooklet.get("/api/notifications?state=suppressed").await;
        page["items"].as_array().unwrap().clone()
    };
    assert!(suppressed().await.is_empty());
    // However often it comes back within the cooldown: nobody is told, and one row says so.
    for value in [7, 1, 8, 1, 9, 1] {
        say(&mut device, value).await;
    }
    let kept = suppressed().await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!((&kept[0]["kind"], &kept[0]["target"]), (&json!("raised"), &json!("ops")));
    assert_eq!(kept[0]["notice"]["value"], 7.0);
    let why = kept[0]["error"].as_str().unwrap();
    assert!(why.contains("held back by the rule's cooldown until"), "{why}");
    let told = brooklet.get("/api/notifications?limit=100").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 3, "{told}");
}
