//! What every answer of the HTTP surface has: proxies, CORS, headers for browsers, request ids, gzip.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{Brooklet, Response},
    people::{ask, closed},
};

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

async fn get(brooklet: &Brooklet, path: &str, headers: &[(&str, &str)]) -> Response {
    brooklet.request_with(Method::GET, path, None, headers).await
}

#[tokio::test]
async fn only_trusted_proxies_say_where_a_request_comes_from() {
    for (trusted, forwarded, seen) in [
        ("[]", "203.0.113.7", "127.0.0.1"),
        ("[\"10.0.0.0/8\"]", "203.0.113.7", "127.0.0.1"),
        ("[\"127.0.0.1\", \"10.0.0.0/8\"]", "1.1.1.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("[\"127.0.0.1\"]", "1.1.1.1, nonsense", "127.0.0.1"),
    ] {
        let more = [("HTTP__TRUSTED_PROXIES", trusted), ("LOG__HTTP_ACCESS", "true")];
        let (brooklet, key) = closed(&more).await;
        let headers = [("X-API-Key", key.as_str()), ("X-Forwarded-For", forwarded)];
        let body = Some(json!({"device": "d"}));
        let made = brooklet.request_with(Method::POST, "/api/devices", body, &headers).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let audit =
            ask(&brooklet, &key, Method::GET, "/api/audit?resource=/api/devices", None).await;
        assert_eq!(audit.body["items"][0]["address"], seen, "{trusted}");
        let line = brooklet.logged(|line| line["method"] == "POST").await;
        assert!(line["peer"].as_str().unwrap().starts_with(&format!("{seen}:")), "{line}");
    }
}

#[tokio::test]
async fn pages_of_the_list_may_use_the_api_and_no_others() {
    let list = ("HTTP__ALLOW_ORIGINS", "[\"https://panel.example\"]");
    let (brooklet, key) = closed(&[list]).await;
    let asks = |origin: &'static str| {
        [
            ("Origin", origin),
            ("Access-Control-Request-Method", "PATCH"),
            ("Access-Control-Request-Headers", "x-api-key,content-type"),
        ]
    };
    let path = "/api/devices/d";
    let preflight =
        brooklet.request_with(Method::OPTIONS, path, None, &asks("https://panel.example")).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(header(&preflight, "access-control-allow-origin"), "https://panel.example");
    for (name, word) in [
        ("access-control-allow-methods", "PATCH"),
        ("access-control-allow-headers", "X-API-Key"),
        ("access-control-allow-headers", "Last-Event-ID"),
        ("vary", "Origin"),
    ] {
        assert!(header(&preflight, name).contains(word), "{name}");
    }
    assert_eq!(header(&preflight, "access-control-allow-credentials"), "");
    let other = brooklet.request_with(Method::OPTIONS, path, None, &asks("https://evil")).await;
    assert_eq!(header(&other, "access-control-allow-origin"), "");
    assert_eq!(header(&other, "access-control-allow-methods"), "");

    let key = ("X-API-Key", key.as_str());
    let real = get(&brooklet, "/api/devices", &[key, ("Origin", "https://panel.example")]).await;
    assert_eq!(header(&real, "access-control-allow-origin"), "https://panel.example");
    assert!(header(&real, "access-control-expose-headers").contains("ETag"));
    for origin in
        ["https://evil.example", "https://panel.example.evil", "null", "http://panel.example"]
    {
        let real = get(&brooklet, "/api/devices", &[key, ("Origin", origin)]).await;
        assert_eq!((real.status.as_u16(), header(&real, "access-control-allow-origin")), (200, ""));
        assert!(real.headers.get_all("vary").iter().any(|value| value == "Origin"));
    }
    // A page is told even of what went wrong.
    let refused = get(&brooklet, "/api/devices", &[("Origin", "https://panel.example")]).await;
    assert_eq!(refused.status, 401);
    assert_eq!(header(&refused, "access-control-allow-origin"), "https://panel.example");

    let brooklet = brooklet.restart_with(&[("HTTP__ALLOW_ORIGINS", "[\"*\"]")]).await;
    let open = get(&brooklet, "/health", &[("Origin", "https://anybody")]).await;
    assert_eq!(header(&open, "access-control-allow-origin"), "*");
    let brooklet = brooklet.restart_with(&[]).await;
    let shut = get(&brooklet, "/health", &[("Origin", "https://anybody")]).await;
    assert_eq!(header(&shut, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let (brooklet, _) = closed(&[]).await;
    for (method, path, status) in [
        (Method::GET, "/health", 200),
        (Method::GET, "/api/devices", 401),
        (Method::GET, "/nothing", 404),
        (Method::DELETE, "/health", 405),
        (Method::GET, "/metrics", 200),
        (Method::GET, "/docs", 200),
    ] {
        let response = brooklet.request(method, path, None).await;
        assert_eq!(response.status, status, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", ""),
        ] {
            assert_eq!(header(&response, name), value, "{path} {name}");
        }
        let policy = header(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(policy.contains("unsafe-inline"), path == "/docs", "{path}");
    }
}

#[tokio::test]
async fn methods_are_told() {
    let (brooklet, key) = closed(&[]).await;
    let wrong = ask(&brooklet, &key, Method::PUT, "/api/devices", None).await;
    assert_eq!((wrong.status.as_u16(), header(&wrong, "allow")), (405, "GET, HEAD, POST, OPTIONS"));
    assert_eq!(header(&wrong, "content-type"), "application/problem+json");
    let wrong = brooklet.request(Method::POST, "/metrics", None).await;
    assert_eq!((wrong.status.as_u16(), header(&wrong, "allow")), (405, "GET, HEAD, OPTIONS"));
    let told = brooklet.request(Method::OPTIONS, "/api/devices", None).await;
    assert_eq!((told.status.as_u16(), header(&told, "allow")), (204, "GET, HEAD, POST, OPTIONS"));
    let unknown = ask(&brooklet, &key, Method::GET, "/api/nothing", None).await;
    assert_eq!((unknown.status.as_u16(), &unknown.body["status"]), (404, &json!(404)));
    let full = ask(&brooklet, &key, Method::GET, "/api/devices", None).await;
    let head = ask(&brooklet, &key, Method::HEAD, "/api/devices", None).await;
    assert_eq!((head.status, head.text.as_str()), (full.status, ""));
    assert_eq!(header(&head, "content-type"), header(&full, "content-type"));
}

#[tokio::test]
async fn every_request_has_a_name() {
    let (brooklet, key) = closed(&[("LOG__HTTP_ACCESS", "true")]).await;
    let named = [("X-API-Key", key.as_str()), ("X-Request-Id", "order-66")];
    let problem = get(&brooklet, "/api/devices/none", &named).await;
    assert_eq!(problem.body["request_id"], "order-66");
    assert_eq!(header(&problem, "x-request-id"), "order-66");
    let line = brooklet.logged(|line| line["request_id"] == "order-66").await;
    assert_eq!(line["path"], "/api/devices/none");

    let mut seen = std::collections::HashSet::new();
    let long = "x".repeat(65);
    for unfit in ["", "two words", "caf\u{e9}", long.as_str()] {
        let refused = get(&brooklet, "/api/devices", &[("X-Request-Id", unfit)]).await;
        let id = header(&refused, "x-request-id").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(refused.body["request_id"], id.as_str());
        assert!(seen.insert(id));
    }
    let body = Some(json!({"device": "d"}));
    let made = ask(&brooklet, &key, Method::POST, "/api/devices", body).await;
    let audit = ask(&brooklet, &key, Method::GET, "/api/audit?resource=/api/devices", None).await;
    assert_eq!(audit.body["items"][0]["request_id"], header(&made, "x-request-id"));
}

#[tokio::test]
async fn text_is_packed_for_those_who_take_it() {
    let (brooklet, key) = closed(&[]).await;
    for n in 0..20 {
        let body = Some(json!({"device": format!("d{n}")}));
        let made = ask(&brooklet, &key, Method::POST, "/api/devices", body).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    let key = ("X-API-Key", key.as_str());
    let fetch = async |path: &str, accepted: &str| {
        let url = format!("http://{}{path}", brooklet.http);
        let request = reqwest::Client::new().get(url).header(key.0, key.1);
        let response = request.header("Accept-Encoding", accepted).send().await.unwrap();
        let headers = response.headers().clone();
        (headers, response.bytes().await.unwrap())
    };
    for path in ["/api/devices", "/docs", "/openapi.json", "/docs", "/metrics"] {
        let (headers, packed) = fetch(path, "br, gzip;q=0.8").await;
        assert_eq!(headers["content-encoding"], "gzip", "{path}");
        assert!(headers.get_all("vary").iter().any(|value| value == "Accept-Encoding"), "{path}");
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        let (headers, plain) = fetch(path, "identity").await;
        assert!(!headers.contains_key("content-encoding"), "{path}");
        assert!(headers.get_all("vary").iter().any(|value| value == "Accept-Encoding"), "{path}");
        assert!(packed.len() * 2 < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
        if path != "/metrics" {
            assert!(text.as_bytes() == plain, "{path}");
        }
    }
    // Short answers, what shows secrets, and heads are left alone.
    for path in ["/health", "/api/devices/d1", "/api/auth/me"] {
        assert!(!fetch(path, "gzip").await.0.contains_key("content-encoding"), "{path}");
    }
    let off = brooklet.restart_with(&[("HTTP__COMPRESSION", "false")]).await;
    let docs = get(&off, "/docs", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(header(&docs, "content-encoding"), "");
}
