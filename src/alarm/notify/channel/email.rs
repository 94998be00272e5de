//! A mail over SMTP: one connection a message, all recipients in one transaction.
//!
//! A recipient that the server refuses for good does not keep the mail from the others; one that it
//! defers is tried again alone, as long as the process remembers who has it.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use lettre::{
    Address,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt},
        extension::ClientId,
    },
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::{Failure, Message};
use crate::{
    alarm::notify::{
        EmailSettings, Look, Security,
        render::email::{Mail, mail},
    },
    tls::{TlsClient, TrustedCertificates},
};

/// Bytes that a mail server may say in one connection.
const ANSWERS_MAX: u64 = 1024 * 1024;
/// Messages of which it is remembered who has them already; past it, all are forgotten.
const PARTLY_SENT_MAX: usize = 1_000;
const QUIT_TIME: Duration = Duration::from_secs(1);

pub(super) struct Email {
    tls: Arc<TlsClient>,
    /// By key of a message that some recipients have and others are still to get.
    partly_sent: Mutex<HashMap<String, HashSet<Address>>>,
}

/// Whether it can be a sender or a recipient.
pub(in crate::alarm::notify) fn is_mailbox(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

/// What became of the recipients of one try.
#[derive(Default)]
struct Recipients {
    accepted: HashSet<Address>,
    refused: Vec<String>,
    deferred: Vec<String>,
}

impl Email {
    pub(super) fn new(tls: Arc<TlsClient>) -> Self {
        Self { tls, partly_sent: Mutex::default() }
    }

    pub(super) async fn send(
        &self,
        settings: &EmailSettings,
        message: &Message,
        look: &Look,
    ) -> Result<(), Failure> {
        let has_it = self.partly_sent.lock().get(&message.key).cloned().unwrap_or_default();
        let (from, to) = mailboxes(settings)?;
        let bytes = compose(&from, &to, message, &mail(&message.notices, look))?;
        let mut pending: Vec<Address> = to.into_iter().map(|mailbox| mailbox.email).collect();
        pending.retain(|address| !has_it.contains(address));
        let mut connection = self.connect(settings, &from.email).await?;
        let done = transact(&mut connection, from.email, pending, &bytes).await;
        let _ = timeout(QUIT_TIME, connection.quit()).await;
        let Recipients { accepted, refused, deferred } = done?;
        if !refused.is_empty() {
            let target = &message.target;
            tracing::warn!(
                target_name = target,
                refused = refused.join("; "),
                "recipients refused"
            );
        }
        let mut partly_sent = self.partly_sent.lock();
        if !deferred.is_empty() {
            if partly_sent.len() >= PARTLY_SENT_MAX {
                partly_sent.clear();
            }
            partly_sent.entry(message.key.clone()).or_default().extend(accepted);
            return Err(Failure::temporary(format!("deferred: {}", deferred.join("; "))));
        }
        partly_sent.remove(&message.key);
        if accepted.is_empty() && has_it.is_empty() {
            return Err(Failure::permanent(format!("refused: {}", refused.join("; "))));
        }
        Ok(())
    }

    async fn connect(
        &self,
        settings: &EmailSettings,
        from: &Address,
    ) -> Result<AsyncSmtpConnection, Failure> {
        let (host, port) = (settings.host.as_str(), settings.port());
        let io = |error: io::Error| Failure::temporary(format!("{host}:{port}: {error}"));
        let smtp = |error: Error| Failure::temporary(said(&error));
        let tcp = TcpStream::connect((host, port)).await.map_err(io)?;
        let peer = tcp.peer_addr().map_err(io)?;
        let stream: Box<dyn Duplex> = if settings.security == Security::Tls {
            let trusted = settings.ca.as_deref().map(TrustedCertificates::read).transpose();
            let trusted = trusted.map_err(|what| Failure::permanent(format!("ca: {what}")))?;
            Box::new(self.tls.connect(host, trusted.as_ref(), tcp).await.map_err(io)?)
        } else {
            Box::new(tcp)
        };
        let wire = Wire { stream, peer, left: ANSWERS_MAX };
        let hello = ClientId::Domain(from.domain().to_owned());
        let connecting = AsyncSmtpConnection::connect_with_transport(Box::new(wire), &hello);
        let mut connection = connecting.await.map_err(smtp)?;
        if settings.security == Security::StartTls {
            connection.starttls(tls_parameters(settings)?, &hello).await.map_err(smtp)?;
        }
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(|error| Failure::temporary(format!("login: {}", said(&error))))?;
        }
        Ok(connection)
    }
}

async fn transact(
    connection: &mut AsyncSmtpConnection,
    from: Address,
    pending: Vec<Address>,
    bytes: &[u8],
) -> Result<Recipients, Failure> {
    connection.command(MailFrom::new(Some(from), Vec::new())).await.map_err(failure)?;
    let mut recipients = Recipients::default();
    for address in pending {
        match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
            Ok(_) => {
                recipients.accepted.insert(address);
            }
            Err(error) if error.is_permanent() => {
                recipients.refused.push(format!("{address}: {}", said(&error)));
            }
            Err(error) if error.is_transient() => {
                recipients.deferred.push(format!("{address}: {}", said(&error)));
            }
            Err(error) => return Err(failure(error)),
        }
    }
    if !recipients.accepted.is_empty() {
        connection.command(Data).await.map_err(failure)?;
        connection.message(bytes).await.map_err(failure)?;
    }
    Ok(recipients)
}

/// A 5xx is final, but for those that ask for a login (RFC 4954): that is for the operator to mend.
fn failure(error: Error) -> Failure {
    let code = error.status().map(u16::from);
    if error.is_permanent() && !matches!(code, Some(530 | 534 | 535 | 538)) {
        return Failure::permanent(said(&error));
    }
    Failure::temporary(said(&error))
}

/// The error with what is behind it.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn tls_parameters(settings: &EmailSettings) -> Result<TlsParameters, Failure> {
    let wrong = |error: Error| Failure::permanent(format!("TLS: {}", said(&error)));
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(pem) = &settings.ca {
        builder =
            builder.add_root_certificate(Certificate::from_pem(pem.as_bytes()).map_err(wrong)?);
    }
    builder.build_rustls().map_err(wrong)
}

fn mailboxes(settings: &EmailSettings) -> Result<(Mailbox, Vec<Mailbox>), Failure> {
    let read = |text: &String| {
        text.parse().map_err(|error| Failure::permanent(format!("{text:?}: {error}")))
    };
    let to = settings.to.iter().map(read).collect::<Result<_, _>>()?;
    Ok((read(&settings.from)?, to))
}

/// Bears the message's key as its id, so that mail systems know a repeated one.
fn compose(
    from: &Mailbox,
    to: &[Mailbox],
    message: &Message,
    mail: &Mail,
) -> Result<Vec<u8>, Failure> {
    let domain = from.email.domain();
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .subject(&mail.subject)
        .message_id(Some(format!("<{}@{domain}>", message.key)));
    for mailbox in to {
        builder = builder.to(mailbox.clone());
    }
    if let [notice] = message.notices.as_slice() {
        // What is told of one alarm later is shown below what was told first.
        builder = builder.references(format!("<alarm-{}@{domain}>", notice.alarm_id));
    }
    let body = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    let mut composed = builder
        .multipart(body)
        .map_err(|error| Failure::permanent(format!("the mail can't be made: {error}")))?;
    // RFC 3834: nobody's absence note shall answer.
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    composed.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(composed.formatted())
}

trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for S {}

/// A connection that reads a bounded number of bytes, then its end.
struct Wire {
    stream: Box<dyn Duplex>,
    peer: SocketAddr,
    left: u64,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("the server says too much")));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(read);
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
