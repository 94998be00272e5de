//! One who listens: to a sensor, or to everything.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};
use tokio_util::sync::CancellationToken;

use crate::{Board, Options};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Transport {
    WebSocket,
    Events,
}

enum Line {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Events(TcpStream, Vec<u8>),
}

pub(crate) struct Listener {
    line: Line,
    sensor: Option<usize>,
}

/// What came, and what did not.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) events: u64,
    /// Readings that came out of order, or twice, or after one that is missing.
    pub(crate) strange: u64,
    pub(crate) gaps: u64,
    pub(crate) ended: u64,
    /// From the sending of a reading to its event, in microseconds.
    pub(crate) ages: Vec<u32>,
    /// The round of each sensor that comes next.
    next: Vec<usize>,
}

impl Listener {
    pub(crate) async fn open(
        options: &Options,
        transport: Transport,
        sensor: Option<usize>,
    ) -> io::Result<Self> {
        let named = sensor.map(|n| format!("&sensors=load{n}/value")).unwrap_or_default();
        let query = format!("?events=readings{named}");
        let mut stream = TcpStream::connect(options.http).await?;
        stream.set_nodelay(true)?;
        let line = match transport {
            Transport::WebSocket => {
                let url = format!("ws://{}/ws{query}", options.http);
                let mut request = url.into_client_request().map_err(io::Error::other)?;
                if let Ok(key) = HeaderValue::from_str(&options.api_key) {
                    request.headers_mut().insert("X-API-Key", key);
                }
                let opened = client_async(request, stream).await.map_err(io::Error::other)?;
                Line::WebSocket(Box::new(opened.0))
            }
            Transport::Events => {
                let request = format!(
                    "GET /api/stream{query} HTTP/1.0\r\nHost: localhost\r\nX-API-Key: {}\r\n\r\n",
                    options.api_key
                );
                stream.write_all(request.as_bytes()).await?;
                let mut read = Vec::new();
                // The opening block says that it listens.
                while !String::from_utf8_lossy(&read).contains("\nretry: ") {
                    if stream.read_buf(&mut read).await? == 0 {
                        return Err(io::Error::other(String::from_utf8_lossy(&read).into_owned()));
                    }
                }
                Line::Events(stream, read)
            }
        };
        Ok(Self { line, sensor })
    }

    pub(crate) async fn run(mut self, board: Arc<Board>, stop: CancellationToken) -> Heard {
        let mut heard = Heard { next: vec![0; board.sensors], ..Heard::default() };
        loop {
            let is_open = tokio::select! {
                is_open = self.line.take(|text| heard.event(&board, self.sensor, text)) => is_open,
                () = stop.cancelled() => return heard,
            };
            if !is_open {
                heard.ended += 1;
                return heard;
            }
        }
    }
}

impl Line {
    /// Waits for what comes, and takes the events in it; `false` at the end.
    async fn take(&mut self, mut event: impl FnMut(&str)) -> bool {
        match self {
            Self::WebSocket(socket) => match socket.next().await {
                Some(Ok(Message::Text(text))) => event(&text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                Some(Ok(_)) => {}
            },
            Self::Events(stream, read) => {
                read.reserve(16 * 1024);
                if !matches!(stream.read_buf(read).await, Ok(1..)) {
                    return false;
                }
                let complete = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let lines: Vec<u8> = read.drain(..complete).collect();
                for line in String::from_utf8_lossy(&lines).lines() {
                    if let Some(data) = line.strip_prefix("data: ") {
                        event(data);
                    }
                }
            }
        }
        true
    }
}

/// The number after a text.
fn number(text: &str, before: &str) -> Option<usize> {
    let (_, rest) = text.split_once(before)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest.get(..digits)?.parse().ok()
}

impl Heard {
    fn event(&mut self, board: &Board, wanted: Option<usize>, text: &str) {
        let sensor = number(text, "\"device\":\"load");
        let (Some(sensor), Some(round)) = (sensor, number(text, "\"value\":")) else {
            self.gaps += u64::from(text.contains("\"gap\""));
            return;
        };
        self.events += 1;
        board.heard.fetch_add(1, Ordering::Relaxed);
        self.ages.extend(board.age(sensor, round));
        let is_wanted = wanted.is_none_or(|wanted| wanted == sensor);
        match self.next.get_mut(sensor) {
            Some(next) if *next == round && is_wanted => *next += 1,
            _ => self.strange += 1,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.strange += other.strange;
        self.gaps += other.gaps;
        self.ended += other.ended;
        self.ages.extend(other.ages);
    }
}
