//! Limits of the HTTP surface: time, connections, requests at a time and in a second; the stop.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    harness::{Brooklet, PATIENCE},
    raw_http::{Answer, Raw},
};

const UPLOAD: &str = "POST /api/devices/data/upload?device_id=d HTTP/1.1\r\nHost: localhost\r\n\
                      Content-Type: application/json\r\nContent-Length: 23\r\n\r\n";
const BODY: &str = "{\"device_id\":\"d\",\"t\":1}";
const AWAY: &str = "brooklet_http_connections_turned_away_total{reason=\"address\"}";

/// An upload whose end is still to come; the server has seen its head.
async fn half_an_upload(brooklet: &Brooklet, from: &str) -> Raw {
    let mut raw = Raw::open_from(from, brooklet.http).await;
    let head = UPLOAD.replace("Host: localhost", "Host: localhost\r\nExpect: 100-continue");
    // It asks for the body once the request is being answered.
    assert_eq!(raw.ask(&head).await.unwrap().status, 100);
    raw.send(&BODY[..5]).await;
    raw
}

async fn the_rest(mut raw: Raw) -> Answer {
    raw.send(&BODY[5..]).await;
    raw.answer().await.unwrap()
}

#[tokio::test]
async fn slow_heads_are_cut_and_hold_up_nobody() {
    let brooklet = Brooklet::with(&[("HTTP__HEADER_TIMEOUT", "\"1s\"")]).await;
    let mut slow = Vec::new();
    for start in ["", "G", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        for is_kept_alive in [false, true] {
            let mut raw = Raw::open(brooklet.http).await;
            if is_kept_alive && !start.is_empty() {
                assert_eq!(raw.get("/health").await.status, 200);
            } else if is_kept_alive {
                continue;
            }
            raw.send(start).await;
            slow.push(raw);
        }
    }
    // One that drips gets no more time for it.
    let mut drips = Raw::open(brooklet.http).await;
    let deadline = Instant::now() + PATIENCE;
    while drips.send("G").await {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(brooklet.get("/api/devices").await["items"], serde_json::json!([]));
    for mut raw in slow {
        assert!(raw.is_closed().await);
    }
    // One that waits between requests is no slow head.
    let mut idle = Raw::open(brooklet.http).await;
    for _ in 0..2 {
        assert_eq!(idle.get("/health").await.status, 200);
        // Longer than a head may take.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

#[tokio::test]
async fn slow_bodies_are_answered_503() {
    let brooklet = Brooklet::with(&[("HTTP__REQUEST_TIMEOUT", "\"1s\"")]).await;
    let mut raw = half_an_upload(&brooklet, "127.0.0.1").await;
    assert_eq!(raw.answer().await.unwrap().status, 503);
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn thousands_of_idle_connections_cost_little() {
    let variables = [("HTTP__MAX_CONNECTIONS", "4000"), ("HTTP__MAX_CONNECTIONS_PER_ADDRESS", "0")];
    let brooklet = Brooklet::with(&variables).await;
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", brooklet.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
        line.trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    brooklet.get("/api/devices").await;
    let before = memory();
    let mut idle = Vec::new();
    for n in 0..2000 {
        let mut raw = Raw::open(brooklet.http).await;
        if n % 2 == 0 {
            raw.send("GET /api/devices HTTP/1.1\r\nX-").await;
        }
        idle.push(raw);
    }
    brooklet.get("/api/devices").await;
    let grown = memory().saturating_sub(before);
    assert!(grown < 60_000, "{grown} kB for 2,000 connections");
    drop(idle);
    brooklet.get("/api/devices").await;
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let variables = [("HTTP__MAX_CONNECTIONS_PER_ADDRESS", "3")];
    let brooklet = Brooklet::with(&variables).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::open_from("127.0.0.2", brooklet.http).await;
        assert_eq!(raw.get("/health").await.status, 200);
        held.push(raw);
    }
    assert!(Raw::open_from("127.0.0.2", brooklet.http).await.is_closed().await);
    brooklet.until_metric(AWAY, 1.0).await;
    drop(held.pop());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut raw = Raw::open_from("127.0.0.2", brooklet.http).await;
        if raw.ask("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.is_some() {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    held.clear();

    let variables = [variables[0], ("HTTP__TRUSTED_PROXIES", "[\"127.0.0.2\"]")];
    let brooklet = brooklet.restart_with(&variables).await;
    for _ in 0..10 {
        let mut raw = Raw::open_from("127.0.0.2", brooklet.http).await;
        assert_eq!(raw.get("/health").await.status, 200);
        held.push(raw);
    }
    assert_eq!(brooklet.metric(AWAY).await, 0.0);
}

#[tokio::test]
async fn connections_that_do_nothing_make_room() {
    let variables = [("HTTP__MAX_CONNECTIONS", "3"), ("HTTP__HEADER_TIMEOUT", "1h")];
    let brooklet = Brooklet::with(&variables).await;
    let running = half_an_upload(&brooklet, "127.0.0.1").await;
    let mut idle = Raw::open(brooklet.http).await;
    assert_eq!(idle.get("/health").await.status, 200);
    let mut half_open = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::open(brooklet.http).await;
        raw.send("GET /health HTTP/1.1\r\nX-").await;
        half_open.push(raw);
    }
    let mut served = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::open(brooklet.http).await;
        assert_eq!(raw.get("/api/devices").await.status, 200);
        served.push(raw);
    }
    assert!(idle.is_closed().await);
    for raw in &mut half_open {
        assert!(raw.is_closed().await);
    }
    // Who is being answered stays.
    assert_eq!(the_rest(running).await.status, 200);
}

#[tokio::test]
async fn one_request_too_many_at_a_time_is_answered_503() {
    let variables = [("HTTP__MAX_REQUESTS", "2"), ("DATABASE__BUSY_TIMEOUT", "20s")];
    let mut brooklet = Brooklet::with(&variables).await;
    brooklet.may_log_errors();
    let (one, two) = ("127.0.0.2", "127.0.0.3");
    // What waits for the store runs.
    let lock = rusqlite::Connection::open(brooklet.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut running = Vec::new();
    for from in [one, two] {
        running.push(waits_for_the_store(&brooklet, from).await);
    }
    let refused = Raw::open(brooklet.http).await.get("/api/devices").await;
    assert_eq!((refused.status, refused.header("retry-after").as_str()), (503, "1"));
    assert_eq!(refused.header("content-type"), "application/problem+json");
    for path in ["/health/live", "/health/ready"] {
        assert!(Raw::open(brooklet.http).await.get(path).await.header("retry-after") != "1");
    }
    drop(lock);
    for mut raw in running {
        assert_eq!(raw.answer().await.unwrap().status, 200);
    }
    for from in [one, two] {
        assert_eq!(Raw::open_from(from, brooklet.http).await.get("/api/devices").await.status, 200);
    }
    let series = "brooklet_http_requests_refused_total{reason=\"busy\"}";
    assert!(brooklet.metric(series).await >= 3.0);
}

/// An upload that runs until the store is free, from an address that may have one that runs.
async fn waits_for_the_store(brooklet: &Brooklet, from: &str) -> Raw {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut raw = Raw::open_from(from, brooklet.http).await;
        raw.send(format!("{UPLOAD}{BODY}")).await;
        // Another of the address would take its place if it came first.
        if tokio::time::timeout(Duration::from_millis(500), raw.answer()).await.is_err() {
            let other = Raw::open_from(from, brooklet.http).await.get("/api/devices").await;
            if other.status == 503 {
                return raw;
            }
        }
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn uploads_that_nobody_waits_for_make_room_and_what_is_carried_out_counts() {
    let variables = [
        ("HTTP__MAX_REQUESTS", "2"),
        ("HTTP__REQUEST_TIMEOUT", "\"1s\""),
        ("DATABASE__BUSY_TIMEOUT", "20s"),
    ];
    let mut brooklet = Brooklet::with(&variables).await;
    brooklet.may_log_errors();
    let upload = async |from: &str, key: Option<&str>| {
        let key = key.map(|key| format!("\r\nIdempotency-Key: {key}")).unwrap_or_default();
        let head = UPLOAD.replace("\r\nHost: localhost", &format!("\r\nHost: localhost{key}"));
        let mut raw = Raw::open_from(from, brooklet.http).await;
        raw.ask(&format!("{head}{BODY}")).await.unwrap()
    };
    let lock = rusqlite::Connection::open(brooklet.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (one, two) = ("127.0.0.2", "127.0.0.3");
    for from in [one, two] {
        let given_up = upload(from, None).await;
        assert!(given_up.status == 503 && given_up.text().contains("too long"), "{given_up:?}");
    }
    for from in [one, two] {
        assert_eq!(Raw::open_from(from, brooklet.http).await.get("/api/devices").await.status, 200);
    }
    // One with a key is done to its end, and has its place until then.
    for (from, key) in [(one, "a"), (two, "b")] {
        assert_eq!(upload(from, Some(key)).await.status, 503);
    }
    let refused = Raw::open(brooklet.http).await.get("/api/devices").await;
    assert_eq!((refused.status, refused.header("retry-after").as_str()), (503, "1"));
    // Only who asks for health is let in.
    let post = "POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(Raw::open(brooklet.http).await.ask(post).await.unwrap().status, 503);
    drop(lock);
    let deadline = Instant::now() + PATIENCE;
    while Raw::open(brooklet.http).await.get("/api/devices").await.status != 200 {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn slow_bodies_keep_nobody_from_being_served() {
    let brooklet = Brooklet::with(&[("HTTP__MAX_REQUESTS", "2")]).await;
    let (one, two) = ("127.0.0.2", "127.0.0.3");
    let slow = [half_an_upload(&brooklet, one).await, half_an_upload(&brooklet, two).await];
    // One address sends so many at a time; what has no body is served.
    let mut refused = Raw::open_from(one, brooklet.http).await;
    assert_eq!(refused.ask(&format!("{UPLOAD}{BODY}")).await.unwrap().status, 503);
    for from in [one, two] {
        assert_eq!(Raw::open_from(from, brooklet.http).await.get("/api/devices").await.status, 200);
    }
    let mut other = Raw::open(brooklet.http).await;
    assert_eq!(other.ask(&format!("{UPLOAD}{BODY}")).await.unwrap().status, 200);
    for raw in slow {
        assert_eq!(the_rest(raw).await.status, 200);
    }
}

#[tokio::test]
async fn who_is_not_known_sends_little() {
    let (brooklet, _) = crate::people::closed(&[]).await;
    for (length, status) in [(15_000, 401), (17_000, 413)] {
        let body = serde_json::json!({"username": "a", "password": "x".repeat(length)});
        let answer = brooklet.request(reqwest::Method::POST, "/api/auth/login", Some(body)).await;
        assert_eq!(answer.status, status, "{length}: {}", answer.text);
    }
}

#[tokio::test]
async fn each_caller_has_so_many_requests_in_a_second() {
    let keys = r#"[{ name = "a", key = "aaaaaaaaaaaaaaaaaaaa" }, { name = "b", key = "bbbbbbbbbbbbbbbbbbbb" }]"#;
    let variables = [("HTTP__API_KEYS", keys), ("HTTP__MAX_REQUESTS_PER_SECOND", "1")];
    let brooklet = Brooklet::with(&variables).await;
    let mut raw = Raw::open_from("127.0.0.2", brooklet.http).await;
    let asked = |key: &str| {
        format!(
            "GET /api/devices HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\n\r\n",
            key.repeat(20)
        )
    };
    let mut refused = None;
    for _ in 0..100 {
        let answer = raw.ask(&asked("a")).await.unwrap();
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.status, 429, "{}", refused.head);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["title"], "Too Many Requests");
    assert_eq!(raw.ask(&asked("b")).await.unwrap().status, 200);
    for _ in 0..10 {
        assert_eq!(raw.get("/health").await.status, 200);
    }
    // As long as it was told to wait.
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(raw.ask(&asked("a")).await.unwrap().status, 200);
    // Who guesses is counted by address.
    let mut guesses = Raw::open_from("127.0.0.3", brooklet.http).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.push(guesses.ask(&asked("c")).await.unwrap().status);
    }
    assert_eq!(seen.first(), Some(&401));
    assert!(seen.contains(&429), "{seen:?}");
}

#[tokio::test]
async fn requests_that_run_at_the_stop_are_answered() {
    let mut brooklet = Brooklet::start().await;
    let address = brooklet.http;
    let mut raw = Raw::open(address).await;
    let rule = r#"{"name":"a","sensor":"b","when":{"above":1}}"#;
    let head = format!(
        "POST /api/alarm-rules/validate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        rule.len()
    );
    assert_eq!(raw.ask(&head).await.unwrap().status, 100);
    let mut idle = Raw::open(address).await;
    assert_eq!(idle.get("/health").await.status, 200);
    let answered = async {
        // Nobody is let in any more.
        assert!(idle.is_closed().await);
        raw.send(rule).await;
        let answer = raw.answer().await.unwrap();
        assert!(matches!(answer.status, 200 | 422), "{}", answer.text());
        assert!(raw.is_closed().await);
    };
    tokio::join!(brooklet.stop(), answered);
}
