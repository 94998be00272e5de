//! Alarms over REST: rules and their versions, what people do to alarms, targets, silences.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Brooklet, Response},
    wire::Client,
};

async fn post(brooklet: &Brooklet, path: &str, body: Value) -> Response {
    brooklet.request(Method::POST, path, Some(body)).await
}

/// A request without a body.
async fn order(brooklet: &Brooklet, path: &str) -> Response {
    brooklet.request(Method::POST, path, None).await
}

async fn put(brooklet: &Brooklet, path: &str, body: Value, tag: &str) -> Response {
    brooklet.request_with(Method::PUT, path, Some(body), &[("If-Match", tag)]).await
}

/// Makes something; gives its id.
async fn make(brooklet: &Brooklet, path: &str, body: Value) -> i64 {
    let made = post(brooklet, path, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body["id"].as_i64().unwrap()
}

fn hot() -> Value {
    json!({
        "name": "Too hot",
        "scope": {"sensors": ["t"]},
        "levels": [
            {"severity": "warning", "condition": {"type": "above", "limit": 30, "deadband": 1}},
            {"severity": "critical", "condition": {"type": "above", "limit": 40}}
        ],
        "labels": {"team": "heating"}
    })
}

async fn say(device: &mut Client, name: &str, value: f64) {
    let payload = json!({"t": value}).to_string();
    assert_eq!(device.publish(&format!("devices/{name}/data"), payload).await.reason, 0);
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

/// The pointers of a problem's errors.
fn pointers(response: &Response) -> Vec<&str> {
    assert_eq!(response.status, 422, "{}", response.text);
    assert_eq!(response.headers["content-type"], "application/problem+json");
    let errors = response.body["errors"].as_array().unwrap();
    errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

fn kinds(alarm: &Value) -> Vec<&str> {
    let events = alarm["events"].as_array().unwrap();
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_alarm_is_raised_acknowledged_and_closed() {
    let keys = r#"[{ name = "anna", key = "the-secret-key-of-anna" }]"#;
    let brooklet =
        Brooklet::with(&[("HTTP__API_KEYS", keys), ("HTTP__ALLOW_ANONYMOUS", "true")]).await;
    let rule = make(&brooklet, "/api/alarm-rules", hot()).await;
    let mut device = brooklet.connect("d").await;
    for value in [20.0, 31.0, 29.5, 45.0] {
        say(&mut device, "d", value).await;
    }
    let page = brooklet.get("/api/alarms?active=true&severity_min=major&device=d").await;
    let alarm = items(&page)[0].clone();
    assert_eq!(items(&page).len(), 1);
    assert_eq!(alarm["state"], "ACTIVE_UNACKNOWLEDGED");
    assert_eq!(
        (&alarm["severity"], &alarm["highest_severity"]),
        (&json!("critical"), &json!("critical"))
    );
    assert_eq!((&alarm["rule"]["id"], &alarm["rule"]["version"]), (&json!(rule), &json!(1)));
    assert_eq!((&alarm["value"], &alarm["peak"]), (&json!(45.0), &json!(45.0)));
    assert_eq!((&alarm["sensor"], &alarm["labels"]["team"]), (&json!("t"), &json!("heating")));
    let path = format!("/api/alarms/{}", alarm["id"]);

    let note = Some(json!({"note": "on my way"}));
    let anna = [("X-API-Key", "the-secret-key-of-anna")];
    let acknowledge = format!("{path}/ack");
    let known = brooklet.request_with(Method::POST, &acknowledge, note, &anna).await;
    assert_eq!(known.status, 200, "{}", known.text);
    assert_eq!(known.body["state"], "ACTIVE_ACKNOWLEDGED");
    assert_eq!(
        (&known.body["acknowledged_by"], &known.body["note"]),
        (&json!("anna"), &json!("on my way"))
    );
    let again = order(&brooklet, &acknowledge).await;
    assert_eq!(
        (again.status.as_u16(), &again.body["detail"]),
        (409, &json!("the alarm is acknowledged already"))
    );

    say(&mut device, "d", 20.0).await;
    let shown = brooklet.get(&path).await;
    assert_eq!((&shown["state"], &shown["closed"]), (&json!("CLEARED_ACKNOWLEDGED"), &json!(true)));
    assert_eq!(kinds(&shown), ["raised", "escalated", "acknowledged", "cleared"]);
    assert_eq!(
        (&shown["events"][2]["actor"], &shown["events"][2]["note"]),
        (&json!("anna"), &json!("on my way"))
    );
    let first = brooklet.get(&format!("{path}?limit=3")).await;
    let rest = format!("{path}?limit=3&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(kinds(&brooklet.get(&rest).await), ["cleared"]);
    assert_eq!(order(&brooklet, &acknowledge).await.status, 409);
    assert_eq!(order(&brooklet, "/api/alarms/999/ack").await.status, 404);
    assert_eq!(brooklet.request(Method::GET, "/api/alarms/999", None).await.status, 404);
}

#[tokio::test]
async fn what_people_do_to_an_alarm_is_kept_and_fits_its_state() {
    let brooklet = Brooklet::start().await;
    let mut rule = hot();
    rule["latching"] = json!(true);
    make(&brooklet, "/api/alarm-rules", rule).await;
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 35.0).await;
    let id = items(&brooklet.get("/api/alarms").await)[0]["id"].clone();
    let path = format!("/api/alarms/{id}");
    let done = async |what: &str| {
        let done = order(&brooklet, &format!("{path}/{what}")).await;
        assert_eq!(done.status, 200, "{what}: {}", done.text);
        done.body
    };
    let refused = async |what: &str| {
        let refused = order(&brooklet, &format!("{path}/{what}")).await;
        assert_eq!(refused.status, 409, "{what}: {}", refused.text);
    };
    for what in ["unack", "unshelve", "reset", "in-service"] {
        refused(what).await;
    }
    let shelve = format!("{path}/shelve");
    let shelved = post(&brooklet, &shelve, json!({"duration": "1h", "note": "works"})).await;
    assert!(shelved.body["shelved_until"].is_string(), "{}", shelved.text);
    for (body, pointer) in [
        (json!({}), "/until"),
        (json!({"until": "2020-01-01T00:00:00Z"}), "/until"),
        (json!({"duration": "soon"}), "/duration"),
        (json!({"until": "soon"}), "/until"),
        (json!({"for": "1h"}), "/for"),
        (json!({"duration": "1h", "note": "x".repeat(1_001)}), "/note"),
    ] {
        assert_eq!(pointers(&post(&brooklet, &shelve, body).await), [pointer]);
    }
    assert!(done("unshelve").await["shelved_until"].is_null());
    assert_eq!(done("out-of-service").await["out_of_service"], true);
    refused("out-of-service").await;
    assert_eq!(done("in-service").await["out_of_service"], false);
    assert_eq!(done("ack").await["acknowledged"], true);
    assert_eq!(done("unack").await["state"], "ACTIVE_UNACKNOWLEDGED");
    say(&mut device, "d", 20.0).await;
    let latched = brooklet.get(&path).await;
    assert_eq!((&latched["latched"], &latched["active"]), (&json!(true), &json!(true)));
    assert_eq!(done("reset").await["state"], "CLEARED_UNACKNOWLEDGED");
    say(&mut device, "d", 35.0).await;
    assert_eq!(done("clear").await["active"], false);
    refused("clear").await;
    say(&mut device, "d", 36.0).await;
    let shown = brooklet.get(&path).await;
    assert_eq!((&shown["active"], &shown["occurrences"]), (&json!(false), &json!(2)));
    let expected = [
        "raised",
        "shelved",
        "unshelved",
        "out_of_service",
        "in_service",
        "acknowledged",
        "unacknowledged",
        "latched",
        "reset",
        "raised",
        "forced_clear",
    ];
    assert_eq!(kinds(&shown), expected);
    // A restart changes nothing of it.
    let brooklet = brooklet.restart().await;
    assert_eq!(brooklet.get(&path).await, shown);
}

#[tokio::test]
async fn alarms_are_paged_filtered_counted_and_acknowledged_at_once() {
    let brooklet = Brooklet::start().await;
    let rule = make(&brooklet, "/api/alarm-rules", hot()).await;
    let mut device = brooklet.connect("c").await;
    for n in 0..7 {
        say(&mut device, &format!("d{n}"), 35.0).await;
    }
    for value in [20.0, 35.0, 20.0, 45.0] {
        say(&mut device, "d0", value).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = brooklet.get(&format!("/api/alarms?limit=3{cursor}")).await;
        seen.extend(items(&page).iter().map(|alarm| alarm["id"].as_i64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 7);
    let count =
        async |query: &str| items(&brooklet.get(&format!("/api/alarms?{query}")).await).len();
    assert_eq!(count("severity_min=critical").await, 1);
    assert_eq!(count(&format!("rule={rule}&closed=false")).await, 7);
    assert_eq!(count("rule=999").await, 0);
    assert_eq!(count("from=2100-01-01T00:00:00Z").await, 0);
    assert_eq!(count("acknowledged=true").await, 0);
    for path in ["/api/alarms?severity_min=bad", "/api/alarms?active=perhaps"] {
        assert_eq!(brooklet.request(Method::GET, path, None).await.status, 400, "{path}");
    }
    assert_eq!(brooklet.request(Method::GET, "/api/alarms?cursor=x", None).await.status, 422);

    let summary = brooklet.get("/api/alarms/summary").await;
    assert_eq!((&summary["active"], &summary["unacknowledged"]), (&json!(7), &json!(7)));
    let open = summary["open"].as_array().unwrap();
    assert_eq!((&open[0]["severity"], &open[0]["count"]), (&json!("critical"), &json!(1)));
    assert_eq!(
        (&open[1]["state"], &open[1]["count"]),
        (&json!("ACTIVE_UNACKNOWLEDGED"), &json!(6))
    );
    assert_eq!(summary["top_rules"][0]["raised"], 9);
    assert_eq!(
        (&summary["top_devices"][0]["device"], &summary["top_devices"][0]["raised"]),
        (&json!("d0"), &json!(3))
    );
    assert_eq!(summary["chattering"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&summary["chattering"][0]["device"], &summary["chattering"][0]["raised"]),
        (&json!("d0"), &json!(3))
    );
    assert!(summary["mean_seconds_to_acknowledge"].is_null());

    let path = "/api/alarms/acknowledge";
    let ids = json!({"ids": [seen[1], seen[2], seen[1], 999], "note": "seen"});
    let bulk = post(&brooklet, path, ids).await.body;
    assert_eq!((&bulk["acknowledged"], bulk["results"].as_array().unwrap().len()), (&json!(2), 3));
    let missing = bulk["results"].as_array().unwrap().iter().find(|result| result["id"] == 999);
    assert_eq!(missing.unwrap()["detail"], "there is no such alarm");
    let filter = json!({"filter": {"severity_min": "critical", "from": "2020-01-01T00:00:00Z"}});
    assert_eq!(post(&brooklet, path, filter).await.body["acknowledged"], 1);
    assert_eq!(post(&brooklet, path, json!({"filter": {}})).await.body["acknowledged"], 4);
    assert_eq!(pointers(&post(&brooklet, path, json!({})).await), [""]);
    assert_eq!(
        pointers(&post(&brooklet, path, json!({"filter": {"sensor": "t"}})).await),
        ["/filter/sensor"]
    );
    let summary = brooklet.get("/api/alarms/summary").await;
    assert_eq!((&summary["unacknowledged"], &summary["acknowledged"]), (&json!(0), &json!(7)));
    assert!(summary["mean_seconds_to_acknowledge"].is_number());
    let wrong = "/api/alarms/summary?from=2025-01-01T00:00:00Z&to=2024-01-01T00:00:00Z";
    assert_eq!(brooklet.request(Method::GET, wrong, None).await.status, 422);
}

#[tokio::test]
async fn nobody_is_asked_to_acknowledge_what_was_put_aside() {
    let brooklet = Brooklet::start().await;
    make(&brooklet, "/api/alarm-rules", hot()).await;
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 35.0).await;
    for (command, waiting) in [("shelve", 0), ("unshelve", 1), ("out-of-service", 0)] {
        let path = format!("/api/alarms/1/{command}");
        let body = if command == "shelve" { json!({"duration": "1h"}) } else { json!({}) };
        assert_eq!(post(&brooklet, &path, body).await.status, 200, "{command}");
        let alarms = brooklet.get("/api/overview").await["alarms"].clone();
        assert_eq!((&alarms["active"], &alarms["unacknowledged"]), (&json!(1), &json!(waiting)));
        assert_eq!(brooklet.get("/api/alarms/summary").await["unacknowledged"], waiting);
    }
}

#[tokio::test]
async fn rules_are_edited_by_version() {
    let brooklet = Brooklet::start().await;
    let id = make(&brooklet, "/api/alarm-rules", hot()).await;
    let path = format!("/api/alarm-rules/{id}");
    assert_eq!(post(&brooklet, "/api/alarm-rules", hot()).await.status, 409);
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 35.0).await;
    let shown = brooklet.request(Method::GET, &path, None).await;
    assert_eq!(shown.headers["etag"], "\"1\"");
    assert_eq!(
        (&shown.body["provisioned"], &shown.body["rule"]["cooldown"]),
        (&json!(false), &json!("1m"))
    );
    // What is shown can be put; nothing changed makes no version.
    let mut rule = shown.body["rule"].clone();
    let same = put(&brooklet, &path, rule.clone(), "\"1\"").await;
    assert_eq!((same.status.as_u16(), &same.body["version"]), (200, &json!(1)));
    rule["levels"][0]["condition"]["limit"] = json!(36);
    let edited = put(&brooklet, &path, rule.clone(), "\"1\"").await;
    assert_eq!((edited.status.as_u16(), &edited.body["version"]), (200, &json!(2)));
    rule["levels"][0]["condition"]["limit"] = json!(50);
    assert_eq!(put(&brooklet, &path, rule.clone(), "\"1\"").await.status, 412);
    // The edit is in force with the answer: this clears the alarm that version 1 has raised.
    say(&mut device, "d", 34.5).await;
    assert!(items(&brooklet.get("/api/alarms?active=true").await).is_empty());

    let disabled = order(&brooklet, &format!("{path}/disable")).await;
    assert_eq!(
        (&disabled.body["version"], &disabled.body["rule"]["enabled"]),
        (&json!(3), &json!(false))
    );
    let again = order(&brooklet, &format!("{path}/disable")).await;
    assert_eq!(again.body["version"], 3);
    say(&mut device, "d", 60.0).await;
    assert!(items(&brooklet.get("/api/alarms?active=true").await).is_empty());
    assert_eq!(items(&brooklet.get("/api/alarm-rules?enabled=true").await).len(), 0);
    assert_eq!(items(&brooklet.get("/api/alarm-rules?enabled=false&q=HOT").await).len(), 1);
    order(&brooklet, &format!("{path}/enable")).await;
    say(&mut device, "d", 61.0).await;
    let alarms = brooklet.get("/api/alarms?active=true").await;
    assert_eq!(items(&alarms)[0]["rule"]["version"], 4);

    let versions = brooklet.get(&format!("{path}/versions?limit=3")).await;
    let numbers: Vec<_> =
        items(&versions).iter().map(|version| version["version"].clone()).collect();
    assert_eq!(
        (numbers, &versions["next_cursor"]),
        (vec![json!(4), json!(3), json!(2)], &json!("2"))
    );
    let first = brooklet.get(&format!("{path}/versions/1")).await;
    assert_eq!(first["rule"]["levels"][0]["condition"]["limit"], 30.0);
    let delete = async |tag: &str| {
        brooklet.request_with(Method::DELETE, &path, None, &[("If-Match", tag)]).await.status
    };
    assert_eq!(delete("\"3\"").await, 412);
    assert_eq!(delete("\"4\"").await, 204);
    assert_eq!(delete("*").await, 404);
    let cleared = brooklet.get(&format!("/api/alarms/{}", items(&alarms)[0]["id"])).await;
    assert_eq!(
        (&cleared["active"], kinds(&cleared).last()),
        (&json!(false), Some(&"rule_disabled"))
    );
    assert_eq!(items(&brooklet.get(&format!("{path}/versions")).await).len(), 4);
    for path in
        ["/api/alarm-rules/999", "/api/alarm-rules/999/versions", &format!("{path}/versions/9")]
    {
        assert_eq!(brooklet.request(Method::GET, path, None).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn mistakes_of_a_rule_are_told_with_their_places() {
    let brooklet = Brooklet::start().await;
    let mut wrong = hot();
    wrong["levels"][0]["condition"] =
        json!({"type": "outside", "low": 5, "high": 1, "deadband": -1});
    wrong["levels"][1]["severity"] = json!("info");
    wrong["message"] = json!("{nothing}");
    for path in ["/api/alarm-rules/validate", "/api/alarm-rules"] {
        let refused = post(&brooklet, path, wrong.clone()).await;
        let expected = ["/message", "/levels/0/condition", "/levels/0/condition/deadband"];
        assert!(
            expected.iter().all(|place| pointers(&refused).contains(place)),
            "{}",
            refused.text
        );
        assert!(pointers(&refused).contains(&"/levels/1/severity"));
    }
    let mut unfit = hot();
    unfit["levels"][1]["condition"]["limti"] = json!(5);
    let refused = post(&brooklet, "/api/alarm-rules/validate", unfit).await;
    assert_eq!(pointers(&refused), ["/levels/1/condition/limti"]);
    let mut lost = hot();
    lost["targets"] = json!(["ops"]);
    assert_eq!(pointers(&post(&brooklet, "/api/alarm-rules", lost).await), ["/targets/0"]);
    let text = brooklet.request(Method::POST, "/api/alarm-rules", None).await;
    assert_eq!(text.status, 415);
    let mut right = hot();
    right["suppressed_by"] = json!(["Device offline"]);
    let valid = post(&brooklet, "/api/alarm-rules/validate", right).await;
    assert_eq!(
        (valid.status.as_u16(), &valid.body["unknown_rules"]),
        (200, &json!(["Device offline"]))
    );
    assert!(items(&brooklet.get("/api/alarm-rules").await).is_empty());
    for preset in items(&brooklet.get("/api/alarm-rules/presets").await) {
        make(&brooklet, "/api/alarm-rules", preset["rule"].clone()).await;
    }
}

#[tokio::test]
async fn what_the_configuration_says_is_shown_and_not_edited() {
    let rules = r#"[{ name = "Fixed", levels = [{ severity = "major", condition = { type = "above", limit = 5 } }] }]"#;
    let targets = r#"[{ name = "fixed", channel = { type = "log" } }]"#;
    let brooklet =
        Brooklet::with(&[("ALARMS__RULES", rules), ("NOTIFICATIONS__TARGETS", targets)]).await;
    for (path, part) in [("/api/alarm-rules", "rule"), ("/api/notification-targets", "target")] {
        let shown = items(&brooklet.get(path).await)[0].clone();
        assert_eq!(shown["provisioned"], true);
        let path = format!("{path}/{}", shown["id"]);
        let mut edit = shown[part].clone();
        edit["description"] = json!("mine");
        let edited = put(&brooklet, &path, edit, "*").await;
        assert_eq!(edited.status, 409, "{}", edited.text);
        assert!(edited.body["detail"].as_str().unwrap().contains("configuration"));
        assert_eq!(brooklet.request(Method::DELETE, &path, None).await.status, 409);
    }
    let id = items(&brooklet.get("/api/alarm-rules").await)[0]["id"].clone();
    assert_eq!(order(&brooklet, &format!("/api/alarm-rules/{id}/disable")).await.status, 409);
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 6.0).await;
    assert_eq!(items(&brooklet.get("/api/alarms").await)[0]["rule"]["name"], "Fixed");
}

/// One order and one transaction, however many: a short queue takes it.
#[tokio::test]
async fn a_bulk_is_acknowledged_at_one_time() {
    let mut brooklet = Brooklet::with(&[("INGEST__MAX_QUEUED_MESSAGES", "4")]).await;
    brooklet.may_log_errors();
    make(&brooklet, "/api/alarm-rules", hot()).await;
    let mut device = brooklet.connect("c").await;
    for n in 0..40 {
        say(&mut device, &format!("d{n}"), 35.0).await;
    }
    let page = brooklet.get("/api/alarms?limit=100").await;
    let ids: Vec<_> = items(&page).iter().map(|alarm| alarm["id"].as_i64().unwrap()).collect();
    assert_eq!(order(&brooklet, &format!("/api/alarms/{}/ack", ids[5])).await.status, 200);
    let database = rusqlite::Connection::open(brooklet.database()).unwrap();
    let path = "/api/alarms/acknowledge";
    let fault = "CREATE TRIGGER poison BEFORE UPDATE ON alarm BEGIN SELECT RAISE(ABORT, 'no'); END";
    database.execute_batch(fault).unwrap();
    let failed = post(&brooklet, path, json!({"filter": {}})).await;
    assert!(failed.status.is_server_error(), "{}", failed.text);
    assert_eq!(items(&brooklet.get("/api/alarms?acknowledged=true").await).len(), 1);
    database.execute_batch("DROP TRIGGER poison").unwrap();

    let bulk = post(&brooklet, path, json!({"ids": ids})).await.body;
    assert_eq!(bulk["acknowledged"], 39, "{bulk}");
    let results = bulk["results"].as_array().unwrap();
    let refused: Vec<_> = results.iter().filter(|result| result["ok"] == false).collect();
    assert_eq!((refused.len(), &refused[0]["id"]), (1, &json!(ids[5])));
    assert_eq!(refused[0]["detail"], "the alarm is acknowledged already");
    assert_eq!(items(&brooklet.get("/api/alarms?acknowledged=true&limit=100").await).len(), 40);
}

#[tokio::test]
async fn alarms_that_are_long_over_go_but_for_the_newest() {
    let brooklet = Brooklet::with(&[("ALARMS__RETENTION", "1d")]).await;
    make(&brooklet, "/api/alarm-rules", hot()).await;
    let mut device = brooklet.connect("d").await;
    for value in [35.0, 20.0, 35.0, 20.0] {
        say(&mut device, "d", value).await;
        post(&brooklet, "/api/alarms/acknowledge", json!({"filter": {}})).await;
    }
    assert_eq!(items(&brooklet.get("/api/alarms?closed=true").await).len(), 2);
    let database = rusqlite::Connection::open(brooklet.database()).unwrap();
    database.execute_batch("UPDATE alarm SET changed_at = 0").unwrap();
    let brooklet = brooklet.restart().await;
    let page = brooklet.eventually("/api/alarms", |page| items(page).len() < 2).await;
    assert_eq!(items(&page)[0]["id"], 2);
    assert_eq!(brooklet.request(Method::GET, "/api/alarms/1", None).await.status, 404);
}
