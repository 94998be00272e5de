//! The dashboard's files as browsers get them.

use reqwest::Method;

use crate::harness::{Brooklet, Response};

async fn get(brooklet: &Brooklet, path: &str, headers: &[(&str, &str)]) -> Response {
    brooklet.request_with(Method::GET, path, None, headers).await
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// Names of other files in the page.
fn references(page: &str) -> Vec<&str> {
    let parts = page.split('"').filter(|part| part.starts_with("/assets/"));
    parts.collect()
}

#[tokio::test]
async fn the_page_is_served_and_kept_as_long_as_it_stays() {
    let brooklet = Brooklet::start().await;
    let page = get(&brooklet, "/", &[]).await;
    assert_eq!(
        (page.status.as_u16(), header(&page, "content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert_eq!(header(&page, "cache-control"), "no-cache");
    let policy = header(&page, "content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.split(';').any(|given| given.trim() == part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");

    let tag = header(&page, "etag").to_owned();
    let again = get(&brooklet, "/", &[("If-None-Match", &tag)]).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(header(&again, "etag"), tag);
    let other = get(&brooklet, "/", &[("If-None-Match", "W/\"other\"")]).await;
    assert_eq!(other.status, 200);

    let references = references(&page.text);
    assert!(!references.is_empty());
    for path in references {
        let file = get(&brooklet, path, &[]).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(header(&file, "cache-control"), "public, max-age=31536000, immutable", "{path}");
        let head = brooklet.request(Method::HEAD, path, None).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""), "{path}");
        assert_eq!(header(&head, "etag"), header(&file, "etag"));
    }
    let (_, bare) = page.text.split_once("/assets/").unwrap().1.split_once('/').unwrap();
    let bare = format!("/assets/{}", bare.split('"').next().unwrap());
    let file = get(&brooklet, &bare, &[]).await;
    assert_eq!((file.status.as_u16(), header(&file, "cache-control")), (200, "no-cache"), "{bare}");
}

#[tokio::test]
async fn files_are_packed_for_those_who_take_it() {
    let brooklet = Brooklet::start().await;
    let plain = get(&brooklet, "/", &[]).await;
    let packed = get(&brooklet, "/", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(header(&packed, "content-encoding"), "gzip");
    assert_eq!(header(&packed, "vary"), "Accept-Encoding");
    assert_eq!(header(&packed, "etag"), header(&plain, "etag"));
    let length = |response: &Response| header(response, "content-length").parse::<usize>().unwrap();
    assert!(length(&packed) < length(&plain), "{} {}", length(&packed), length(&plain));

    let off = Brooklet::with(&[("HTTP__COMPRESSION", "false")]).await;
    let packed = get(&off, "/", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(header(&packed, "content-encoding"), "");
}

#[tokio::test]
async fn nothing_but_its_files_is_served_and_nobody_has_to_be_known() {
    let brooklet = Brooklet::with(&[("HTTP__ALLOW_ANONYMOUS", "false")]).await;
    assert_eq!(get(&brooklet, "/", &[]).await.status, 200);
    assert_eq!(get(&brooklet, "/api/devices", &[]).await.status, 401);
    for path in [
        "/assets/",
        "/assets/none.js",
        "/assets/index.html",
        "/assets/..%2Fmod.rs",
        "/assets/%2e%2e/mod.rs",
        "/assets/v-0/",
        "/none",
    ] {
        let response = get(&brooklet, path, &[]).await;
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(header(&response, "content-type"), "application/problem+json", "{path}");
    }
    let posted = brooklet.request(Method::POST, "/", None).await;
    assert_eq!((posted.status.as_u16(), header(&posted, "allow")), (405, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let brooklet = Brooklet::with(&[("HTTP__DASHBOARD", "false")]).await;
    assert_eq!(get(&brooklet, "/", &[]).await.status, 404);
    assert_eq!(get(&brooklet, "/assets/icon.svg", &[]).await.status, 404);
    assert_eq!(get(&brooklet, "/docs", &[]).await.status, 200);
}
