//! `brooklet verify`, `backup` and `restore`: what is stored is looked at, copied and brought back.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{Brooklet, command},
    people::{ask, closed},
    wire::{Client, login},
};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Keeps no more in memory than it must, so that readings are in chunks soon.
const SMALL: (&str, &str) = ("DATABASE__READINGS_IN_MEMORY", "1000");

async fn uploaded(brooklet: &Brooklet, device: &str, from: i64, readings: i64) {
    let rows = (0..readings).map(|at| {
        let seconds = 1_790_000_000 + from + at;
        format!(r#"{{"ts":{seconds},"values":{{"t":{}}}}}"#, 20.0 + at as f64 / 10.0)
    });
    let body = format!("[{}]", rows.collect::<Vec<_>>().join(","));
    let mut client = brooklet.connect(device).await;
    let answer = client.publish(&format!("devices/{device}/data"), &body).await;
    assert_eq!(answer.reason & 0x80, 0, "{}", answer.reason);
}

/// Waits until there is a chunk.
async fn chunked(database: &Path) {
    for _ in 0..1_000 {
        let connection = Connection::open(database).unwrap();
        let count = "SELECT count(*) FROM reading_chunk";
        let chunks: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
        if chunks > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no chunk was made");
}

#[tokio::test]
async fn verify_tells_what_is_damaged_and_what_to_do() {
    let brooklet = Brooklet::with(&[SMALL]).await;
    for part in 0..3 {
        uploaded(&brooklet, "esp", part * 500, 500).await;
    }
    let folder = brooklet.folder().to_owned();
    let url = tokio::task::spawn_blocking(move || crate::servers::database(&folder));
    if let Some(url) = url.await.unwrap() {
        let mut verify = command(brooklet.folder());
        let output = verify.env("BROOKLET__DATABASE__URL", &url).arg("verify").output().unwrap();
        let text = printed(&output);
        assert!(output.status.success(), "{}", told(&output));
        let expected = "1 devices, 1 sensors, 0 alarms, 1500 readings in rows, which can be read";
        assert!(text.starts_with(expected) && text.ends_with(": nothing is wrong"), "{text}");
        return;
    }
    chunked(&brooklet.database()).await;
    uploaded(&brooklet, "esp", 2_000, 7).await;
    let beside = run(brooklet.folder(), &["verify"]);
    assert!(beside.status.success(), "{} {}", printed(&beside), told(&beside));
    let text = printed(&beside);
    assert!(text.starts_with("1 devices, 1 sensors, 0 alarms, 1507 readings in "), "{text}");
    assert!(text.ends_with(": nothing is wrong"), "{text}");

    let connection = Connection::open(brooklet.database()).unwrap();
    let damage = "UPDATE reading_chunk SET data = substr(data, 1, 40) || x'FFFFFF' \
        || substr(data, 44) WHERE id = (SELECT min(id) FROM reading_chunk)";
    assert_eq!(connection.execute(damage, []).unwrap(), 1);
    drop(connection);
    let mut brooklet = brooklet;
    for _ in 0..2 {
        let output = run(brooklet.folder(), &["verify"]);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        let text = printed(&output);
        assert!(text.contains(" findings") || text.contains(": 1 finding"), "{text}");
        assert!(text.contains("esp/t (sensor 1): chunk "), "{text}");
        assert!(text.contains("restore a backup; or delete"), "{text}");
        // The same without a server.
        brooklet.may_log_errors();
        brooklet.stop().await;
    }
    // What it says helps.
    let mut brooklet = brooklet.restart().await;
    brooklet.may_log_errors();
    let day = "from=2026-09-21T00:00:00Z&to=2026-09-23T00:00:00Z";
    let path = format!("/api/data/series?sensor_id=1&resolution=1m&{day}");
    let answer = brooklet.request(Method::GET, &path, None).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert!(answer.text.contains("`brooklet verify` says where"), "{}", answer.text);
    let ordered = brooklet.request(Method::DELETE, "/api/data?sensor_id=1", None).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "done");
    let output = run(brooklet.folder(), &["verify"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn verify_makes_no_store() {
    let folder = TempDir::new().unwrap();
    let output = run(folder.path(), &["verify"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(told(&output), "brooklet: no store at ./data/brooklet.db; pass --config");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

const CLOSED: [(&str, &str); 3] =
    [("MQTT__ALLOW_ANONYMOUS", "false"), ("HTTP__ALLOW_ANONYMOUS", "false"), SMALL];
const PASSWORD: &str = "a fine long password";

async fn device(brooklet: &Brooklet, secret: &str) -> Client {
    let connect = login(5, "boiler", Some("boiler"), Some(secret));
    Client::open(brooklet.mqtt, connect, true).await.0
}

async fn say(client: &mut Client, seconds: i64, values: &[f64]) {
    let rows = values.iter().enumerate().map(|(at, value)| {
        let seconds = 1_790_000_000 + seconds + at as i64;
        json!({"ts": seconds, "values": {"water": value}})
    });
    let body = Value::Array(rows.collect()).to_string();
    assert_eq!(client.publish("devices/boiler/data", body).await.reason & 0x80, 0);
}

/// What is stored, as whoever has the key sees it.
async fn seen(brooklet: &Brooklet, key: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for path in [
        "/api/data/export?device_id=boiler&format=ndjson",
        "/api/alarms",
        "/api/alarm-rules",
        "/api/users",
        "/api/keys",
        "/api/devices/boiler/credentials",
        "/api/sensors",
    ] {
        let answer = ask(brooklet, key, Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        // When somebody was last there differs.
        let volatile = |key: &str| key.ends_with("used_at") || key.starts_with("last_");
        seen.push(match answer.body {
            Value::Null => answer.text,
            mut body => {
                for item in body["items"].as_array_mut().into_iter().flatten() {
                    item.as_object_mut().unwrap().retain(|key, _| !volatile(key));
                }
                body.to_string()
            }
        });
    }
    seen
}

async fn world() -> Option<(Brooklet, String, String)> {
    let (brooklet, key) = closed(&CLOSED).await;
    if !brooklet.database().exists() {
        return None; // The data is on a server.
    }
    let post = async |path: &str, body: Value| {
        let made = ask(&brooklet, &key, Method::POST, path, Some(body)).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text);
        made.body
    };
    post("/api/devices", json!({"device": "boiler"})).await;
    let secret = post("/api/devices/boiler/credentials", json!({})).await;
    let secret = secret["secret"].as_str().unwrap().to_owned();
    post("/api/users", json!({"name": "ann", "role": "viewer", "password": PASSWORD})).await;
    let level = json!({"severity": "warning", "condition": {"type": "above", "limit": 90}});
    let rule = json!({"name": "hot", "scope": {"sensors": ["water"]}, "levels": [level]});
    post("/api/alarm-rules", rule).await;
    Some((brooklet, key, secret))
}

#[tokio::test]
async fn a_backup_of_a_running_server_is_restored_elsewhere_as_it_was() {
    let Some((brooklet, key, secret)) = world().await else { return };
    let mut boiler = device(&brooklet, &secret).await;
    let warm: Vec<f64> = (0..500).map(|at| 20.0 + f64::from(at) / 10.0).collect();
    for part in 0..3 {
        say(&mut boiler, part * 500, &warm).await;
    }
    chunked(&brooklet.database()).await;
    say(&mut boiler, 2_000, &[60.5, 95.0]).await;
    let expected = seen(&brooklet, &key).await;
    assert_eq!(expected[0].lines().count(), 1_502);
    assert!(expected[1].contains("\"hot\""), "{}", expected[1]);

    let made = run(brooklet.folder(), &["backup", "b.brooklet"]);
    assert!(made.status.success(), "{}", told(&made));
    let file = brooklet.folder().join("b.brooklet");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(brooklet.folder(), &["backup", "b.brooklet"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(told(&again).contains("b.brooklet is there already"), "{}", told(&again));
    say(&mut boiler, 3_000, &[97.0, 61.0]).await;
    assert_ne!(seen(&brooklet, &key).await, expected);

    let elsewhere = TempDir::new().unwrap();
    let given = file.to_str().unwrap();
    let checked = run(elsewhere.path(), &["restore", given, "--verify"]);
    let text = printed(&checked);
    assert!(checked.status.success(), "{text} {}", told(&checked));
    assert!(text.ends_with("nothing is wrong") && text.contains(" 1502 readings"), "{text}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    let restored = run(elsewhere.path(), &["restore", given]);
    assert!(restored.status.success(), "{}", told(&restored));
    let occupied = run(elsewhere.path(), &["restore", given]);
    assert!(told(&occupied).contains("is restored where nothing is"), "{}", told(&occupied));
    let copy = Brooklet::at(elsewhere, &CLOSED).await;
    assert_eq!(seen(&copy, &key).await, expected);
    let body = Some(json!({"username": "ann", "password": PASSWORD}));
    assert_eq!(copy.request(Method::POST, "/api/auth/login", body).await.status, 200);
    let mut boiler = device(&copy, &secret).await;
    say(&mut boiler, 4_000, &[61.0]).await;
    // What is there is replaced on request, and by what is stored when no server runs.
    let mut brooklet = brooklet;
    brooklet.stop().await;
    let stopped = run(brooklet.folder(), &["backup", "b.brooklet", "--force"]);
    assert!(stopped.status.success(), "{}", told(&stopped));
    let left = fs::read_dir(brooklet.folder()).unwrap().count();
    assert_eq!(left, 2, "the data and the backup");
    let checked = run(brooklet.folder(), &["restore", "b.brooklet", "--verify"]);
    assert!(printed(&checked).contains(" 1504 readings"), "{}", printed(&checked));
}

/// Batches of 150 readings each, counted when they are acknowledged.
pub(crate) async fn publish_until(
    brooklet: &Brooklet,
    is_over: &AtomicBool,
    acknowledged: &AtomicU64,
) {
    let mut client = brooklet.connect("esp").await;
    for at in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let rows = (0..50).map(|row| {
            let seconds = 1_790_000_000 + at * 50 + row;
            json!({"ts": seconds, "values": {"a": row, "b": at, "c": at * row}})
        });
        let body = Value::Array(rows.collect()).to_string();
        assert_eq!(client.publish("devices/esp/data", body).await.reason & 0x80, 0);
        acknowledged.fetch_add(150, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_backup_made_under_load_is_of_one_moment() {
    let brooklet = Brooklet::with(&[SMALL]).await;
    if !brooklet.database().exists() {
        return;
    }
    let is_over = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    let load = publish_until(&brooklet, &is_over, &acknowledged);
    let backups = async {
        for number in 0..4 {
            let (folder, file) = (brooklet.folder().to_owned(), format!("{number}.backup"));
            let before = acknowledged.load(Ordering::Relaxed);
            let made = tokio::task::spawn_blocking(move || {
                let made = run(&folder, &["backup", &file]);
                assert!(made.status.success(), "{}", told(&made));
                run(&folder, &["restore", "--verify", &file])
            });
            let checked = made.await.unwrap();
            let text = printed(&checked);
            assert!(checked.status.success(), "{text} {}", told(&checked));
            let words: Vec<_> = text.split(' ').collect();
            let at = words.iter().position(|word| *word == "readings").unwrap();
            let readings: u64 = words[at - 1].parse().unwrap();
            assert!(readings >= before, "{readings} of {before} acknowledged");
            assert_eq!(readings % 150, 0, "half a batch is in it: {text}");
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, backups);
}

#[tokio::test]
async fn the_server_makes_backups_on_request_and_keeps_so_many() {
    let (brooklet, key) = closed(&[("BACKUP__KEEP", "2")]).await;
    let list = async || {
        let listed = ask(&brooklet, &key, Method::GET, "/api/backups", None).await;
        assert_eq!(listed.status, 200, "{}", listed.text);
        listed.body["items"].as_array().unwrap().clone()
    };
    assert_eq!(list().await.len(), 0);
    let mut made = Vec::new();
    for _ in 0..3 {
        let ordered = ask(&brooklet, &key, Method::POST, "/api/backup", None).await;
        assert_eq!(ordered.status, 202, "{}", ordered.text);
        let location = ordered.headers["location"].to_str().unwrap().to_owned();
        let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
        let job = loop {
            assert!(std::time::Instant::now() < deadline, "the backup does not end");
            let job = ask(&brooklet, &key, Method::GET, &location, None).await.body;
            if job["finished_at"].is_string() {
                break job;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!((&job["state"], &job["kind"]), (&json!("done"), &json!("backup")), "{job}");
        made.push(job);
    }
    let kept = list().await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    for (kept, job) in kept.iter().zip(made.iter().rev()) {
        assert_eq!(kept["name"], job["subject"]);
        for name in ["bytes", "original_bytes", "sha256", "made_at"] {
            assert_eq!(kept[name], job["result"][name], "{name}");
        }
    }
    let series = "brooklet_backup_last_success_timestamp_seconds";
    let answer = ask(&brooklet, &key, Method::GET, "/metrics", None).await;
    let shown = answer.text.lines().find_map(|line| line.strip_prefix(series));
    assert!(shown.unwrap().trim().parse::<f64>().unwrap() > 1e9, "{shown:?}");
    // The job that has made it is in the backup, and is not taken up where that is restored.
    let file = brooklet.folder().join("data/backups").join(kept[0]["name"].as_str().unwrap());
    let elsewhere = TempDir::new().unwrap();
    let restored = run(elsewhere.path(), &["restore", file.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", told(&restored));
    if crate::servers::is_elsewhere() {
        return;
    }
    let copy = Brooklet::at(elsewhere, &[("HTTP__ALLOW_ANONYMOUS", "false")]).await;
    let job = format!("/api/jobs/{}", made[2]["id"]);
    let job = ask(&copy, &key, Method::GET, &job, None).await.body;
    assert_eq!(job["state"], "failed", "{job}");
    assert!(!copy.folder().join("data/backups").exists());
}

#[tokio::test]
async fn backups_are_made_by_schedule_and_failures_are_counted() {
    let variables = [("BACKUP__INTERVAL", "1s"), ("BACKUP__FOLDER", "kept"), ("BACKUP__KEEP", "1")];
    let mut brooklet = Brooklet::with(&variables).await;
    let has_one = |page: &Value| page["items"].as_array().unwrap().len() == 1;
    let first = brooklet.eventually("/api/backups", has_one).await;
    let has_another =
        |page: &Value| has_one(page) && page["items"][0]["name"] != first["items"][0]["name"];
    brooklet.eventually("/api/backups", has_another).await;
    assert!(brooklet.folder().join("data/kept").exists());
    brooklet.may_log_errors();
    if crate::servers::is_elsewhere() {
        return;
    }
    // What should be a folder is a file.
    let mut brooklet = brooklet.restart_with(&[("BACKUP__FOLDER", "brooklet.db")]).await;
    brooklet.may_log_errors();
    let ordered = brooklet.request(Method::POST, "/api/backup", None).await;
    let job = brooklet.ended(&ordered).await;
    assert_eq!(job["state"], "failed", "{job}");
    brooklet.until_metric("brooklet_backup_failures_total", 1.0).await;
}

#[tokio::test]
async fn what_is_no_whole_backup_is_not_restored() {
    let mut brooklet = Brooklet::start().await;
    if !brooklet.database().exists() {
        return;
    }
    uploaded(&brooklet, "esp", 0, 3).await;
    brooklet.stop().await;
    let folder = brooklet.folder();
    assert!(run(folder, &["backup", "whole"]).status.success());
    let whole = fs::read(folder.join("whole")).unwrap();
    let refused = |contents: &[u8], said: &str| {
        fs::write(folder.join("file"), contents).unwrap();
        let target = TempDir::new().unwrap();
        let file = folder.join("file");
        for arguments in [&["restore"][..], &["restore", "--verify"]] {
            let mut arguments = arguments.to_vec();
            arguments.push(file.to_str().unwrap());
            let output = run(target.path(), &arguments);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(told(&output).contains(said), "{said}: {}", told(&output));
            assert!(!target.path().join("data/brooklet.db").exists(), "{said}");
            assert!(!target.path().join("data/access-keys.json").exists(), "{said}");
        }
    };
    refused(b"nothing", "no backup of Brooklet");
    refused(&whole[..whole.len() - 1], "the backup is damaged");
    refused(&whole[..whole.len() / 2], "the backup is damaged");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    refused(&changed, "the backup is damaged");
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    refused(&changed, "its checksum is another");
    let database = Connection::open(brooklet.database()).unwrap();
    let row = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)";
    database.execute(row, []).unwrap();
    drop(database);
    let output = run(folder, &["backup", "newer"]);
    assert!(told(&output).contains("m9999_future"), "{}", told(&output));
    assert!(!folder.join("newer").exists() && !folder.join("newer.copy").exists());
}
