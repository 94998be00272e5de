//! Clients of the live streams: Server-Sent Events over a bare socket, and WebSocket.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{harness::PATIENCE, wire::Client};

/// A block of a `text/event-stream`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Block {
    pub(crate) event: Option<String>,
    pub(crate) id: Option<String>,
    /// `null` where there is none, as in comments.
    pub(crate) data: Value,
}

/// Reads Server-Sent Events as a browser does: it knows the last id.
pub(crate) struct Events {
    stream: TcpStream,
    read: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) last_id: Option<String>,
}

impl Events {
    /// `GET /api/stream{query}`.
    pub(crate) async fn open(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("GET /api/stream{query} HTTP/1.0\r\nHost: {address}\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = find(&read, b"\r\n\r\n") {
                break end;
            }
            let count = timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap();
            assert!(count > 0, "no answer: {}", String::from_utf8_lossy(&read));
        };
        let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { stream, read, status, head: head.to_lowercase(), last_id: None }
    }

    /// As [`Events::open`], after the opening block: what happens from here on comes.
    pub(crate) async fn listening(address: SocketAddr, query: &str) -> Self {
        Self::resumed(address, query, None).await
    }

    pub(crate) async fn resumed(address: SocketAddr, query: &str, last: Option<&str>) -> Self {
        let header = last.map(|last| ("Last-Event-ID", last));
        let mut events = Self::open(address, query, header.as_slice()).await;
        assert_eq!(events.status, 200, "{}", events.head);
        let opening = events.block().await.unwrap();
        assert_eq!((opening.data, opening.id.is_some()), (Value::Null, true));
        events
    }

    /// The next block, a comment too; `None` at the end.
    pub(crate) async fn block(&mut self) -> Option<Block> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\n\n") {
                break end;
            }
            let read = self.stream.read_buf(&mut self.read);
            if timeout(PATIENCE, read).await.expect("an event in time").ok()? == 0 {
                return None;
            }
        };
        let text: Vec<u8> = self.read.drain(..end + 2).collect();
        let mut block = Block { event: None, id: None, data: Value::Null };
        for line in std::str::from_utf8(&text).unwrap().lines() {
            match line.split_once(": ") {
                Some(("event", name)) => block.event = Some(name.to_owned()),
                Some(("id", id)) => block.id = Some(id.to_owned()),
                Some(("data", data)) => block.data = serde_json::from_str(data).unwrap(),
                _ => {}
            }
        }
        if block.id.is_some() {
            self.last_id = block.id.clone();
        }
        Some(block)
    }

    /// The data of the next event, checked against its block.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let block = self.block().await.expect("an event");
            if block.data.is_null() {
                continue;
            }
            assert_eq!(block.event.as_deref(), block.data["type"].as_str());
            assert_eq!(block.id.as_deref(), block.data["id"].as_str());
            return block.data;
        }
    }

    /// The values of the next `count` readings.
    pub(crate) async fn values(&mut self, count: usize) -> Vec<i64> {
        let mut values = Vec::new();
        while values.len() < count {
            values.push(value(&self.event().await));
        }
        values
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// The value of a `sensor_data`.
pub(crate) fn value(event: &Value) -> i64 {
    assert_eq!(event["type"], "sensor_data", "{event}");
    event["data"]["value"].as_f64().unwrap() as i64
}

pub(crate) struct Socket(pub(crate) WebSocketStream<TcpStream>);

impl Socket {
    /// An open WebSocket, or the status with which it was refused.
    pub(crate) async fn attempt(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        Self::attempt(address, path, &[]).await.unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    pub(crate) async fn message(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.0.next()).await.expect("a message in time").and_then(Result::ok)
    }

    /// The next text message.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }
}

/// Sends a reading of sensor `t`; it is acknowledged, so it is stored.
pub(crate) async fn say(device: &mut Client, name: &str, value: i64) {
    let topic = format!("devices/{name}/data");
    let acked = device.publish(&topic, format!(r#"{{"t": {value}}}"#)).await;
    assert_eq!(acked.reason, 0);
}

/// Nothing more comes of what has happened so far; there are no promises about time, so this only
/// ever lets a mistake through.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}
