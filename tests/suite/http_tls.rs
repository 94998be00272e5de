//! HTTP over TLS: both versions of HTTP, certificates that change, what is told of both.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{
    certificates::{Authority, shown_by_server},
    harness::Brooklet,
    raw_http::Raw,
};

async fn with_tls(authority: &Authority, more: &[(&str, &str)]) -> Brooklet {
    let (certificate, key) = (authority.path("server.pem"), authority.path("server.key"));
    let listeners =
        format!("[{{ address = \"127.0.0.1:0\", certificate = {certificate:?}, key = {key:?} }}]");
    let mut variables = vec![("HTTP__LISTENERS", listeners.as_str())];
    variables.extend(more);
    Brooklet::with(&variables).await
}

async fn http2(authority: &Authority, brooklet: &Brooklet) -> SendRequest<Empty<Bytes>> {
    let stream = authority.connect_for(brooklet.https(), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> hyper::Request<Empty<Bytes>> {
    hyper::Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let authority = Authority::new();
    let brooklet = with_tls(&authority, &[("HTTP__HSTS", "\"365d\"")]).await;
    let sender = http2(&authority, &brooklet).await;
    let asked = (0..50).map(|_| {
        let mut sender = sender.clone();
        async move { sender.send_request(get("/api/devices")).await.unwrap() }
    });
    for response in futures_util::future::join_all(asked).await {
        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), hyper::Version::HTTP_2);
        assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
        assert!(response.into_body().collect().await.unwrap().to_bytes().starts_with(b"{"));
    }
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = authority.connect_for(brooklet.https(), protocols).await.unwrap();
        let mut raw = Raw::over(stream);
        for _ in 0..2 {
            assert_eq!(raw.get("/api/devices").await.status, 200);
        }
    }
    let plain = Raw::open(brooklet.http).await.get("/api/devices").await;
    assert_eq!((plain.status, plain.header("strict-transport-security").as_str()), (200, ""));
    assert!(authority.connect_for(brooklet.https(), &["h3"]).await.is_err());
    let mut no_tls = Raw::open(brooklet.https()).await;
    assert!(no_tls.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
    assert!(!no_tls.rest().await.contains("HTTP/1.1"));
    brooklet.until_metric("brooklet_http_handshakes_failed_total", 2.0).await;
}

#[tokio::test]
async fn http_certificates_change_on_sighup_and_connections_stay() {
    let authority = Authority::new();
    let mut brooklet = with_tls(&authority, &[]).await;
    brooklet.may_log_errors();
    let mut sender = http2(&authority, &brooklet).await;
    let shown = || async {
        shown_by_server(&authority.connect_for(brooklet.https(), &["h2"]).await.unwrap())
    };
    let first = shown().await;
    let second = authority.renew("server");
    brooklet.hang_up();
    brooklet.logged(|line| line["message"] == "certificates read again").await;
    let now = shown().await;
    assert!(now == second && now != first);
    std::fs::write(authority.path("server.key"), "no key").unwrap();
    brooklet.hang_up();
    brooklet.logged(|line| line["message"] == "the certificates stay as they were").await;
    assert!(shown().await == second);
    assert_eq!(sender.send_request(get("/health")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn headers_over_http2_have_a_limit() {
    let authority = Authority::new();
    let brooklet = with_tls(&authority, &[]).await;
    let mut sender = http2(&authority, &brooklet).await;
    let mut large = get("/health");
    for n in 0..20 {
        let name = hyper::header::HeaderName::try_from(format!("x-{n}")).unwrap();
        large.headers_mut().insert(name, "y".repeat(1000).parse().unwrap());
    }
    let refused = sender.send_request(large).await;
    assert!(refused.is_err() || refused.is_ok_and(|response| response.status() == 431));
    let mut sender = http2(&authority, &brooklet).await;
    assert_eq!(sender.send_request(get("/health")).await.unwrap().status(), 200);
}
