//! Deletions, exports and imports: whole, in part, called off, and across a restart.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Brooklet, Response};

const CSV: (&str, &str) = ("Content-Type", "text/csv");
const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");
const START: i64 = 1_700_000_000;

async fn with_readings(count: i64) -> Brooklet {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let batch: Vec<Value> =
        (0..count).map(|n| json!({"ts": START + n * 60, "values": {"a": n, "b": -n}})).collect();
    device.publish("devices/d/data", Value::Array(batch).to_string()).await;
    brooklet
}

async fn import(brooklet: &Brooklet, query: &str, body: String, kind: (&str, &str)) -> Response {
    let path = format!("/api/data/import?{query}");
    brooklet.send(Method::POST, &path, body, &[kind]).await
}

async fn total(brooklet: &Brooklet, query: &str) -> i64 {
    let page = brooklet.get(&format!("/api/data/history?page=1&per_page=1&{query}")).await;
    page["total"].as_i64().unwrap()
}

fn lines(count: i64) -> String {
    let mut text = "device,sensor,event_time,value\n".to_owned();
    for n in 0..count {
        text.push_str(&format!("d{},s,{},{n}\n", n % 7, START + n));
    }
    text
}

#[tokio::test]
async fn a_sensor_is_deleted_with_its_readings_and_may_come_again() {
    let brooklet = with_readings(50).await;
    let sensors = brooklet.get("/api/sensors?name=a").await;
    let path = format!("/api/sensors/{}", sensors["items"][0]["id"]);
    let ordered = brooklet.request(Method::DELETE, &path, None).await;
    let job = brooklet.ended(&ordered).await;
    assert_eq!((&job["state"], &job["result"]["readings"]), (&json!("done"), &json!(50)), "{job}");
    assert_eq!((&job["kind"], &job["subject"]), (&json!("delete_sensor"), &json!("d/a")));
    assert_eq!(brooklet.request(Method::GET, &path, None).await.status, 404);
    assert_eq!(total(&brooklet, "device_id=d").await, 50);
    let mut device = brooklet.connect("d").await;
    assert_eq!(device.publish("devices/d/data", r#"{"a": 1}"#).await.reason, 0);
    let again = brooklet.get("/api/sensors?name=a").await;
    assert_ne!(again["items"][0]["id"], sensors["items"][0]["id"]);
    assert_eq!(total(&brooklet, "sensor=a").await, 1);
}

#[tokio::test]
async fn readings_of_a_range_are_deleted_and_the_sensor_goes_on() {
    let brooklet = with_readings(100).await;
    let from = "2023-11-14T22:33:20Z"; // the 21st minute
    let path = format!("/api/data?device_id=d&sensor=a&from={from}");
    let ordered = brooklet.request(Method::DELETE, &path, None).await;
    let job = brooklet.ended(&ordered).await;
    assert_eq!((&job["state"], &job["result"]["readings"]), (&json!("done"), &json!(80)), "{job}");
    let latest = brooklet.latest("d").await;
    assert_eq!((latest[0].1, latest[1].1), (Some(19.0), Some(-99.0)));
    assert_eq!((total(&brooklet, "sensor=a").await, total(&brooklet, "sensor=b").await), (20, 100));
    for path in ["/api/data", "/api/data?sensor=a"] {
        assert_eq!(brooklet.request(Method::DELETE, path, None).await.status, 422);
    }
    let ordered = brooklet.request(Method::DELETE, "/api/data?device_id=d", None).await;
    assert_eq!(brooklet.ended(&ordered).await["result"]["readings"], 120);
    assert!(brooklet.latest("d").await.is_empty());
    let jobs = brooklet.get("/api/jobs?kind=delete_data&state=done&limit=1").await;
    assert_eq!(jobs["items"][0]["subject"], "d");
    assert!(jobs["next_cursor"].is_string());
    assert_eq!(brooklet.request(Method::GET, "/api/jobs?state=lost", None).await.status, 422);
}

#[tokio::test]
async fn what_is_exported_is_imported_elsewhere_unchanged() {
    let brooklet = with_readings(30).await;
    let mut device = brooklet.connect("d").await;
    let odd = r#"{"sensors": [{"sensor_name": "odd", "value": 1.5, "unit": "a,\"b",
        "timestamp": "2024-01-01T00:00:00.123456Z"}]}"#;
    assert_eq!(device.publish("devices/d/data", odd).await.reason, 0);
    for (format, kind) in [("csv", CSV), ("ndjson", NDJSON)] {
        let path = format!("/api/data/export?format={format}&device_id=d");
        let file = brooklet.request(Method::GET, &path, None).await;
        assert!(file.headers["content-type"].to_str().unwrap().starts_with(kind.1));
        assert!(file.headers["content-disposition"].to_str().unwrap().contains(format));
        let other = Brooklet::start().await;
        let job = other.ended(&import(&other, "", file.text.clone(), kind).await).await;
        assert_eq!(
            (&job["state"], &job["result"]["stored"]),
            (&json!("done"), &json!(61)),
            "{job}"
        );
        assert_eq!(
            other.request(Method::GET, &path, None).await.text.lines().count(),
            file.text.lines().count()
        );
        let values = async |brooklet: &Brooklet| {
            let page = brooklet.get("/api/data?device_id=d&limit=1000&order=asc").await;
            let items = page["items"].as_array().unwrap().iter();
            let fields = ["sensor", "event_time", "value", "unit", "quality"];
            items.map(|r| fields.map(|field| r[field].clone())).collect::<Vec<_>>()
        };
        let sorted = |mut rows: Vec<[Value; 5]>| {
            rows.sort_by_key(|row| format!("{row:?}"));
            rows
        };
        assert_eq!(sorted(values(&other).await), sorted(values(&brooklet).await), "{format}");
        let job = other.ended(&import(&other, "", file.text, kind).await).await;
        assert_eq!(
            (&job["result"]["stored"], &job["result"]["duplicates"]),
            (&json!(0), &json!(61))
        );
    }
}

#[tokio::test]
async fn an_export_of_many_pages_has_every_reading_once() {
    let brooklet = Brooklet::start().await;
    let job = brooklet.ended(&import(&brooklet, "", lines(12_000), CSV).await).await;
    assert_eq!(job["result"]["stored"], 12_000, "{job}");
    let file = brooklet.request(Method::GET, "/api/data/export?sensor=s", None).await.text;
    let mut values: Vec<i64> =
        file.lines().skip(1).map(|line| line.split(',').nth(5).unwrap().parse().unwrap()).collect();
    assert!(values.is_sorted(), "by event time");
    values.dedup();
    assert_eq!(values.len(), 12_000);
    let part = "/api/data/export?device_id=d1&device_id=d2&from=2023-11-14T22:13:20Z&to=2023-11-14T22:13:34Z";
    assert_eq!(brooklet.request(Method::GET, part, None).await.text.lines().count(), 1 + 4);
    let none = brooklet.request(Method::GET, "/api/data/export?device_id=none", None).await;
    assert_eq!(none.status, 404);
    let empty = brooklet.request(Method::GET, "/api/data/export?sensor=none", None).await;
    assert_eq!((empty.status.as_u16(), empty.text.lines().count()), (200, 1));
}

#[tokio::test]
async fn refused_lines_are_told_and_conflicts_go_as_asked() {
    let brooklet = with_readings(1).await;
    let file = format!(
        "event_time,value,device,sensor\n{START},5,d,a\nyesterday,1,d,a\n{},7,d,a\n{START},1,d d,a\n",
        START + 1
    );
    let job = brooklet.ended(&import(&brooklet, "", file.clone(), CSV).await).await;
    let result = &job["result"];
    assert_eq!(
        (&result["stored"], &result["refused"], &result["lines"]),
        (&json!(1), &json!(3), &json!(5)),
        "{job}"
    );
    let told: Vec<_> = result["errors"].as_array().unwrap().iter().map(|e| &e["line"]).collect();
    assert_eq!(told, [2, 3, 5], "{job}");
    assert_eq!(total(&brooklet, "sensor=a").await, 2);
    let job = brooklet.ended(&import(&brooklet, "conflicts=replace", file, CSV).await).await;
    assert_eq!((&job["result"]["replaced"], &job["result"]["duplicates"]), (&json!(1), &json!(1)));
    let history = brooklet.get("/api/data/history?sensor=a&order=asc").await;
    assert_eq!(
        (&history["items"][0]["value"], &history["items"][1]["value"]),
        (&json!(5.0), &json!(7.0))
    );
    let unknown =
        format!("device,sensor,ts,value\nd,new,{START},1\nnew,a,{START},1\nd,b,{},1\n", START + 5);
    let job = brooklet.ended(&import(&brooklet, "unknown=reject", unknown, CSV).await).await;
    assert_eq!(
        (&job["result"]["stored"], &job["result"]["refused"]),
        (&json!(1), &json!(2)),
        "{job}"
    );
    assert_eq!(brooklet.request(Method::GET, "/api/devices/new", None).await.status, 404);
    assert!(brooklet.get("/api/quarantine").await["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_packed_file_is_unpacked_and_a_broken_one_refused() {
    let brooklet = Brooklet::start().await;
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(lines(5_000).as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let headers = [CSV, ("Content-Encoding", "gzip")];
    let path = "/api/data/import";
    let ordered = brooklet.send(Method::POST, path, packed.clone(), &headers).await;
    assert_eq!(brooklet.ended(&ordered).await["result"]["stored"], 5_000);
    let cut = packed[..packed.len() / 2].to_vec();
    let ordered = brooklet.send(Method::POST, path, cut, &headers).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "failed");
    for (body, headers, status) in [
        ("no gzip", &headers[..], 422),
        ("device,value\n", &[CSV], 422),
        ("", &[CSV], 422),
        ("{}", &[("Content-Type", "application/json")], 415),
        ("x", &[CSV, ("Content-Encoding", "br")], 415),
    ] {
        let refused = brooklet.send(Method::POST, path, body, headers).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.text);
    }
    let left = std::fs::read_dir(brooklet.folder().join("data/imports")).unwrap().count();
    assert_eq!(left, 0, "files of jobs that have ended stay");
}

#[tokio::test]
async fn a_file_that_is_too_long_is_refused() {
    let brooklet = Brooklet::with(&[("HTTP__MAX_IMPORT", "20KiB")]).await;
    let refused = import(&brooklet, "", lines(2_000), CSV).await;
    assert_eq!(refused.status, 413, "{}", refused.text);
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(lines(2_000).as_bytes()).unwrap();
    let headers = [CSV, ("Content-Encoding", "gzip")];
    let body = packer.finish().unwrap();
    let ordered = brooklet.send(Method::POST, "/api/data/import", body, &headers).await;
    let job = brooklet.ended(&ordered).await;
    assert!(job["error"].as_str().unwrap().contains("20480 bytes"), "{job}");
}

#[tokio::test]
async fn a_line_without_end_neither_fills_the_memory_nor_holds_the_lane() {
    let packed = |head: &str, filler: u8, count: usize| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(head.as_bytes()).unwrap();
        packer.write_all(&vec![filler; count]).unwrap();
        packer.finish().unwrap()
    };
    let brooklet = Brooklet::with(&[("HTTP__MAX_IMPORT", "6MiB")]).await;
    let headers = [CSV, ("Content-Encoding", "gzip")];
    let order = async |body| brooklet.send(Method::POST, "/api/data/import", body, &headers).await;
    // Refused where the bound is passed, and not at its end, which is cut off.
    let mut endless = packed(&lines(1), b'x', 8 << 20);
    endless.truncate(endless.len() - 16);
    let job = brooklet.ended(&order(endless).await).await;
    assert!(job["error"].as_str().unwrap().contains("6291456 bytes"), "{job}");
    // Read over several steps, each of which can be the last.
    let job = brooklet.ended(&order(packed(&lines(3), b'x', 5 << 20)).await).await;
    assert_eq!((&job["state"], &job["result"]["refused"]), (&json!("done"), &json!(1)), "{job}");
    let job = brooklet.ended(&order(packed(&lines(3), b'\n', 5 << 20)).await).await;
    assert_eq!((&job["state"], &job["result"]["stored"]), (&json!("done"), &json!(0)), "{job}");
    let refused = order(packed("", b'x', 5 << 20)).await;
    assert_eq!(refused.status, 422, "a head without end: {}", refused.text);
}

#[tokio::test]
async fn a_dry_run_tells_and_stores_nothing() {
    let brooklet = with_readings(1).await;
    let file =
        format!("device,sensor,ts,value\nd,a,{START},0\nd,a,{},1\nnew,a,{START},1\n", START + 1);
    let job = brooklet.ended(&import(&brooklet, "dry_run=true", file, CSV).await).await;
    let result = &job["result"];
    assert_eq!((&result["stored"], &result["duplicates"]), (&json!(2), &json!(1)), "{job}");
    assert_eq!(total(&brooklet, "").await, 2);
    assert_eq!(brooklet.request(Method::GET, "/api/devices/new", None).await.status, 404);
    let message = json!({"device_id": "new", "t": 1, "u": [1], "timestamp": START});
    let path = "/api/ingest/dry-run";
    let told = brooklet.request(Method::POST, path, Some(message)).await;
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!((&told.body["status"], &told.body["accepted"]), (&json!("stored"), &json!(1)));
    assert_eq!(
        (&told.body["registers_device"], &told.body["registers_sensors"]),
        (&json!(true), &json!(["t"]))
    );
    let path = "/api/ingest/dry-run?topic=devices/d/data";
    let conflict = Some(json!([{"ts": START, "values": {"a": 0, "b": 9}}]));
    let told = brooklet.request(Method::POST, path, conflict).await;
    assert_eq!(told.body["status"], "partial", "{}", told.text);
    let results: Vec<_> = told.body["readings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["result"].as_str().unwrap())
        .collect();
    assert_eq!(results, ["duplicate", "refused"], "{}", told.text);
    let broken =
        brooklet.send(Method::POST, path, "{", &[("Content-Type", "application/json")]).await;
    assert_eq!((broken.status.as_u16(), &broken.body["status"]), (200, &json!("refused")));
    let elsewhere = "/api/ingest/dry-run?topic=other";
    assert_eq!(brooklet.request(Method::POST, elsewhere, Some(json!({}))).await.status, 422);
    assert_eq!(brooklet.request(Method::GET, "/api/devices/new", None).await.status, 404);
    assert!(brooklet.get("/api/quarantine").await["items"].as_array().unwrap().is_empty());
    assert_eq!(total(&brooklet, "").await, 2);
}

#[tokio::test]
async fn jobs_are_called_off() {
    let brooklet = Brooklet::start().await;
    let first = import(&brooklet, "", lines(400_000), CSV).await;
    let second = import(&brooklet, "", lines(10), CSV).await;
    let cancel = async |ordered: &Response| {
        let path = format!("/api/jobs/{}/cancel", ordered.body["id"]);
        brooklet.request(Method::POST, &path, None).await
    };
    let queued = cancel(&second).await;
    assert_eq!((queued.status.as_u16(), &queued.body["state"]), (200, &json!("cancelled")));
    brooklet.eventually(first.headers["location"].to_str().unwrap(), |job| job["done"] != 0).await;
    let running = cancel(&first).await;
    assert_eq!((running.status.as_u16(), &running.body["state"]), (200, &json!("cancelling")));
    let job = brooklet.ended(&first).await;
    assert_eq!(job["state"], "cancelled");
    assert!(job["done"].as_i64().unwrap() < job["total"].as_i64().unwrap(), "{job}");
    assert_eq!(cancel(&first).await.status, 409);
    assert_eq!(brooklet.request(Method::POST, "/api/jobs/99/cancel", None).await.status, 404);
    let third = import(&brooklet, "", lines(10), CSV).await;
    assert_eq!(brooklet.ended(&third).await["state"], "done", "the lane goes on");
    assert_eq!(std::fs::read_dir(brooklet.folder().join("data/imports")).unwrap().count(), 0);
}

#[tokio::test]
async fn jobs_go_on_after_kill_9() {
    let mut brooklet = Brooklet::start().await;
    let count = 60_000;
    let ordered = import(&brooklet, "", lines(count), CSV).await;
    let location = ordered.headers["location"].to_str().unwrap().to_owned();
    brooklet.eventually(&location, |job| job["done"] != 0).await;
    brooklet.kill();
    let mut brooklet = brooklet.restart().await;
    let is_done = |job: &Value| job["state"] == "done";
    let job = brooklet.eventually(&location, is_done).await;
    let sum =
        job["result"]["stored"].as_i64().unwrap() + job["result"]["duplicates"].as_i64().unwrap();
    assert_eq!((sum, &job["result"]["refused"]), (count, &json!(0)), "{job}");
    assert_eq!(total(&brooklet, "").await, count);
    let ordered = brooklet.request(Method::DELETE, "/api/devices/d3", None).await;
    let location = ordered.headers["location"].to_str().unwrap().to_owned();
    brooklet.kill();
    let brooklet = brooklet.restart().await;
    brooklet.eventually(&location, is_done).await;
    assert_eq!(brooklet.request(Method::GET, "/api/devices/d3", None).await.status, 404);
    assert_eq!(total(&brooklet, "").await, count - (count + 3) / 7);
}

/// Readings of 666 are what the store refuses.
fn poison(brooklet: &Brooklet, trigger: &str) {
    let connection = rusqlite::Connection::open(brooklet.database()).unwrap();
    let text = format!("CREATE TRIGGER poison {trigger} BEGIN SELECT RAISE(ABORT, 'poison'); END");
    connection.execute_batch(&text).unwrap();
}

#[tokio::test]
async fn what_the_store_refuses_ends_a_dry_run_and_is_told() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let mut brooklet = with_readings(1).await;
    brooklet.may_log_errors();
    poison(&brooklet, "BEFORE INSERT ON reading_journal WHEN NEW.rows LIKE '%,666.0]%'");
    let path = "/api/ingest/dry-run?topic=devices/d/data";
    let told = brooklet.request(Method::POST, path, Some(json!({"a": 666}))).await;
    assert_eq!((told.status.as_u16(), &told.body["status"]), (200, &json!("refused")));
    let file = format!("device,sensor,ts,value\nd,a,{},666\ne,a,{START},1\n", START + 1);
    for query in ["dry_run=true", ""] {
        let job = brooklet.ended(&import(&brooklet, query, file.clone(), CSV).await).await;
        let result = &job["result"];
        assert_eq!(
            (&job["state"], &result["stored"], &result["refused"]),
            (&json!("done"), &json!(1), &json!(1)),
            "{query}: {job}"
        );
        let error = result["errors"][0]["detail"].as_str().unwrap();
        assert!(error.contains("the store can not hold this message"), "{error}");
    }
}

#[tokio::test]
async fn a_deletion_whose_alarms_can_not_end_fails_and_says_so() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let mut brooklet = with_readings(1).await;
    brooklet.may_log_errors();
    let rule = json!({
        "name": "hot",
        "scope": {"sensors": ["a"]},
        "levels": [{"severity": "major", "condition": {"type": "above", "limit": 100}}],
    });
    let made = brooklet.request(Method::POST, "/api/alarm-rules", Some(rule)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mut device = brooklet.connect("d").await;
    assert_eq!(device.publish("devices/d/data", r#"{"a": 500}"#).await.reason, 0);
    let is_there = |page: &Value| !page["items"].as_array().unwrap().is_empty();
    brooklet.eventually("/api/alarms?active=true", is_there).await;
    poison(&brooklet, "BEFORE UPDATE ON alarm");
    let ordered = brooklet.request(Method::DELETE, "/api/devices/d", None).await;
    let job = brooklet.ended(&ordered).await;
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["error"].as_str().unwrap().contains("refused"), "{job}");
    // Its data are taken again, and it can be deleted once the store can hold it.
    assert_eq!(device.publish("devices/d/data", r#"{"b": 1}"#).await.reason, 0);
    let connection = rusqlite::Connection::open(brooklet.database()).unwrap();
    connection.execute_batch("DROP TRIGGER poison").unwrap();
    let ordered = brooklet.request(Method::DELETE, "/api/devices/d", None).await;
    assert_eq!(brooklet.ended(&ordered).await["state"], "done");
}

#[tokio::test]
async fn exports_and_deletions_have_a_bound() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let brooklet = Brooklet::start().await;
    // More than the sockets in between hold.
    let count = 80_000;
    brooklet.ended(&import(&brooklet, "", lines(count), CSV).await).await;
    let url = format!("http://{}/api/data/export", brooklet.http);
    let mut running = Vec::new();
    let refused = loop {
        let answer = reqwest::get(&url).await.unwrap();
        match answer.status().as_u16() {
            200 => running.push(answer),
            _ => break answer,
        }
        assert!(running.len() <= 4, "no bound");
    };
    assert_eq!((refused.status().as_u16(), running.len()), (429, 4));
    assert!(refused.headers().contains_key("retry-after"));
    let text = refused.text().await.unwrap();
    assert!(text.contains("this address receives 4 exports already"), "{text}");
    // One that is received in full gives its place back.
    let file = running.pop().unwrap().text().await.unwrap();
    assert_eq!(file.lines().count() as i64, count + 1);
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while reqwest::get(&url).await.unwrap().status() != 200 {
        assert!(std::time::Instant::now() < deadline);
    }
    drop(running);

    // While one deletion waits for the store, others queue up to a bound.
    let connection = rusqlite::Connection::open(brooklet.database()).unwrap();
    let row = "INSERT INTO job (kind, state, subject, total, done, parameters, checkpoint, result, created_at) \
               VALUES ('delete_data', 'queued', 'd', 1, 0, '{\"sensors\": []}', '{}', '{}', 0)";
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..100 {
        connection.execute(row, []).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    let path = "/api/data?device_id=d1";
    let refused = brooklet.request(Method::DELETE, path, None).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(
        refused.text.contains("100 deletions of readings are waiting already"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_packed_import_goes_on_after_kill_9() {
    let mut brooklet = Brooklet::start().await;
    let count = 60_000;
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(lines(count).as_bytes()).unwrap();
    let headers = [CSV, ("Content-Encoding", "gzip")];
    let body = packer.finish().unwrap();
    let ordered = brooklet.send(Method::POST, "/api/data/import", body, &headers).await;
    let location = ordered.headers["location"].to_str().unwrap().to_owned();
    brooklet.eventually(&location, |job| job["done"] != 0).await;
    brooklet.kill();
    let brooklet = brooklet.restart().await;
    let job = brooklet.eventually(&location, |job| job["state"] == "done").await;
    let result = &job["result"];
    let sum = result["stored"].as_i64().unwrap() + result["duplicates"].as_i64().unwrap();
    assert_eq!((sum, &result["refused"]), (count, &json!(0)), "{job}");
    assert_eq!(total(&brooklet, "").await, count);
}
