//! Who may open a stream, how many, and what becomes of clients that are slow, dead, or talk too much.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    harness::{Brooklet, PATIENCE},
    people::{ask, closed, make_key},
    stream_clients::{Events, Socket, say},
};

const KEY: &str = "a-key-that-nobody-guesses";

#[tokio::test]
async fn a_ticket_lets_one_request_in() {
    let keys = format!(r#"[{{ name = "panel", key = "{KEY}" }}]"#);
    let brooklet =
        Brooklet::with(&[("HTTP__API_KEYS", &keys), ("HTTP__ALLOW_ANONYMOUS", "false")]).await;
    let of = async |query: &str, headers: &[(&str, &str)]| {
        Events::open(brooklet.http, query, headers).await.status
    };
    assert_eq!(of("", &[]).await, 401);
    assert_eq!(of("", &[("X-API-Key", KEY)]).await, 200);
    assert_eq!(of("?ticket=none", &[("X-API-Key", KEY)]).await, 401);
    assert_eq!(Socket::attempt(brooklet.http, "/ws/alarms", &[]).await.err(), Some(401));
    assert!(Socket::attempt(brooklet.http, "/ws", &[("X-API-Key", KEY)]).await.is_ok());
    let ticket = async || {
        let headers = [("X-API-Key", KEY)];
        let path = "/api/stream/ticket";
        let made = brooklet.request_with(Method::POST, path, None, &headers).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!(made.body["expires_in"], 30);
        made.body["ticket"].as_str().unwrap().to_owned()
    };
    let first = ticket().await;
    assert_eq!(of(&format!("?ticket={first}"), &[]).await, 200);
    assert_eq!(of(&format!("?ticket={first}"), &[]).await, 401);
    let second = ticket().await;
    assert!(Socket::attempt(brooklet.http, &format!("/ws?ticket={second}"), &[]).await.is_ok());
    let again = Socket::attempt(brooklet.http, &format!("/ws?ticket={second}"), &[]).await;
    assert_eq!(again.err(), Some(401));
    // It stands for a key in streams only.
    let third = ticket().await;
    let elsewhere = format!("/api/devices?ticket={third}");
    assert_eq!(brooklet.request(Method::GET, &elsewhere, None).await.status, 401);
    let made = brooklet.request(Method::POST, "/api/stream/ticket", None).await;
    assert_eq!(made.status, 401);
}

#[tokio::test]
async fn a_ticket_is_no_change_and_no_more_than_its_maker_by_then() {
    let (brooklet, admin) = closed(&[]).await;
    let path = "/api/stream/ticket";
    let bearer = format!("Bearer {admin}");
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "a")];
    let mut made = Vec::new();
    for _ in 0..2 {
        let ticket = brooklet.request_with(Method::POST, path, None, &headers).await;
        assert_eq!(ticket.status, 201, "{}", ticket.text);
        made.push(ticket.body["ticket"].clone());
    }
    assert_ne!(made[0], made[1]);
    let audit = ask(&brooklet, &admin, Method::GET, "/api/audit?action=stream_ticket", None).await;
    assert_eq!(audit.body["items"], json!([]), "{}", audit.text);
    let uploads = json!({"name": "device", "scopes": ["telemetry:write"]});
    let (_, uploads) = make_key(&brooklet, &admin, uploads).await;
    assert_eq!(ask(&brooklet, &uploads, Method::POST, path, None).await.status, 403);
    let panel = json!({"name": "panel", "scopes": ["data:read"]});
    let (id, panel) = make_key(&brooklet, &admin, panel).await;
    let mut last = String::new();
    for _ in 0..100 {
        let ticket = ask(&brooklet, &panel, Method::POST, path, None).await;
        assert_eq!(ticket.status, 201, "{}", ticket.text);
        ticket.body["ticket"].as_str().unwrap().clone_into(&mut last);
    }
    assert_eq!(ask(&brooklet, &panel, Method::POST, path, None).await.status, 503);
    assert_eq!(ask(&brooklet, &admin, Method::POST, path, None).await.status, 201);
    let deleted = ask(&brooklet, &admin, Method::DELETE, &format!("/api/keys/{id}"), None).await;
    assert_eq!(deleted.status, 204);
    let opened = Events::open(brooklet.http, &format!("?ticket={last}"), &[]).await;
    assert_eq!(opened.status, 401);
}

#[tokio::test]
async fn there_are_so_many_streams_and_so_many_of_an_address() {
    for (setting, status) in
        [("STREAMS__MAX_CLIENTS", 503), ("STREAMS__MAX_CLIENTS_PER_ADDRESS", 429)]
    {
        let brooklet = Brooklet::with(&[(setting, "2")]).await;
        let events = Events::listening(brooklet.http, "").await;
        let socket = Socket::open(brooklet.http, "/ws").await;
        let refused = Events::open(brooklet.http, "", &[]).await;
        assert_eq!(refused.status, status);
        assert!(refused.head.contains("content-type: application/problem+json"));
        assert_eq!(Socket::attempt(brooklet.http, "/ws", &[]).await.err(), Some(status));
        drop((events, socket));
        let free = async || Events::open(brooklet.http, "", &[]).await.status == 200;
        while !free().await {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let brooklet = Brooklet::start().await;
    let of = async |query: &str, headers: &[(&str, &str)]| {
        Events::open(brooklet.http, query, headers).await.status
    };
    assert_eq!(of("?events=everything", &[]).await, 422);
    assert_eq!(of("?sensors=x", &[]).await, 422);
    assert_eq!(of("", &[("Last-Event-ID", "nonsense")]).await, 422);
    assert_eq!(Socket::attempt(brooklet.http, "/ws/sensors/77", &[]).await.err(), Some(404));
    assert_eq!(Socket::attempt(brooklet.http, "/ws/devices/none", &[]).await.err(), Some(404));
    let other_page = [("Origin", "https://evil.example")];
    assert_eq!(Socket::attempt(brooklet.http, "/ws", &other_page).await.err(), Some(403));
    let plain = brooklet.request(Method::GET, "/ws", None).await;
    assert_eq!(
        (plain.status.as_u16(), &plain.headers["upgrade"]),
        (426, &"websocket".parse().unwrap())
    );
}

/// A WebSocket's handshake by hand: this client answers nothing.
async fn dead(brooklet: &Brooklet, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(brooklet.http).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        brooklet.http
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"HTTP/1.1 101");
    stream
}

#[tokio::test]
async fn the_living_are_pinged_and_the_dead_are_cut() {
    let brooklet = Brooklet::with(&[("STREAMS__PING", "1s")]).await;
    let mut living = Socket::open(brooklet.http, "/ws").await;
    let mut events = Events::listening(brooklet.http, "").await;
    let mut gone = dead(&brooklet, "/ws").await;
    let cut = tokio::spawn(async move {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, gone.read_to_end(&mut rest)).await.expect("it is cut");
    });
    for _ in 0..5 {
        let message = living.message().await;
        assert!(matches!(message, Some(Message::Ping(_))), "{message:?}");
    }
    cut.await.unwrap();
    let silent = brooklet.metric(r#"brooklet_stream_clients_cut_total{reason="silence"}"#).await;
    assert_eq!(silent, 1.0);
    let comment = events.block().await.unwrap();
    assert_eq!((comment.event, comment.id, comment.data), (None, None, Value::Null));
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 1).await;
    assert_eq!(events.values(1).await, [1]);
    assert_eq!(crate::stream_clients::value(&living.event().await), 1);
}

#[tokio::test]
async fn who_talks_too_much_or_wrongly_is_told_and_cut() {
    let brooklet = Brooklet::start().await;
    for (message, code) in [
        (Message::binary(vec![1]), CloseCode::Unsupported),
        (Message::text("x".repeat(20_000)), CloseCode::Size),
    ] {
        let mut socket = Socket::open(brooklet.http, "/ws").await;
        use futures_util::SinkExt;
        socket.0.send(message).await.unwrap();
        assert_eq!(closing(&mut socket).await, code);
    }
    let mut socket = Socket::open(brooklet.http, "/ws").await;
    for _ in 0..21 {
        socket.say(r#"{"unsubscribe": {}}"#).await;
    }
    assert_eq!(closing(&mut socket).await, CloseCode::Policy);
}

async fn closing(socket: &mut Socket) -> CloseCode {
    loop {
        match socket.message().await {
            Some(Message::Close(Some(frame))) => return frame.code,
            Some(_) => {}
            None => panic!("ended without a word"),
        }
    }
}

#[tokio::test]
async fn who_does_not_keep_up_is_told_how_much_is_missing_and_slows_nobody() {
    const BATCH: i64 = 200;
    let brooklet = Brooklet::with(&[("STREAMS__MAX_QUEUED_EVENTS", "50")]).await;
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 0).await;
    // None of these reads for now.
    let mut slow = Events::listening(brooklet.http, "?events=readings").await;
    let mut socket = Socket::open(brooklet.http, "/ws/devices/d?events=readings").await;
    let (mut count, missed) = (0, "brooklet_stream_events_missed_total");
    // Both have missed some when neither socket takes any more; each message is acknowledged at once.
    while brooklet.metric(missed).await < 5_000.0 {
        let batch = (count..count + BATCH)
            .map(|n| format!(r#"{{"ts": {}, "values": {{"t": {n}}}}}"#, 1_766_125_800_000 + n));
        let payload = format!("[{}]", batch.collect::<Vec<_>>().join(","));
        assert_eq!(device.publish("devices/d/data", payload).await.reason, 0);
        count += BATCH;
        assert!(count < 400_000, "the clients are still not slow");
    }
    let mut seen = 0;
    let mut gaps = 0;
    while seen < count {
        account(&slow.event().await, &mut seen, &mut gaps);
    }
    assert_eq!(seen, count);
    let mut seen = 0;
    while seen < count {
        account(&socket.event().await, &mut seen, &mut gaps);
    }
    assert_eq!(seen, count);
    assert!(gaps > 0);
    // And it goes on.
    say(&mut device, "d", -1).await;
    assert_eq!(slow.values(1).await, [-1]);
    assert_eq!(crate::stream_clients::value(&socket.event().await), -1);
}

/// Values count up from 0; a gap stands exactly where some are missing.
fn account(event: &Value, seen: &mut i64, gaps: &mut u32) {
    if event["type"] == "gap" {
        *seen += event["missed"].as_i64().unwrap();
        *gaps += 1;
        return;
    }
    assert_eq!(crate::stream_clients::value(event), *seen);
    *seen += 1;
}
