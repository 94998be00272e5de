//! MQTT over WebSocket: the handshake and who is refused by it, and messages that are no packets.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Bytes, Error, Message,
        client::IntoClientRequest,
        handshake::client::Response,
        http::HeaderValue,
        protocol::frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

use crate::{
    certificates::Authority,
    harness::PATIENCE,
    transports::{FAILED_WS, plain, with_listeners},
    wire::{connect, packet, text},
};

pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    address: SocketAddr,
    path: &str,
    protocols: Option<&'static str>,
) -> Result<(WebSocketStream<S>, Response), Error> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    if let Some(protocols) = protocols {
        let value = HeaderValue::from_static(protocols);
        request.headers_mut().insert("Sec-WebSocket-Protocol", value);
    }
    client_async(request, stream).await
}

pub(crate) async fn web_socket(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    open(stream, address, "/mqtt", Some("mqtt")).await.unwrap().0
}

/// The next message that is no answer to a ping.
pub(crate) async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().and_then(Result::ok)
}

/// Reads messages until so many bytes have come.
async fn bytes(socket: &mut WebSocketStream<TcpStream>, count: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < count {
        match next(socket).await {
            Some(Message::Binary(bytes)) => read.extend(bytes),
            other => panic!("{other:?} after {read:?}"),
        }
    }
    read
}

#[tokio::test]
async fn the_web_socket_handshake_wants_the_path_and_the_sub_protocol() {
    let brooklet = with_listeners(&[plain("ws", ""), plain("tcp", "")]).await;
    let address = brooklet.listener("ws");
    let attempt = |path: &'static str, protocols| async move {
        let stream = TcpStream::connect(address).await.unwrap();
        match open(stream, address, path, protocols).await {
            Ok((_, response)) => (101, response.headers().get("Sec-WebSocket-Protocol").cloned()),
            Err(Error::Http(response)) => (response.status().as_u16(), None),
            Err(error) => panic!("{error}"),
        }
    };
    let chosen = Some(HeaderValue::from_static("mqtt"));
    assert_eq!(attempt("/mqtt", Some("mqtt")).await, (101, chosen.clone()));
    assert_eq!(attempt("/mqtt?x=1", Some("mqttv3.1, mqtt")).await, (101, chosen));
    assert_eq!(attempt("/other", Some("mqtt")).await, (404, None));
    // The client of this test takes no answer without a sub-protocol that it offered.
    assert_eq!(attempt("/mqtt", Some("mqttv3.1")).await, (400, None));
    assert_eq!(attempt("/mqtt", None).await, (400, None));
    assert_eq!(brooklet.metric(FAILED_WS).await, 3.0);
}

#[tokio::test]
async fn web_pages_of_elsewhere_are_refused() {
    let listed = ", allow_origins = [\"https://panel.example\"]";
    for (more, [own, sibling, named, opaque]) in [
        ("", [101, 403, 403, 403]),
        (listed, [101, 403, 101, 403]),
        (", allow_origins = [\"*\"]", [101, 101, 101, 101]),
    ] {
        let brooklet = with_listeners(&[plain("ws", more)]).await;
        let address = brooklet.listener("ws");
        let attempt = |origin: String| async move {
            let mut request = format!("ws://{address}/mqtt").into_client_request().unwrap();
            let headers = request.headers_mut();
            headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
            headers.insert("Origin", origin.parse().unwrap());
            match client_async(request, TcpStream::connect(address).await.unwrap()).await {
                Ok(_) => 101,
                Err(Error::Http(response)) => response.status().as_u16(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(attempt(format!("http://{address}")).await, own);
        assert_eq!(attempt(format!("http://127.0.0.1:{}", brooklet.http.port())).await, sibling);
        assert_eq!(attempt("https://panel.example".to_owned()).await, named);
        assert_eq!(attempt("null".to_owned()).await, opaque);
        let refused = [own, sibling, named, opaque].iter().filter(|code| **code == 403).count();
        assert_eq!(brooklet.metric(FAILED_WS).await, refused as f64);
        // What is no browser names no origin.
        web_socket(address).await;
    }
}

#[tokio::test]
async fn who_asks_for_no_web_socket_is_told_in_http() {
    let authority = Authority::new();
    let brooklet = with_listeners(&[plain("ws", ""), authority.listener("wss", "")]).await;
    let get = b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n".to_vec();
    let post = b"POST /mqtt HTTP/1.1\r\nHost: broker\r\nContent-Length: 0\r\n\r\n".to_vec();
    let mqtt = connect(5, 2, 60, &[], "no-http");
    for (sent, status) in [(&get, "426 Upgrade Required"), (&post, "400 "), (&mqtt, "400 ")] {
        let plain = TcpStream::connect(brooklet.listener("ws")).await.unwrap();
        let encrypted = authority.connect(brooklet.listener("wss"), None).await.unwrap();
        for answer in [answer_to(sent, plain).await, answer_to(sent, encrypted).await] {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert_eq!(head.contains("Upgrade: websocket"), status.starts_with("426"), "{head}");
            assert!(body.starts_with("MQTT over WebSocket") && body.ends_with('\n'), "{body}");
        }
    }
    assert_eq!(brooklet.metric(FAILED_WS).await, 3.0);
}

/// All that comes, up to an orderly end.
async fn answer_to(sent: &[u8], mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    stream.write_all(sent).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn packets_and_frames_need_not_match() {
    let brooklet = with_listeners(&[plain("ws", "")]).await;
    let mut socket = web_socket(brooklet.listener("ws")).await;
    let connect = connect(4, 2, 60, &[], "split");
    for byte in &connect[..3] {
        socket.send(Message::binary(vec![*byte])).await.unwrap();
    }
    // The rest in one message of two fragments, with a ping between them.
    let fragment = |bytes: &[u8], kind, is_last| {
        let data = Bytes::copy_from_slice(bytes);
        Message::Frame(Frame::message(data, OpCode::Data(kind), is_last))
    };
    socket.send(fragment(&connect[3..9], Data::Binary, false)).await.unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong(Bytes::from_static(b"there?"))));
    socket.send(fragment(&connect[9..], Data::Continue, true)).await.unwrap();
    assert_eq!(bytes(&mut socket, 4).await, [0x20, 2, 0, 0]);

    let mut subscribe = vec![0, 1];
    subscribe.extend(text("a"));
    subscribe.push(0);
    let mut publish = text("a");
    publish.extend(b"x");
    let (subscribe, publish) = (packet(0x82, &subscribe), packet(0x30, &publish));
    let (head, tail) = publish.split_at(2);
    socket.send(Message::binary([&subscribe[..], &[0xC0, 0], head].concat())).await.unwrap();
    assert_eq!(bytes(&mut socket, 7).await, [0x90, 3, 0, 1, 0, 0xD0, 0]);
    socket.send(Message::binary(tail.to_vec())).await.unwrap();
    assert_eq!(bytes(&mut socket, publish.len()).await, publish);

    socket.send(Message::binary(vec![0xE0, 0])).await.unwrap();
    assert!(matches!(next(&mut socket).await, None | Some(Message::Close(_))));
}

#[tokio::test]
async fn text_and_oversize_close_the_web_socket() {
    let brooklet = with_listeners(&[plain("ws", ", max_packet_size = \"4KiB\"")]).await;
    let address = brooklet.listener("ws");
    let mut socket = web_socket(address).await;
    socket.send(Message::binary(connect(5, 2, 60, &[], "texts"))).await.unwrap();
    assert!(matches!(next(&mut socket).await, Some(Message::Binary(_))));
    socket.send(Message::text("hello")).await.unwrap();
    match next(&mut socket).await {
        Some(Message::Close(Some(frame))) => assert_eq!(frame.code, CloseCode::Unsupported),
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut socket).await, None);

    let mut socket = web_socket(address).await;
    let _ = socket.send(Message::binary(vec![0x10; 1 << 20])).await;
    assert!(!matches!(next(&mut socket).await, Some(Message::Binary(_))));
    brooklet.connect("others").await;
}
