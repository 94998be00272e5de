//! `Idempotency-Key`: a repeated POST is answered as the first was, and done once.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::json;

use crate::harness::Brooklet;

const KEY: (&str, &str) = ("Idempotency-Key", "4f5a-1");

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer() {
    let brooklet = Brooklet::start().await;
    let body = Some(json!({"device": "d", "name": "Boiler"}));
    let path = "/api/devices";
    let first = brooklet.request_with(Method::POST, path, body.clone(), &[KEY]).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert!(first.headers.get("idempotency-replayed").is_none());
    let brooklet = brooklet.restart().await;
    let again = brooklet.request_with(Method::POST, path, body.clone(), &[KEY]).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    let other = Some(json!({"device": "e"}));
    let refused = brooklet.request_with(Method::POST, path, other.clone(), &[KEY]).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let elsewhere = brooklet.request_with(Method::POST, "/api/gateways", other, &[KEY]).await;
    assert_eq!(elsewhere.status, 201, "another path is another request: {}", elsewhere.text);
    let without = brooklet.request(Method::POST, path, body.clone()).await;
    assert_eq!(without.status, 409);
    let empty = [("Idempotency-Key", "")];
    assert_eq!(brooklet.request_with(Method::POST, path, body, &empty).await.status, 400);
}

#[tokio::test]
async fn what_was_refused_stays_refused_under_its_key() {
    let brooklet = Brooklet::start().await;
    let body = Some(json!({"device": "d", "name": "t"}));
    let path = "/api/sensors";
    let first = brooklet.request_with(Method::POST, path, body.clone(), &[KEY]).await;
    assert_eq!(first.status, 422, "{}", first.text);
    let made = brooklet.request(Method::POST, "/api/devices", Some(json!({"device": "d"}))).await;
    assert_eq!(made.status, 201);
    let again = brooklet.request_with(Method::POST, path, body.clone(), &[KEY]).await;
    assert_eq!((again.status, &again.body["errors"]), (first.status, &first.body["errors"]));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let fresh = [("Idempotency-Key", "4f5a-2")];
    assert_eq!(brooklet.request_with(Method::POST, path, body, &fresh).await.status, 201);
}

#[tokio::test]
async fn requests_at_the_same_time_are_done_once() {
    let brooklet = Brooklet::start().await;
    // Without a time of its own each upload would be a reading.
    let body = json!({"device_id": "d", "t": 1});
    let uploads = (0..8).map(|_| {
        let path = "/api/devices/data/upload";
        brooklet.request_with(Method::POST, path, Some(body.clone()), &[KEY])
    });
    let answers = futures_util::future::join_all(uploads).await;
    assert!(answers.iter().all(|answer| [200, 409].contains(&answer.status.as_u16())));
    assert!(answers.iter().any(|answer| answer.status == 200));
    let history = brooklet.get("/api/data/history?device_id=d").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_is_imported_once() {
    let brooklet = Brooklet::start().await;
    let headers = [KEY, ("Content-Type", "text/csv")];
    let path = "/api/data/import";
    let file = "device,sensor,ts,value\nd,a,1700000000,1\n";
    let first = brooklet.send(Method::POST, path, file, &headers).await;
    assert_eq!(first.status, 202, "{}", first.text);
    brooklet.ended(&first).await;
    let again = brooklet.send(Method::POST, path, file, &headers).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["location"], first.headers["location"]);
    let other = "device,sensor,ts,value\nd,a,1700000001,1\n";
    assert_eq!(brooklet.send(Method::POST, path, other, &headers).await.status, 422);
    assert_eq!(brooklet.get("/api/jobs").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn packed_bodies_are_unpacked_within_the_limit() {
    let brooklet = Brooklet::start().await;
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let packed = |text: &str| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let path = "/api/devices/data/upload";
    let body = packed(r#"{"device_id": "d", "t": 1, "h": 2, "x y": 3}"#);
    let stored = brooklet.send(Method::POST, path, body, &headers).await;
    assert_eq!(stored.status, 200, "{}", stored.text);
    let results: Vec<_> = stored.body["readings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reading| (reading["sensor"].as_str().unwrap(), reading["result"].as_str().unwrap()))
        .collect();
    assert_eq!(results, [("t", "stored"), ("h", "stored"), ("x y", "refused")], "{}", stored.text);
    let bomb = packed(&format!("{{\"device_id\": \"d\", \"t\": {}1}}", " ".repeat(3_000_000)));
    assert_eq!(brooklet.send(Method::POST, path, bomb, &headers).await.status, 413);
    assert_eq!(brooklet.send(Method::POST, path, "no gzip", &headers).await.status, 400);
    let other = [("Content-Type", "application/json"), ("Content-Encoding", "br")];
    assert_eq!(brooklet.send(Method::POST, path, "{}", &other).await.status, 415);
}

#[tokio::test]
async fn a_request_is_carried_out_though_its_sender_goes_away() {
    use tokio::io::AsyncWriteExt;

    let brooklet = Brooklet::start().await;
    for n in 0..20 {
        let (body, key) = (json!({"device": format!("d{n}")}), format!("gone-{n}"));
        let text = body.to_string();
        let request = format!(
            "POST /api/devices HTTP/1.1\r\nHost: brooklet\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let mut socket = tokio::net::TcpStream::connect(brooklet.http).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        drop(socket);
        let headers = [("Idempotency-Key", key.as_str())];
        let again = loop {
            let path = "/api/devices";
            let again =
                brooklet.request_with(Method::POST, path, Some(body.clone()), &headers).await;
            if !again.text.contains("under way") {
                break again;
            }
        };
        assert_eq!(again.status, 201, "{}", again.text);
    }
    let devices = brooklet.get("/api/devices").await;
    assert_eq!(devices["items"].as_array().unwrap().len(), 20);
}

fn kept(brooklet: &Brooklet) -> i64 {
    let database = rusqlite::Connection::open(brooklet.database()).unwrap();
    database.query_row("SELECT count(*) FROM http_answer", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn nothing_is_kept_of_what_is_no_operation_or_of_those_who_are_not_known() {
    let keys = r#"[{ name = "a", key = "a-key-that-nobody-guesses" }]"#;
    let variables = [("HTTP__API_KEYS", keys), ("HTTP__ALLOW_ANONYMOUS", "false")];
    let brooklet = Brooklet::with(&variables).await;
    let known = ("X-API-Key", "a-key-that-nobody-guesses");
    for path in ["/x", "/health", "/api/health", "/metrics", "/api/nothing"] {
        for headers in [&[KEY][..], &[KEY, known]] {
            let answer = brooklet.request_with(Method::POST, path, None, headers).await;
            assert!([401, 404, 405].contains(&answer.status.as_u16()), "{path}: {}", answer.text);
        }
    }
    assert_eq!(kept(&brooklet), 0);
    let body = Some(json!({"device": "d"}));
    let path = "/api/devices";
    let made = brooklet.request_with(Method::POST, path, body, &[KEY, known]).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(kept(&brooklet), 1);
}

#[tokio::test]
async fn an_answer_too_long_to_be_kept_is_given() {
    let brooklet = Brooklet::start().await;
    let readings: Vec<_> = (0..9_900_i64)
        .map(|n| json!({"ts": 1_766_125_800_000 + n, "values": {"temperature": n}}))
        .collect();
    let body = json!(readings);
    let path = "/api/devices/data/upload";
    let headers = [KEY, ("X-Device-ID", "d")];
    let stored = brooklet.request_with(Method::POST, path, Some(body), &headers).await;
    assert_eq!((stored.status.as_u16(), stored.body["accepted"].as_u64()), (200, Some(9_900)));
    assert!(stored.text.len() > 1 << 20, "{}", stored.text.len());
    assert_eq!(kept(&brooklet), 0);
}
