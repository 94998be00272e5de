//! What the dashboard starts from: the overview, the list of devices, the configuration in force.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Brooklet;

async fn say(brooklet: &Brooklet, device: &str, payload: Value) {
    let mut client = brooklet.connect(device).await;
    let published = client.publish(&format!("devices/{device}/data"), payload.to_string()).await;
    assert_eq!(published.reason, 0, "{device} {payload}");
}

fn kinds(overview: &Value) -> Vec<&str> {
    let attention = overview["attention"].as_array().unwrap();
    attention.iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

fn devices(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|device| device["device"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_overview_asks_for_the_first_message_and_then_counts() {
    let brooklet = Brooklet::with(&[(
        "ALARMS__RULES",
        r#"[{ name = "hot", levels = [
            { severity = "critical", condition = { type = "above", limit = 30 } } ] }]"#,
    )])
    .await;
    let overview = brooklet.get("/api/overview").await;
    assert_eq!((&overview["devices"]["total"], &overview["time_zone"]), (&json!(0), &json!("UTC")));
    assert!(kinds(&overview).contains(&"no_data_yet"), "{overview}");
    assert_eq!(overview["messages"]["series"]["accepted"].as_array().unwrap().len(), 360);

    say(&brooklet, "a", json!({"t": 20})).await;
    say(&brooklet, "b", json!({"t": 40})).await;
    let mut client = brooklet.connect("a").await;
    assert_ne!(client.publish("devices/a/data", "nothing of ours").await.reason, 0);
    let overview = brooklet.get("/api/overview").await;
    assert_eq!(overview["devices"]["total"], 2);
    assert_eq!(overview["alarms"]["active"], 1);
    assert_eq!(overview["alarms"]["by_severity"]["critical"], 1);
    assert_eq!(overview["quarantine"]["entries"], 1);
    assert!(overview["messages"]["per_second"].as_f64().unwrap() > 0.0, "{overview}");
    assert_eq!(overview["messages"]["success_rate"], 2.0 / 3.0);
    assert!(overview["store"]["bytes"].as_u64().unwrap() > 0);
    assert!(overview["store"]["disk_free_bytes"].as_u64().unwrap() > 0);
    let first = &overview["attention"][0];
    assert_eq!(
        (&first["kind"], &first["severity"], &first["count"]),
        (&json!("alarm"), &json!("critical"), &json!(1))
    );
    assert_eq!(first["reference"], json!({"severity": "critical"}));
    assert!(first["since"].is_string() && !kinds(&overview).contains(&"no_data_yet"), "{overview}");
    assert!(kinds(&overview).contains(&"quarantine"), "{overview}");
}

#[tokio::test]
async fn who_waits_for_approval_is_named_in_the_overview() {
    let brooklet = Brooklet::with(&[("DEVICES__UNKNOWN", "pending")]).await;
    say(&brooklet, "esp", json!({"t": 20})).await;
    let overview = brooklet.get("/api/overview").await;
    let attention = overview["attention"].as_array().unwrap();
    let entry = attention.iter().find(|entry| entry["kind"] == "pending_devices").unwrap();
    assert_eq!(entry["reference"], json!({"device": "esp"}));
    assert_eq!(
        overview["devices"],
        json!({"total": 1, "online": 0, "offline": 0, "pending": 1, "blocked": 0})
    );
}

#[tokio::test]
async fn devices_are_found_by_words_and_put_in_order() {
    let brooklet = Brooklet::with(&[(
        "ALARMS__RULES",
        r#"[{ name = "hot", levels = [
            { severity = "major", condition = { type = "above", limit = 30 } } ] }]"#,
    )])
    .await;
    for (device, name, room) in
        [("c", "Ärger", "cellar"), ("a", "zebra", "attic"), ("b", "", "Cellar 2")]
    {
        let mut body = json!({"device": device, "labels": {"room": room}});
        if !name.is_empty() {
            body["name"] = json!(name);
        }
        assert_eq!(brooklet.request(Method::POST, "/api/devices", Some(body)).await.status, 201);
    }
    say(&brooklet, "b", json!({"t": 40, "h": 50})).await;
    say(&brooklet, "c", json!({"t": 20})).await;

    for (query, expected) in [
        ("", vec!["a", "b", "c"]),
        ("sort=-key", vec!["c", "b", "a"]),
        ("sort=name", vec!["a", "c", "b"]),
        ("sort=-name", vec!["c", "a", "b"]),
        ("sort=-last_seen", vec!["c", "b", "a"]),
        ("sort=last_seen", vec!["b", "c", "a"]),
        ("sort=first_seen", vec!["c", "a", "b"]),
        ("sort=alarm", vec!["b", "a", "c"]),
        ("search=CELLAR", vec!["b", "c"]),
        ("search=%C3%A4rg", vec!["c"]),
        ("search=nowhere", vec![]),
        ("status=pending", vec![]),
        ("sort=-key&page=2&per_page=2", vec!["a"]),
    ] {
        let page = brooklet.get(&format!("/api/devices?{query}")).await;
        assert_eq!(devices(&page), expected, "{query}");
    }
    let page = brooklet.get("/api/devices?search=cellar&page=1&per_page=1").await;
    assert_eq!((&page["total"], &page["page"], devices(&page)), (&json!(2), &json!(1), vec!["b"]));
    let page = brooklet.get("/api/devices?limit=2").await;
    assert_eq!((devices(&page), &page["next_cursor"]), (vec!["a", "b"], &json!("b")));
    let page = brooklet.get("/api/devices?limit=2&cursor=b").await;
    assert_eq!((devices(&page), &page["next_cursor"]), (vec!["c"], &Value::Null));

    let page = brooklet.get("/api/devices?include=latest").await;
    let items = page["items"].as_array().unwrap();
    assert_eq!((&items[0]["latest"], &items[0]["alarm"]), (&json!([]), &Value::Null));
    let sensors: Vec<_> =
        items[1]["latest"].as_array().unwrap().iter().map(|reading| &reading["sensor"]).collect();
    assert_eq!(sensors, ["h", "t"]);
    assert_eq!(items[1]["alarm"], json!({"count": 2, "severity_max": "major"}));

    for query in ["sort=size", "sort=name&cursor=a", "page=0", "per_page=1001"] {
        let refused = brooklet.request(Method::GET, &format!("/api/devices?{query}"), None).await;
        assert_eq!(refused.status, 422, "{query}: {}", refused.text);
    }
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_without_secrets() {
    let keys = r#"[{ name = "anna", key = "the-secret-key-of-anna" }]"#;
    let brooklet =
        Brooklet::with(&[("HTTP__API_KEYS", keys), ("HTTP__ALLOW_ANONYMOUS", "true")]).await;
    let shown = brooklet.request(Method::GET, "/api/configuration", None).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert_eq!(shown.body["settings"]["http"]["api_keys"][0]["name"], "anna");
    assert_eq!(shown.body["origins"]["http.api_keys"], "environment");
    assert_eq!(shown.body["origins"]["http.max_body"], Value::Null);
    assert!(!shown.text.contains("the-secret-key"), "{}", shown.text);
}
