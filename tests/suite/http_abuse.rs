//! Requests that no honest client sends: nothing let in, nothing down, one line a request in the log.

use serde_json::Value;

use crate::{harness::Brooklet, people::closed, raw_http::Raw};

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let brooklet = Brooklet::start().await;
    let start = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    for flood in [
        format!("X-Large: {}\r\n\r\n", "y".repeat(100_000)),
        format!("{}\r\n", "X-Many: y\r\n".repeat(500)),
        "X-Endless: y\r\n".repeat(50_000),
    ] {
        let mut raw = Raw::open(brooklet.http).await;
        raw.send(format!("{start}{flood}")).await;
        let answer = raw.answer().await;
        assert!(answer.is_none_or(|answer| answer.status == 431));
    }
    let mut raw = Raw::open(brooklet.http).await;
    assert_eq!(
        raw.ask(&format!("{start}{}\r\n", "X-A: y\r\n".repeat(200))).await.unwrap().status,
        431
    );
    let mut raw = Raw::open(brooklet.http).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "y".repeat(70_000));
    raw.send(long).await;
    assert!(raw.answer().await.is_none_or(|answer| matches!(answer.status, 414 | 431)));
    assert_eq!(Raw::open(brooklet.http).await.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_request_ends_where_everybody_says_it_ends() {
    let brooklet = Brooklet::start().await;
    let post = "POST /api/devices/data/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let inner = "GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    for (what, request) in [
        ("two lengths", format!("{post}Content-Length: 2\r\nContent-Length: 5\r\n\r\n{{}}{inner}")),
        ("a list", format!("{post}Content-Length: 2, 5\r\n\r\n{{}}{inner}")),
        ("signs", format!("{post}Content-Length: +2\r\n\r\n{{}}{inner}")),
        ("not chunked", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n{inner}")),
        ("a space before the colon", format!("{post}Content-Length : 2\r\n\r\n{{}}{inner}")),
        ("a folded line", format!("{post}X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{{}}{inner}")),
        ("a chunk's size", format!("{post}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{inner}")),
        (
            "1.0",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}")
                .replace("1.1\r\nHost: localhost", "1.0\r\nHost: localhost"),
        ),
    ] {
        let mut raw = Raw::open(brooklet.http).await;
        raw.send(&request).await;
        let all = raw.rest().await;
        assert!(
            all.starts_with("HTTP/1.1 400") || all.starts_with("HTTP/1.0 400"),
            "{what}: {all}"
        );
        assert_eq!(all.matches("HTTP/1.").count(), 1, "{what}: {all}");
    }
    // Both a length and chunks: the chunks count, and nothing that follows is a request.
    for both in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let mut raw = Raw::open(brooklet.http).await;
        raw.send(format!("{post}{both}\r\n0\r\n\r\n{inner}")).await;
        let all = raw.rest().await;
        assert_eq!(all.matches("HTTP/1.").count(), 1, "{all}");
        assert!(!all.contains("uptime"), "{all}");
    }
}

#[tokio::test]
async fn tricks_with_paths_open_nothing() {
    let more = [("HTTP__OPEN_DOCS", "false"), ("HTTP__OPEN_METRICS", "false")];
    let (brooklet, _) = closed(&more).await;
    for path in [
        "/api/devices",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/metrics/",
        "/docs/",
        "/api/../metrics",
        "/health/../metrics",
        "/health/../api/devices",
        "/./metrics",
        "//metrics",
        "//api/devices",
        "/api//devices",
        "/health/%2e%2e/metrics",
        "/%2e%2e/metrics",
        "/%2fmetrics",
        "/%6detrics",
        "/m%65trics",
        "/%61pi/devices",
        "/API/devices",
        "/Metrics",
        "/api%2fdevices",
        "/api/health/../devices",
        "/api/health/%2e%2e/devices",
        "/api/health;/devices",
        "/api/health/devices",
        "/api/health%00/devices",
        "/api/auth/login/../../devices",
        "/metrics%00",
        "/metrics;x",
        "/metrics?",
        "/metrics#x",
        "\\metrics",
        "/..%5cmetrics",
        "/api/devices?%00",
        "http://x/metrics",
        "http://x//api/devices",
        "http://x/api/devices",
        "*",
        "",
        &format!("/api/{}", "a/".repeat(5000)),
        &format!("/api/devices/{}", "%61".repeat(5000)),
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "get", "DELETE"] {
            let mut raw = Raw::open(brooklet.http).await;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\
                 X-Original-URL: /health\r\nX-Rewrite-URL: /health\r\nX-HTTP-Method-Override: GET\r\n\r\n"
            );
            raw.send(&request).await;
            let all = raw.rest().await;
            let status = all.split(' ').nth(1).unwrap_or("none");
            let is_shut = ["400", "401", "404", "405", "none"].contains(&status)
                || (method == "OPTIONS" && status == "204");
            assert!(is_shut, "{method} {path}: {all}");
            assert!(!all.contains("brooklet_") && !all.contains("\"items\""), "{method} {path}");
        }
    }
    assert_eq!(Raw::open(brooklet.http).await.get("/health").await.status, 200);
}

#[tokio::test]
async fn nothing_that_is_sent_makes_a_line_of_the_log() {
    let brooklet = Brooklet::with(&[("LOG__HTTP_ACCESS", "true")]).await;
    let forged = "{\"level\":\"INFO\",\"message\":\"forged\"}";
    for request in [
        format!("GET /a%0d%0a{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "forged"),
        format!("GET /a\r\n{forged} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /a\n{forged}\n HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "GET /a HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\rb\r\n\r\n".to_owned(),
        format!("GET /a HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {forged}\r\n\r\n"),
        format!(
            "GET /a HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {forged}\r\nUser-Agent: {forged}\r\n\r\n"
        ),
        "GET /\x1b[31mred HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        format!("GET /long/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "y".repeat(30_000)),
        {
            let body = r#"{"username":"a\r\nforged","password":"a\u0000b"}"#;
            let head = "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
        },
    ] {
        let mut raw = Raw::open(brooklet.http).await;
        raw.send(&request).await;
        raw.answer().await;
    }
    let last = Raw::open(brooklet.http).await.get("/last").await;
    assert_eq!(last.status, 404);
    brooklet.logged(|line| line["path"] == "/last").await;
    for line in brooklet.log() {
        assert!(!matches!(line, Value::String(_)), "{line}");
        assert_ne!(line["message"], "forged", "{line}");
        assert!(line.to_string().len() < 2000, "{line}");
    }
}

#[tokio::test]
async fn sql_in_parameters_is_text() {
    let brooklet = Brooklet::start().await;
    for text in
        ["' OR 1=1 --", "1; DROP TABLE readings", "%' UNION SELECT * FROM users --", "\u{0}"]
    {
        for path in [
            "/api/data/latest?device_id=",
            "/api/devices?q=",
            "/api/devices/",
            "/api/quarantine?device_id=",
        ] {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let answer = Raw::open(brooklet.http).await.get(&format!("{path}{encoded}")).await;
            assert!(
                matches!(answer.status, 200 | 400 | 404 | 422),
                "{path}{text}: {}",
                answer.text()
            );
            if answer.status == 200 {
                let page: Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(page["items"], serde_json::json!([]), "{path}{text}");
            }
        }
    }
    assert_eq!(brooklet.get("/api/devices").await["items"], serde_json::json!([]));
}

#[tokio::test]
async fn pages_of_elsewhere_do_not_use_an_open_surface() {
    let brooklet = Brooklet::start().await;
    let own = format!("http://{}", brooklet.http);
    for (host, origin, is_let_in) in [
        ("127.0.0.1", None, true),
        ("localhost:8080", None, true),
        (&own[7..], Some(own.as_str()), true),
        ("127.0.0.1", Some("https://evil.example"), false),
        ("127.0.0.1", Some("null"), false),
        ("evil.example", Some("http://evil.example"), false),
        ("evil.example", None, false),
    ] {
        let mut raw = Raw::open(brooklet.http).await;
        let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
        let get = format!("GET /api/devices HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        assert_eq!(raw.ask(&get).await.unwrap().status == 200, is_let_in, "{host} {origin}");
        let post = format!(
            "POST /api/auth/rotate-signing-key HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: 0\r\n\r\n"
        );
        let status = raw.ask(&post).await.unwrap().status;
        assert_eq!(status != 403, is_let_in, "{host} {origin} {status}");
    }
    // Who has a key is who the key says, wherever the page is from.
    let (brooklet, key) = closed(&[]).await;
    let get = format!(
        "GET /api/devices HTTP/1.1\r\nHost: broker.example\r\nOrigin: https://evil.example\r\nX-API-Key: {key}\r\n\r\n"
    );
    assert_eq!(Raw::open(brooklet.http).await.ask(&get).await.unwrap().status, 200);
}
