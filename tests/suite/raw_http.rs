//! HTTP/1.1 byte by byte, for what no client would send.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::harness::PATIENCE;

pub(crate) struct Raw<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

/// An answer; header names in lower case, as `name: value` lines.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The values of a header, with commas between them; empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let values: Vec<_> =
            lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect();
        values.join(", ")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// From another address of this machine, such as 127.0.0.2.
    pub(crate) async fn open_from(from: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        Self::over(socket.connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// `false`: the other side has closed.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.unwrap()
    }

    pub(crate) async fn ask(&mut self, request: &str) -> Option<Answer> {
        self.send(request).await;
        self.answer().await
    }

    /// The next answer with a length; `None`: the other side has closed.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await.then_some(())?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").parse().unwrap_or_default();
        while self.read.len() < length {
            self.more().await.then_some(())?;
        }
        answer.body = self.read.drain(..length).collect();
        Some(answer)
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("an answer");
        let read = read.unwrap_or_default();
        self.read.extend_from_slice(&bytes[..read]);
        read > 0
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Whether the other side has closed without a further word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !self.more().await
    }
}
