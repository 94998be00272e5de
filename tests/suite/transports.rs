//! Listeners: TLS, WebSocket, both, IPv6, who may connect, and handshakes that nobody waits for.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::{
    certificates::{Authority, shown_by_server},
    harness::{Brooklet, PATIENCE},
    web_socket::{next, open, web_socket},
    wire::{Client, connect},
};

const FAILED_TLS: &str = "brooklet_mqtt_handshakes_failed_total{transport=\"tls\"}";
pub(crate) const FAILED_WS: &str = "brooklet_mqtt_handshakes_failed_total{transport=\"ws\"}";

pub(crate) async fn with_listeners(listeners: &[String]) -> Brooklet {
    let listeners = format!("[{}]", listeners.join(", "));
    Brooklet::with(&[("MQTT__LISTENERS", &listeners)]).await
}

pub(crate) fn plain(transport: &str, more: &str) -> String {
    format!("{{ address = \"127.0.0.1:0\", transport = \"{transport}\"{more} }}")
}

/// Publishes and receives over the stream, up to a message larger than any buffer on its way.
async fn works(stream: impl crate::wire::Stream + 'static) {
    let mut client = Client::over(stream);
    assert_eq!(client.log_in(&connect(5, 2, 60, &[], "over")).await, Some(0));
    assert_eq!(client.subscribe("a/#", 0).await, 0);
    for size in [1, 100, 10_000, 900_000] {
        let payload: Vec<u8> = (0..size).map(|at: usize| at as u8).collect();
        client.publish_qos0("a/b", &payload).await;
        assert!(client.message().await.3 == payload, "{size}");
    }
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_plain_text_is_not() {
    let authority = Authority::new();
    let brooklet = with_listeners(&[authority.listener("tls", "")]).await;
    let address = brooklet.listener("tls");
    for version in [&TLS12, &TLS13] {
        works(authority.connect_by(address, None, &[version]).await.unwrap()).await;
    }
    let mut plain = Client::raw(address).await;
    assert!(plain.try_send(&connect(5, 2, 60, &[], "plain")).await);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, async {
        while plain.packet().await.inspect(|p| rest.push(p.clone())).is_some() {}
    })
    .await;
    assert!(rest.iter().all(|packet| packet.first != 0x20), "{rest:?}");
    assert_eq!(brooklet.metric(FAILED_TLS).await, 1.0);
}

#[tokio::test]
async fn certificates_change_on_sighup_and_connections_stay() {
    let authority = Authority::new();
    let mut brooklet = with_listeners(&[authority.listener("tls", "")]).await;
    brooklet.may_log_errors();
    let address = brooklet.listener("tls");
    let stream = authority.connect(address, None).await.unwrap();
    let first = shown_by_server(&stream);
    let mut client = Client::over(stream);
    assert_eq!(client.log_in(&connect(5, 2, 60, &[], "stays")).await, Some(0));

    let second = authority.renew("server");
    brooklet.hang_up();
    brooklet.logged(|line| line["message"] == "certificates read again").await;
    let shown = shown_by_server(&authority.connect(address, None).await.unwrap());
    assert!(shown == second && shown != first);

    std::fs::write(authority.path("server.key"), "no key").unwrap();
    brooklet.hang_up();
    let line = brooklet.logged(|line| line["level"] == "ERROR").await;
    assert_eq!(line["message"], "the certificates stay as they were");
    let expected = format!("can't use the key {}: ", authority.path("server.key").display());
    assert!(line["error"].as_str().unwrap().starts_with(&expected), "{line}");
    let shown = shown_by_server(&authority.connect(address, None).await.unwrap());
    assert!(shown == second);
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (asked, is_required) in [("optional", false), ("required", true)] {
        let more = format!(", client_certificates = \"{asked}\"{}", authority.client_ca());
        let brooklet = with_listeners(&[authority.listener("tls", &more)]).await;
        let address = brooklet.listener("tls");
        works(authority.connect(address, Some(authority.issue("known"))).await.unwrap()).await;
        // With TLS 1.3 a client hears of its refusal only when it reads.
        let shows = |shown| async {
            let stream = authority.connect(address, shown).await.ok()?;
            Client::over(stream).log_in(&connect(5, 2, 60, &[], "shows")).await
        };
        assert_eq!(shows(Some(stranger.issue("known"))).await, None);
        assert_eq!(shows(None).await.is_none(), is_required);
    }
}

#[tokio::test]
async fn web_sockets_carry_what_tcp_carries_over_tls_too() {
    let authority = Authority::new();
    let brooklet = with_listeners(&[plain("ws", ""), authority.listener("wss", "")]).await;
    works(bridge(web_socket(brooklet.listener("ws")).await)).await;
    let address = brooklet.listener("wss");
    let stream = authority.connect(address, None).await.unwrap();
    works(bridge(open(stream, address, "/mqtt", Some("mqtt")).await.unwrap().0)).await;
}

/// A stream whose bytes travel in binary messages.
fn bridge<S>(socket: WebSocketStream<S>) -> tokio::io::DuplexStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (mut sink, mut messages) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(theirs);
    tokio::spawn(async move {
        let mut buffer = vec![0; 7_000];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            if sink.send(Message::binary(buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if writer.write_all(&message.into_data()).await.is_err() {
                return;
            }
        }
    });
    ours
}

#[tokio::test]
async fn ipv6_is_served() {
    let authority = Authority::new();
    let tls = authority.listener("tls", "").replace("127.0.0.1", "[::1]");
    let brooklet =
        with_listeners(&["{ address = \"[::1]:0\", transport = \"tcp\" }".to_owned(), tls]).await;
    let address = brooklet.listener("tcp");
    assert!(address.is_ipv6());
    works(TcpStream::connect(address).await.unwrap()).await;
    works(authority.connect(brooklet.listener("tls"), None).await.unwrap()).await;
}

#[tokio::test]
async fn handshakes_that_take_their_time_hold_up_nobody() {
    let authority = Authority::new();
    let listeners = format!("[{}, {}]", authority.listener("tls", ""), plain("ws", ""));
    let variables = [("MQTT__LISTENERS", listeners.as_str()), ("MQTT__CONNECT_TIMEOUT", "\"1s\"")];
    let brooklet = Brooklet::with(&variables).await;
    let (tls, ws) = (brooklet.listener("tls"), brooklet.listener("ws"));
    let mut idle = Vec::new();
    for address in [tls, ws].repeat(20) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(if address == tls { &[22, 3, 1] } else { b"GET /mq" }).await.unwrap();
        idle.push(stream);
    }
    works(authority.connect(tls, None).await.unwrap()).await;
    works(bridge(web_socket(ws).await)).await;
    for stream in &mut idle {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
        let _ = read.await.expect("an end");
    }
    // A connection ends a moment before it is counted.
    for failed in [FAILED_TLS, FAILED_WS] {
        brooklet.until_metric(failed, 20.0).await;
    }
    // The time runs from the accept to the complete CONNECT, not anew after the handshake.
    let mut silent = Client::over(authority.connect(tls, None).await.unwrap());
    assert_eq!(silent.packet().await, None);
}

#[tokio::test]
async fn a_listener_has_limits_of_its_own() {
    let nobody = plain("tcp", ", allow_from = [\"10.0.0.0/8\", \"fd00::/8\"]");
    let local = plain("ws", ", allow_from = [\"127.0.0.0/8\"], max_connections = 1");
    let brooklet = with_listeners(&[nobody, local]).await;
    let mut turned_away = Client::raw(brooklet.listener("tcp")).await;
    assert_eq!(turned_away.log_in(&connect(5, 2, 60, &[], "far")).await, None);
    let series = "brooklet_mqtt_connections_turned_away_total{reason=\"address\"}";
    assert_eq!(brooklet.metric(series).await, 1.0);

    let address = brooklet.listener("ws");
    let connects = |mut socket: WebSocketStream<TcpStream>| async move {
        socket.send(Message::binary(connect(5, 2, 60, &[], "one"))).await.unwrap();
        let Some(Message::Binary(connack)) = next(&mut socket).await else { panic!() };
        (connack[3], socket)
    };
    let (reason, first) = connects(web_socket(address).await).await;
    assert_eq!(reason, 0);
    assert_eq!(connects(web_socket(address).await).await.0, 0x97);
    brooklet.connect("elsewhere").await;
    drop(first);
    let deadline = std::time::Instant::now() + PATIENCE;
    while connects(web_socket(address).await).await.0 != 0 {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn anonymous_clients_are_a_matter_of_the_listener() {
    let closed = plain("ws", ", allow_anonymous = false");
    let brooklet = with_listeners(&[closed, plain("tcp", ", max_packet_size = 100")]).await;
    let mut client = Client::over(bridge(web_socket(brooklet.listener("ws")).await));
    assert_eq!(client.log_in(&connect(5, 2, 60, &[], "a")).await, Some(0x87));
    let address = brooklet.listener("tcp");
    let (_, connack) = Client::open(address, connect(5, 2, 60, &[], "b"), true).await;
    let size = connack.body.windows(5).find(|window| window[0] == 0x27).unwrap();
    assert_eq!(size, [0x27, 0, 0, 0, 100]);
    let mut large = Client::raw(address).await;
    let connect = connect(5, 2, 60, &[], &"b".repeat(100));
    assert!(matches!(large.log_in(&connect).await, None | Some(0x95)));
}
