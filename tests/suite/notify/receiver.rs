//! A web server that answers as it is told, byte by byte.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::outbox::eventually;

#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// The status line's rest, and header lines.
    Status(&'static str, String),
    /// Takes the request, and never says anything.
    Hang,
    /// Takes the request, and closes.
    HangUp,
    /// A head that never ends.
    EndlessHead,
    /// A body that never ends.
    EndlessBody,
}

impl Answer {
    pub(super) fn status(line: &'static str) -> Self {
        Self::Status(line, String::new())
    }

    pub(super) fn redirect(line: &'static str, location: &str) -> Self {
        Self::Status(line, format!("Location: {location}\r\n"))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) text: String,
    pub(super) body: Value,
}

pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Receiver {
    /// Answers in this order, then with 200.
    pub(super) async fn start(answers: &[Answer]) -> Self {
        Self::with(answers, None).await
    }

    pub(super) async fn with(answers: &[Answer], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().cloned().collect())),
        };
        let (requests, answers) = (receiver.requests.clone(), receiver.answers.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, answers) = (requests.clone(), answers.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &requests, &answers).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &requests, &answers).await;
                            }
                        }
                    }
                });
            }
        });
        receiver
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) async fn until_requests(&self, count: usize) -> Vec<Request> {
        let found = eventually(|| self.requests.lock().unwrap().len() >= count).await;
        assert!(found, "{:?}", self.requests());
        self.requests()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    requests: &Mutex<Vec<Request>>,
    answers: &Mutex<VecDeque<Answer>>,
) {
    let Some(request) = read(&mut stream).await else { return };
    let answer = answers.lock().unwrap().pop_front();
    requests.lock().unwrap().push(request);
    match answer.unwrap_or_else(|| Answer::status("200 OK")) {
        Answer::Status(line, headers) => {
            let answer = format!("HTTP/1.1 {line}\r\n{headers}Content-Length: 2\r\n\r\nok");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Answer::Hang => std::future::pending().await,
        Answer::HangUp => {}
        Answer::EndlessHead => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
        }
        Answer::EndlessBody => {
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await;
            while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
    let mut body = vec![0; headers.get("content-length")?.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    let text = String::from_utf8(body).unwrap();
    Some(Request { path, headers, body: serde_json::from_str(&text).unwrap(), text })
}
