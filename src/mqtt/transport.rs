//! From an accepted socket to the stream of bytes that MQTT is spoken over: TLS, WebSocket, both or
//! neither.
//!
//! Handshakes run in the connection's own task, within the time that ends with a complete CONNECT.

use std::{io, net::SocketAddr, sync::Arc};

use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::server::TlsStream;

use super::{broker::Broker, handshake, websocket::WebSocket};
use crate::tls::{CertificateSubject, TlsServer};

/// What clients have to speak below MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Transport {
    /// A log field and metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// What a WebSocket has to ask for.
#[derive(Debug)]
pub struct WebSocketSettings {
    pub path: String,
    /// Origins of web pages that may connect beside those of this host; `*`: all.
    pub allow_origins: Vec<String>,
}

/// What the connections of one listener have in common.
#[derive(Debug)]
pub struct ListenerSettings {
    pub tls: Option<Arc<TlsServer>>,
    /// `None`: no WebSocket.
    pub web_socket: Option<WebSocketSettings>,
    /// Who may connect; others are closed at once. Empty: everybody.
    pub allow_from: Vec<IpNet>,
    /// Connections at a time; one more is answered 0x97 (3.1.1: 3) and closed.
    pub connections_max: usize,
    /// Bytes of a whole packet from a client.
    pub packet_size_max: usize,
    /// Whether clients without credentials may be let in.
    pub allow_anonymous: bool,
}

impl ListenerSettings {
    pub fn transport(&self) -> Transport {
        match (&self.tls, &self.web_socket) {
            (None, None) => Transport::Tcp,
            (Some(_), None) => Transport::Tls,
            (None, Some(_)) => Transport::Ws,
            (Some(_), Some(_)) => Transport::Wss,
        }
    }

    pub(super) fn admits(&self, peer: SocketAddr) -> bool {
        let address = peer.ip().to_canonical();
        self.allow_from.is_empty()
            || self.allow_from.iter().any(|network| network.contains(&address))
    }
}

/// What is known of a client before it has said anything of MQTT.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<CertificateSubject>,
    pub(super) listener: Arc<ListenerSettings>,
    /// By when its CONNECT has to be complete.
    pub(super) deadline: Instant,
    /// Its listener has as many connections as it may.
    pub(super) is_over_limit: bool,
}

/// A transport other than TCP itself. Boxed: one copy of the connection's code serves them all.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("the subject of the client's certificate can't be read")]
    Subject,
    #[error("WebSocket: {0}")]
    WebSocket(io::Error),
    #[error("it took too long")]
    Late,
}

/// Serves one socket from its first byte to its last.
pub(super) async fn serve(broker: Arc<Broker>, socket: TcpStream, mut peer: Peer) {
    let place = broker.enter();
    peer.is_over_limit |= place.is_err();
    if peer.listener.transport() == Transport::Tcp {
        return handshake::serve(&broker, socket, peer).await;
    }
    let upgraded = Box::pin(timeout_at(peer.deadline, upgrade(socket, &peer.listener))).await;
    match upgraded.unwrap_or(Err(HandshakeError::Late)) {
        Ok((stream, certificate)) => {
            peer.certificate = certificate;
            handshake::serve(&broker, stream, peer).await;
        }
        Err(error) => {
            let transport = peer.listener.transport();
            broker.counters.handshake_failed(transport);
            let (peer, transport) = (peer.address, transport.label());
            tracing::debug!(%peer, transport, %error, "handshake failed");
        }
    }
}

type Upgraded = (Box<dyn Socket>, Option<CertificateSubject>);

async fn upgrade(
    socket: TcpStream,
    listener: &ListenerSettings,
) -> Result<Upgraded, HandshakeError> {
    let (stream, certificate): Upgraded = match &listener.tls {
        None => (Box::new(socket), None),
        Some(tls) => {
            let stream = tls.acceptor().accept(socket).await.map_err(HandshakeError::Tls)?;
            let certificate = subject(&stream)?;
            (Box::new(stream), certificate)
        }
    };
    Ok(match &listener.web_socket {
        None => (stream, certificate),
        Some(settings) => {
            let socket = WebSocket::accept(stream, settings, listener.packet_size_max)
                .await
                .map_err(HandshakeError::WebSocket)?;
            (Box::new(socket), certificate)
        }
    })
}

fn subject(stream: &TlsStream<TcpStream>) -> Result<Option<CertificateSubject>, HandshakeError> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    certificate
        .map(|der| CertificateSubject::from_der(der).ok_or(HandshakeError::Subject))
        .transpose()
}
