//! A mail server of a few lines: enough of SMTP (RFC 5321), STARTTLS and AUTH for one mail at a time.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Received {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) data: String,
    pub(super) login: Option<String>,
    pub(super) is_encrypted: bool,
}

/// What is said to a recipient whose address begins with this; once each, then `250`.
type Replies = Arc<Mutex<VecDeque<(&'static str, &'static str)>>>;

pub(super) struct MailServer {
    pub(super) address: SocketAddr,
    mails: Arc<Mutex<Vec<Received>>>,
}

#[derive(Clone)]
struct Terms {
    mails: Arc<Mutex<Vec<Received>>>,
    replies: Replies,
    tls: Option<TlsAcceptor>,
}

impl Terms {
    fn reply(&self, address: &str) -> &'static str {
        let mut replies = self.replies.lock().unwrap();
        let at = replies.iter().position(|(begin, _)| address.starts_with(begin));
        at.and_then(|at| replies.remove(at)).map_or("250 ok", |(_, reply)| reply)
    }
}

impl MailServer {
    pub(super) async fn start(replies: &[(&'static str, &'static str)]) -> Self {
        Self::with(replies, None, false).await
    }

    /// With TLS from the start, or by STARTTLS.
    pub(super) async fn with(
        replies: &[(&'static str, &'static str)],
        tls: Option<TlsAcceptor>,
        is_implicit: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), mails: Arc::default() };
        let replies = Arc::new(Mutex::new(replies.iter().copied().collect()));
        let terms = Terms { mails: server.mails.clone(), replies, tls };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut terms = terms.clone();
                tokio::spawn(async move {
                    if !is_implicit {
                        return serve(stream, &terms).await;
                    }
                    if let Ok(stream) = terms.tls.take().unwrap().accept(stream).await {
                        let mut stream = BufStream::new(stream);
                        say(&mut stream, "220 ready").await;
                        converse(&mut stream, &terms, true).await;
                    }
                });
            }
        });
        server
    }

    pub(super) fn mails(&self) -> Vec<Received> {
        self.mails.lock().unwrap().clone()
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, line: &str) {
    let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
    let _ = stream.flush().await;
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, terms: &Terms) {
    let mut stream = BufStream::new(stream);
    say(&mut stream, "220 ready").await;
    let wants_tls = converse(&mut stream, terms, false).await;
    if let (true, Some(tls)) = (wants_tls, &terms.tls)
        && let Ok(stream) = tls.accept(stream.into_inner()).await
    {
        let terms = Terms { tls: None, ..terms.clone() };
        converse(&mut BufStream::new(stream), &terms, true).await;
    }
}

/// Until QUIT, the end, or STARTTLS (`true`).
async fn converse<S>(stream: &mut BufStream<S>, terms: &Terms, is_encrypted: bool) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut mail = Received { is_encrypted, ..Received::default() };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        let line = line.trim_end();
        match line.split([' ', ':']).next().unwrap() {
            "EHLO" => {
                let more = if terms.tls.is_some() { "250-STARTTLS\r\n" } else { "" };
                say(stream, &format!("250-here\r\n{more}250 AUTH PLAIN")).await;
            }
            "STARTTLS" => {
                say(stream, "220 go on").await;
                return true;
            }
            "AUTH" => {
                let plain = BASE64_STANDARD.decode(line.split(' ').nth(2).unwrap()).unwrap();
                mail.login = Some(String::from_utf8(plain).unwrap());
                let is_right = mail.login.as_deref() == Some("\0ann\0secret");
                say(stream, if is_right { "235 welcome" } else { "535 who are you" }).await;
            }
            "MAIL" => {
                mail.from = line.to_owned();
                say(stream, "250 ok").await;
            }
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap().to_owned();
                let reply = terms.reply(&address);
                if reply.starts_with('2') {
                    mail.to.push(address);
                }
                say(stream, reply).await;
            }
            "DATA" => {
                say(stream, "354 go on").await;
                while !mail.data.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail.data).await.unwrap_or(0) == 0 {
                        return false;
                    }
                }
                terms.mails.lock().unwrap().push(mail.clone());
                say(stream, "250 taken").await;
            }
            "QUIT" => {
                say(stream, "221 bye").await;
                return false;
            }
            _ => say(stream, "500 what?").await,
        }
    }
}
