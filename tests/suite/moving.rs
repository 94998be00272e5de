//! `brooklet copy`: everything from one database to another, found equal, and used as if nothing had been.

use std::{
    fs,
    path::Path,
    process::Output,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    backup::publish_until,
    harness::{Brooklet, command},
    people::{ask, closed},
    retention::{import, raw, statistics, today, with_old_readings, within},
    wire::{Client, connect, packet, text},
};

/// Keeps no more in memory than it must, so that readings are in chunks soon.
const SMALL: (&str, &str) = ("DATABASE__READINGS_IN_MEMORY", "1000");
const PASSWORD: &str = "a fine long password";
const ODD: &str = "Kessel \u{1f525} 'x' \\ \"y\" `z` %s \u{200f}ß \u{fffd} $1 ?1";

/// Runs a command on the data of a folder, or on a server's.
pub(crate) fn run(folder: &Path, url: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = command(folder);
    if let Some(url) = url {
        command.env("BROOKLET__DATABASE__URL", url);
    }
    command.args(arguments).output().unwrap()
}

pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

pub(crate) fn succeeded(output: &Output) -> String {
    let text = printed(output);
    assert!(output.status.success(), "{text}\n{}", told(output));
    text
}

/// A CONNECT that resumes, of a session that is kept for an hour.
fn keeper() -> Vec<u8> {
    connect(5, 0, 60, &[17, 0, 0, 14, 16], "keeper")
}

/// A store with something in every corner.
pub(crate) async fn world() -> Option<(Brooklet, String)> {
    let (brooklet, key) = closed(&[SMALL]).await;
    if !brooklet.database().exists() {
        return None; // The data is on a server.
    }
    let post = async |path: &str, body: Value| {
        let made = ask(&brooklet, &key, Method::POST, path, Some(body)).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text);
        made.body
    };
    let labels = json!({"room": ODD.trim()});
    post("/api/devices", json!({"device": "boiler", "name": ODD, "labels": labels})).await;
    post("/api/devices/boiler/credentials", json!({})).await;
    post("/api/users", json!({"name": "ann", "role": "viewer", "password": PASSWORD})).await;
    let level = json!({"severity": "warning", "condition": {"type": "above", "limit": 90}});
    let rule = json!({"name": "hot", "scope": {"sensors": ["water"]}, "levels": [level]});
    post("/api/alarm-rules", rule).await;
    let mut boiler = brooklet.connect("boiler").await;
    for part in 0..20_i64 {
        let row = |at: i64| {
            let second = 1_780_000_000 + part * 7_000 + at * 10;
            json!({"ts": second, "values": {"water": 20.0 + at as f64 / 7.0, "on": at % 2 == 0}})
        };
        let rows: Vec<Value> = (0..500).map(row).collect();
        let body = Value::Array(rows).to_string();
        assert_eq!(boiler.publish("devices/boiler/data", body).await.reason & 0x80, 0);
    }
    let late: Vec<Value> =
        (0..50).map(|at| json!({"ts": 1_780_005_100 + at, "values": {"water": -40.25}})).collect();
    boiler.publish("devices/boiler/data", Value::Array(late).to_string()).await;
    // No value; an odd quality; a number of all digits; a time that is replaced.
    for (topic, body) in [
        ("devices/boiler/data", r#"{"water": NaN, "ts": 1780150000}"#),
        ("sensors/g/7/data", r#"{"value": -1.7976931348623157e308, "quality": "uncertain"}"#),
        ("telemetry/odd/p", "0.1234567890123456789"),
        ("telemetry/odd/small", "5e-324"),
        ("telemetry/odd/z", "-0.0"),
        ("devices/boiler/data", r#"{"water": 95.5, "ts": 4000000000}"#),
        ("devices/boiler/status", r#"{"status": "läuft", "firmware": "1.2"}"#),
    ] {
        assert_eq!(boiler.publish(topic, body).await.reason & 0x80, 0, "{topic}");
    }
    assert_ne!(boiler.publish("devices/boiler/data", [0xFF, 0, 1, 2]).await.reason & 0x80, 0);
    let mut kept = text("plain/kept");
    kept.extend([0, 99, 0]);
    kept.extend([0, 255, 10, 39]);
    boiler.send(&packet(0x33, &kept)).await;
    assert_eq!(boiler.ack().await.id, 99);
    let (mut keeper, _) = Client::open(brooklet.mqtt, keeper(), true).await;
    assert_eq!(keeper.subscribe("plain/owed/#", 1).await, 1);
    keeper.send(&packet(0xE0, &[])).await;
    drop(keeper);
    for n in 0..3 {
        boiler.publish("plain/owed/1", format!("owed {n}")).await;
    }
    Some((brooklet, key))
}

/// What is stored, as whoever has the key sees it.
pub(crate) async fn seen(brooklet: &Brooklet, key: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for path in [
        "/api/data/export?device_id=boiler&format=ndjson",
        "/api/data/export?device_id=odd&format=ndjson",
        "/api/data/export?device_id=g&format=ndjson",
        "/api/alarms",
        "/api/alarm-rules",
        "/api/users",
        "/api/keys",
        "/api/devices",
        "/api/devices/boiler/credentials",
        "/api/sensors",
        "/api/quarantine",
        "/api/audit",
    ] {
        let answer = ask(brooklet, key, Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        // When somebody was last there differs.
        let volatile =
            |key: &str| key.ends_with("used_at") || key.starts_with("last_") || key == "online";
        let text = match answer.body {
            Value::Null => answer.text,
            mut body => {
                for item in body["items"].as_array_mut().into_iter().flatten() {
                    item.as_object_mut().unwrap().retain(|key, _| !volatile(key));
                }
                body.to_string()
            }
        };
        // MariaDB has one zero, and so have columns of SQLite.
        seen.push(text.replace("\"value\":-0.0", "\"value\":0.0"));
    }
    seen
}

/// The same again where the data was copied to, with what the broker keeps.
pub(crate) async fn assert_goes_on(brooklet: &Brooklet, key: &str, expected: &[String]) {
    for (seen, expected) in seen(brooklet, key).await.iter().zip(expected) {
        assert_eq!(seen, expected);
    }
    let (mut keeper, connack) = Client::open(brooklet.mqtt, keeper(), true).await;
    assert_eq!(connack.body[0], 1, "session present");
    for n in 0..3 {
        let (first, topic, id, payload) = keeper.message().await;
        assert_eq!((first & 0x36, topic.as_str()), (0x32, "plain/owed/1"));
        assert_eq!(payload, format!("owed {n}").as_bytes());
        keeper.send(&packet(0x40, &id.to_be_bytes())).await;
    }
    assert_eq!(keeper.subscribe("plain/kept", 0).await, 0);
    let (_, topic, _, payload) = keeper.message().await;
    assert_eq!((topic.as_str(), payload), ("plain/kept", vec![0, 255, 10, 39]));
    let body = Some(json!({"username": "ann", "password": PASSWORD}));
    assert_eq!(brooklet.request(Method::POST, "/api/auth/login", body).await.status, 200);
    // Numbers go on: nothing that is made now takes the place of something that was.
    let mut boiler = brooklet.connect("boiler").await;
    let body = r#"{"water": 21, "fresh": 1, "ts": 1780200000}"#;
    assert_eq!(boiler.publish("devices/boiler/data", body).await.reason & 0x80, 0);
    let user = json!({"name": "bob", "role": "viewer", "password": PASSWORD});
    let made = ask(brooklet, key, Method::POST, "/api/users", Some(user)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // What was there counts as a duplicate.
    let again = r#"{"ts": 1780000000, "values": {"water": 20.0}}"#;
    assert_eq!(boiler.publish("devices/boiler/data", again).await.reason & 0x80, 0);
}

/// A folder for a Brooklet that goes on with the keys of another.
pub(crate) fn heir(of: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let keys = of.join("data/access-keys.json");
    fs::copy(keys, folder.path().join("data/access-keys.json")).unwrap();
    folder
}

fn file_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("data/brooklet.db").display())
}

#[tokio::test]
async fn a_copy_has_everything_and_goes_on_where_the_source_was() {
    let Some((mut brooklet, key)) = world().await else { return };
    let expected = seen(&brooklet, &key).await;
    assert_eq!(expected[0].lines().count(), 20_000 + 50 + 2, "{}", expected[0]);
    assert!(expected[3].contains("\"hot\""), "{}", expected[3]);
    assert!(!expected[10].contains("\"items\":[]"), "{}", expected[10]);
    brooklet.stop().await;
    let folder = brooklet.folder();
    succeeded(&run(folder, None, &["verify"]));
    let elsewhere = heir(folder);
    let url = file_url(elsewhere.path());
    let text = succeeded(&run(folder, None, &["copy", "--to", &url]));
    for table in [
        "device",
        "reading_hour",
        "reading_day",
        "reading_series",
        "reading",
        "audit",
        "mqtt_queue",
        "mqtt_retained",
        "quarantine",
        "user",
    ] {
        let line = text.lines().find(|line| line.starts_with(&format!("{table} ")));
        assert!(line.is_some_and(|line| line.ends_with("  equal")), "{table}: {text}");
    }
    assert!(text.contains("\nAll is equal. It is what was stored at "), "{text}");
    let verified = succeeded(&run(folder, None, &["copy", "--verify", "--to", &url]));
    assert!(verified.ends_with("All is equal."), "{verified}");
    succeeded(&run(elsewhere.path(), None, &["verify"]));
    let again = run(folder, None, &["copy", "--to", &url]);
    assert_eq!(again.status.code(), Some(2));
    assert!(told(&again).contains("is not empty: device has 3 rows"), "{}", told(&again));
    let copy = Brooklet::at(elsewhere, &[("HTTP__ALLOW_ANONYMOUS", "false"), SMALL]).await;
    assert_goes_on(&copy, &key, &expected).await;
}

#[tokio::test]
async fn what_differs_is_found() {
    let Some((mut brooklet, _)) = world().await else { return };
    brooklet.stop().await;
    let folder = brooklet.folder();
    let elsewhere = TempDir::new().unwrap();
    let url = file_url(elsewhere.path());
    succeeded(&run(folder, None, &["copy", "--to", &url]));
    let target = || Connection::open(elsewhere.path().join("data/brooklet.db")).unwrap();
    let found = |change: &str, back: &str, said: &str| {
        assert_eq!(target().execute(change, []).unwrap(), 1, "{change}");
        let output = run(folder, None, &["copy", "--verify", "--to", &url]);
        assert_ne!(output.status.code(), Some(0), "{change}");
        let text = format!("{}\n{}", printed(&output), told(&output));
        assert!(text.contains(said), "{change}: {text}");
        if back.is_empty() {
            return;
        }
        target().execute(back, []).unwrap();
        succeeded(&run(folder, None, &["copy", "--verify", "--to", &url]));
    };
    found(
        "UPDATE device SET name = 'boiler ' WHERE key = 'odd'",
        "UPDATE device SET name = NULL WHERE key = 'odd'",
        "Not equal: device.",
    );
    found(
        "UPDATE sensor SET id = 99 WHERE name = 'z'",
        "UPDATE sensor SET id = (SELECT seq FROM sqlite_sequence WHERE name = 'sensor') WHERE id = 99",
        "Not equal: sensor.",
    );
    let connection = target();
    let sql = "SELECT id, hex(payload) FROM quarantine";
    let (id, payload): (i64, String) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    drop(connection);
    found(
        &format!("UPDATE quarantine SET payload = X'FF000103' WHERE id = {id}"),
        &format!("UPDATE quarantine SET payload = X'{payload}' WHERE id = {id}"),
        "Not equal: quarantine.",
    );
    found("DELETE FROM mqtt_retained WHERE topic = 'plain/kept'", "", "Not equal: mqtt_retained.");
}

#[tokio::test]
async fn a_copy_that_is_not_whole_is_not_taken_for_one() {
    let mut brooklet = Brooklet::start().await;
    if !brooklet.database().exists() {
        return;
    }
    brooklet.connect("d").await.publish("devices/d/data", r#"{"t": 1}"#).await;
    brooklet.stop().await;
    let folder = brooklet.folder();
    let elsewhere = TempDir::new().unwrap();
    let url = file_url(elsewhere.path());
    succeeded(&run(folder, None, &["copy", "--to", &url]));
    let path = elsewhere.path().join("data/brooklet.db");
    // As it is while it is being filled.
    let mark = "CREATE TABLE moving_unfinished (id INTEGER NOT NULL)";
    Connection::open(&path).unwrap().execute(mark, []).unwrap();
    let file = folder.join("b");
    let file = file.to_str().unwrap();
    for (at, arguments) in [
        (elsewhere.path(), &["migrate"][..]),
        (elsewhere.path(), &["serve"]),
        (elsewhere.path(), &["verify"]),
        (elsewhere.path(), &["backup", file]),
        (folder, &["copy", "--to", &url]),
        (folder, &["copy", "--verify", "--to", &url]),
    ] {
        let output = run(at, None, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(told(&output).contains("holds a copy that was not finished"), "{}", told(&output));
    }
    // Somebody else's file, and the same one.
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute("CREATE TABLE theirs (id INTEGER)", []).unwrap();
    let output = run(folder, None, &["copy", "--to", &url]);
    assert!(told(&output).contains("is not empty: it has the table theirs"), "{}", told(&output));
    let output = run(folder, None, &["copy", "--to", "sqlite://data/brooklet.db"]);
    assert!(told(&output).contains("is where the data is already"), "{}", told(&output));
    let output = run(folder, None, &["copy", "--to", "oracle://h/d"]);
    assert!(told(&output).contains("--to is sqlite://PATH"), "{}", told(&output));
}

#[tokio::test]
async fn a_copy_of_a_running_server_is_of_one_moment() {
    let brooklet = Brooklet::with(&[SMALL]).await;
    if !brooklet.database().exists() {
        return;
    }
    let is_over = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    let load = publish_until(&brooklet, &is_over, &acknowledged);
    let copies = async {
        for number in 0..3 {
            let folder = brooklet.folder().to_owned();
            let before = acknowledged.load(Ordering::Relaxed);
            let url = format!("sqlite://copy{number}.db");
            let copied = tokio::task::spawn_blocking(move || {
                let text = succeeded(&run(&folder, None, &["copy", "--to", &url]));
                succeeded(&run(&folder, Some(&url), &["verify"]));
                text
            });
            let text = copied.await.unwrap();
            let line =
                text.lines().find(|line| line.starts_with("reading ")).unwrap_or("reading 0");
            let readings: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            assert!(readings >= before, "{readings} of {before} acknowledged");
            assert_eq!(readings % 150, 0, "half a batch is in it: {text}");
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, copies);
}

/// From a file whose old readings are dropped through databases at these places, statistics stay; and what
/// comes late for a time without readings is added to them.
pub(crate) async fn old_statistics_go_along(places: &[String]) {
    let (brooklet, start) = with_old_readings().await;
    let variables = [("RETENTION__RAW", "6d"), ("RETENTION__INTERVAL", "1s"), SMALL];
    let mut brooklet = brooklet.restart_with(&variables).await;
    brooklet.until_metric("brooklet_retention_dropped_readings_total", 2.0 * 288.0).await;
    let all = (start, today() + 86_400);
    let hours = statistics(&brooklet, ("s", "1h"), all).await;
    assert_eq!((&hours[0], raw(&brooklet, "s", all).await), (&577.into(), 289));
    brooklet.stop().await;
    let mut from: Option<&str> = None;
    for to in places {
        succeeded(&run(brooklet.folder(), from, &["copy", "--to", to]));
        from = Some(to);
    }
    for place in places {
        let variables = [variables[0], variables[1], ("DATABASE__URL", place)];
        let copy = Brooklet::at(heir(brooklet.folder()), &variables).await;
        assert_eq!(raw(&copy, "s", all).await, 289, "{place}");
        assert_eq!(statistics(&copy, ("s", "1h"), all).await, hours, "{place}");
        import(&copy, &[("s", start + 3_601, 1_000)]).await;
        let path = format!("/api/data/history?page=1&sensor=s&{}", within(all));
        copy.eventually(&path, |page| page["total"] == 289).await;
        let late = statistics(&copy, ("s", "1h"), all).await;
        assert_eq!((&late[0], &late[5][1]), (&578.into(), &7.into()), "{place}");
    }
}

#[tokio::test]
async fn statistics_of_readings_that_are_gone_go_along() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    old_statistics_go_along(&[file("one.db"), file("two.db")]).await;
}
