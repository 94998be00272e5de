//! From an accepted socket to a connection: CONNECT, who it is, CONNACK.
//!
//! Everything refused gets the CONNACK that its version has for it (MQTT 5.0 §3.2, 3.1.1 §3.2.2.3),
//! and the socket lingers until the client has had a chance to read it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use super::{
    broker::{Attached, Broker},
    codec::{self, CodecError, next_frame, write_connack},
    connection::{Connection, Terms},
    hooks::{Client, ConnectAttempt, Identity},
    journal::{Entry, Then},
    link::Link,
    packet::{ClientId, ConnAck, Connect, Incoming, QoS, ServerLimits, Version},
    publication::Publication,
    reason::ReasonCode,
    topic::TopicName,
    transport::Peer,
    will::SessionWill,
};

/// How long, and for how many bytes, a socket is read on after the last word to it, so that the
/// client sees that word before a reset.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 1 << 20;
/// A client id longer than this is refused.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// Why a CONNECT was not accepted.
struct Refusal {
    version: Option<Version>,
    reason: ReasonCode,
    text: &'static str,
    /// Bytes of the largest packet that the client takes.
    packet_size_max: usize,
    /// Of the connection that was taken over, where it is due all the same.
    will: Option<SessionWill>,
}

/// Serves one socket from its first byte to its last.
pub(super) async fn serve<S>(broker: &Arc<Broker>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    broker.counters.sockets.increment(1);
    let accepted = Box::pin(open(broker, stream, peer)).await;
    if let Some((connection, will)) = accepted {
        if let Some(will) = will {
            Box::pin(broker.publish_will(will)).await;
        }
        connection.run().await;
    }
}

async fn open<S>(
    broker: &Arc<Broker>,
    mut stream: S,
    peer: Peer,
) -> Option<(Box<Connection<S>>, Option<SessionWill>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(1024);
    let address = peer.address;
    let mut client_id = String::new();
    let read = read_connect(&mut stream, &mut buffer, peer.listener.packet_size_max);
    let opened = match timeout_at(peer.deadline, read).await {
        Err(_) => {
            broker.counters.refused(ReasonCode::KEEP_ALIVE_TIMEOUT);
            tracing::debug!(peer = %address, "no CONNECT within the time allowed");
            return None;
        }
        Ok(None) => return None,
        Ok(Some(Err(refusal))) => Err(refusal),
        Ok(Some(Ok(connect))) => {
            client_id.clone_from(&connect.client_id);
            admit(broker, *connect, peer).await
        }
    };
    match opened {
        Ok(admitted) => {
            let mut connack = BytesMut::with_capacity(64);
            write_connack(&mut connack, admitted.client.version, &admitted.connack);
            if connack.len() > admitted.terms.packet_size_max {
                return turn_back(broker, admitted, address).await;
            }
            broker.announce(&admitted.client, admitted.attached.session_present);
            let Attached { session, will, .. } = admitted.attached;
            let connection = Connection::new(
                broker.clone(),
                stream,
                (buffer, connack),
                (admitted.client, session, admitted.link),
                admitted.terms,
            );
            Some((connection, will))
        }
        Err(mut refusal) => {
            if let Some(will) = refusal.will.take() {
                broker.publish_will(will).await;
            }
            refuse(broker, &mut stream, &refusal, (address, &client_id)).await;
            None
        }
    }
}

/// The client takes no packet as large as its CONNACK: it can't be told anything.
async fn turn_back<T>(broker: &Broker, admitted: Admitted, peer: SocketAddr) -> Option<T> {
    broker.counters.refused(ReasonCode::PACKET_TOO_LARGE);
    tracing::info!(%peer, "CONNECT refused: its maximum packet size is less than a CONNACK's");
    let Admitted { attached, client, .. } = admitted;
    broker.detach(&attached.session, client.connection, true);
    if let Some(will) = attached.will {
        broker.publish_will(will).await;
    }
    None
}

/// `None`: the socket closed before a CONNECT was complete.
async fn read_connect<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    size_max: usize,
) -> Option<Result<Box<Connect>, Refusal>> {
    loop {
        let frame = match next_frame(buffer, size_max) {
            Ok(Some(frame)) => frame,
            Ok(None) => match stream.read_buf(buffer).await {
                Ok(read) if read > 0 => continue,
                _ => return None,
            },
            Err(error) => return Some(Err(Refusal::from_codec(error, None))),
        };
        let version = codec::claimed_version(&frame);
        return Some(match codec::decode_connect(frame) {
            Ok(Incoming::Connect(connect)) => Ok(connect),
            Ok(_) => Err(Refusal::from_codec(CodecError::Protocol("not a CONNECT"), None)),
            Err(error) => Err(Refusal::from_codec(error, version)),
        });
    }
}

impl Refusal {
    fn from_codec(error: CodecError, version: Option<Version>) -> Self {
        let text = match error {
            CodecError::Malformed(text) | CodecError::Protocol(text) => text,
            CodecError::TooLarge => "packet too large",
            CodecError::UnsupportedVersion(_) => "this broker speaks MQTT 3.1.1 and 5.0",
        };
        let packet_size_max = usize::MAX;
        Self { version, reason: error.reason(), text, packet_size_max, will: None }
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    broker: &Broker,
    stream: &mut S,
    refusal: &Refusal,
    (peer, client_id): (SocketAddr, &str),
) {
    broker.counters.refused(refusal.reason);
    // Whatever the client has typed: escaped, and no longer than one that is taken.
    let client_id = client_id.get(..client_id.floor_char_boundary(CLIENT_ID_BYTES_MAX));
    tracing::info!(
        %peer,
        client_id = ?client_id.unwrap_or_default(),
        reason = refusal.reason.label(),
        detail = refusal.text,
        "CONNECT refused"
    );
    let is_broken =
        matches!(refusal.reason, ReasonCode::MALFORMED_PACKET | ReasonCode::PROTOCOL_ERROR);
    let Some(version) = refusal.version else {
        return;
    };
    // 3.1.1 has no return code for a broken CONNECT: the connection is closed without one.
    if version == Version::V4 && is_broken {
        return;
    }
    let connack = ConnAck {
        reason: refusal.reason,
        session_present: false,
        limits: None,
        reason_string: Some(refusal.text),
    };
    let mut bytes = BytesMut::with_capacity(64);
    write_connack(&mut bytes, version, &connack);
    if bytes.len() > refusal.packet_size_max {
        bytes.clear();
        write_connack(&mut bytes, version, &ConnAck { reason_string: None, ..connack });
    }
    if bytes.len() <= refusal.packet_size_max {
        say_last(stream, &bytes).await;
    }
}

/// Writes the last bytes of a connection and lets the client read them. Failures are its end, too.
pub(crate) async fn say_last<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) {
    let farewell = async {
        stream.write_all(bytes).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut scratch = BytesMut::with_capacity(1024);
        let mut left = LINGER_BYTES;
        while left > 0 {
            scratch.clear();
            match stream.read_buf(&mut scratch).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    let _ = timeout(LINGER, farewell).await;
}

struct Admitted {
    client: Arc<Client>,
    link: Arc<Link>,
    attached: Attached,
    terms: Terms,
    connack: ConnAck,
}

async fn admit(
    broker: &Arc<Broker>,
    mut connect: Connect,
    mut peer: Peer,
) -> Result<Admitted, Refusal> {
    let version = connect.version;
    let packet_size_max = connect.packet_size_max.map_or(usize::MAX, |size| size as usize);
    let refused = |reason, text| Refusal {
        version: Some(version),
        reason,
        text,
        packet_size_max,
        will: None,
    };
    if broker.is_stopping() {
        return Err(refused(ReasonCode::SERVER_UNAVAILABLE, "the broker is stopping"));
    }
    if peer.is_over_limit {
        return Err(refused(
            ReasonCode::QUOTA_EXCEEDED,
            "the broker has its maximum of connections",
        ));
    }
    if connect.authentication_method.is_some() {
        let text = "enhanced authentication is not offered";
        return Err(refused(ReasonCode::BAD_AUTHENTICATION_METHOD, text));
    }
    let client_id = client_id(broker, &connect)
        .map_err(|text| refused(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, text))?;
    let connection = broker.next_key();
    let attempt = ConnectAttempt {
        connection,
        client_id: client_id.clone(),
        user_name: connect.user_name.take(),
        password: connect.password.take(),
        peer: peer.address,
        certificate: peer.certificate.take(),
        allow_anonymous: peer.listener.allow_anonymous,
    };
    let identity = broker.hooks.authorizer.connect(attempt).await;
    let identity = identity.map_err(|reason| refused(reason, "not let in"))?;
    let will_topic = match &connect.will {
        None => None,
        Some(will) => Some(TopicName::new(&will.topic, broker.limits.topics).map_err(|_| {
            refused(ReasonCode::TOPIC_NAME_INVALID, "the will's topic is not a legal topic name")
        })?),
    };
    if !broker.is_for(&client_id, &identity) {
        let text = "the session of this client id is another user's";
        return Err(refused(ReasonCode::NOT_AUTHORIZED, text));
    }
    if !broker.has_room_for_session(&client_id) {
        return Err(refused(ReasonCode::QUOTA_EXCEEDED, "the broker has its maximum of sessions"));
    }
    let mut admitted =
        assemble(broker, connect, (connection, client_id, identity), will_topic, &peer);
    if let Err(will) = save(broker, &mut admitted, peer.deadline).await {
        let text = "the session could not be stored";
        return Err(Refusal { will, ..refused(ReasonCode::SERVER_UNAVAILABLE, text) });
    }
    Ok(admitted)
}

/// Waits until the session is on disk, where it is to be. `Err`: it is not in time, and the client
/// has to go; the will of the connection that it took over.
async fn save(
    broker: &Broker,
    admitted: &mut Admitted,
    deadline: Instant,
) -> Result<(), Option<SessionWill>> {
    let attached = &mut admitted.attached;
    if !attached.waits {
        return Ok(());
    }
    let (sender, saved) = oneshot::channel();
    let entry = Entry::new(std::mem::take(&mut attached.changes), Then::Tell(sender));
    let waiting = async {
        broker.offer(entry).await;
        saved.await.is_ok()
    };
    if timeout_at(deadline, waiting).await == Ok(true) {
        let mut state = attached.session.lock();
        state.is_opening &= !state.is_served_by(admitted.client.connection);
        return Ok(());
    }
    broker.detach(&attached.session, admitted.client.connection, true);
    Err(attached.will.take())
}

/// The client's own id, or one made for it where that is allowed.
fn client_id(broker: &Broker, connect: &Connect) -> Result<ClientId, &'static str> {
    let given = connect.client_id.as_str();
    if given.len() > CLIENT_ID_BYTES_MAX {
        return Err("a client id has at most 256 bytes");
    }
    if !given.is_empty() {
        return Ok(given.into());
    }
    if connect.version == Version::V4 && !connect.clean_start {
        return Err("an empty client id needs a clean session");
    }
    Ok(format!("auto-{:x}-{:x}", broker.clock.unix_micros(), broker.next_key()).into())
}

fn assemble(
    broker: &Arc<Broker>,
    connect: Connect,
    (connection, client_id, identity): (u64, ClientId, Identity),
    will_topic: Option<TopicName>,
    peer: &Peer,
) -> Admitted {
    let limits = &broker.limits;
    let version = connect.version;
    let expiry = match (version, connect.clean_start) {
        (Version::V4, true) => 0,
        _ => connect.session_expiry.min(limits.session_expiry_max),
    };
    let keep_alive = match (limits.keep_alive_max, connect.keep_alive) {
        (0, asked) => asked,
        (max, asked) if version == Version::V5 && (asked == 0 || asked > max) => max,
        (_, asked) => asked,
    };
    let link = Arc::new(Link::new(connection));
    let client = Arc::new(Client {
        connection,
        client_id: client_id.clone(),
        identity,
        version,
        peer: peer.address,
        packet_size_max: peer.listener.packet_size_max,
        clean_start: connect.clean_start,
        session_is_persistent: expiry > 0,
    });
    let now = broker.clock.unix_micros();
    let will = connect.will.zip(will_topic).map(|(mut will, topic)| {
        let message_expiry = will.properties.message_expiry.take();
        let flags: (QoS, bool) = (will.qos, will.retain);
        let payload = Bytes::copy_from_slice(&will.payload);
        let publication = Publication::new(topic, payload, flags, will.properties, now, 0);
        SessionWill {
            key: broker.next_key(),
            session: 0,
            client: client.clone(),
            publication: Arc::new(publication),
            delay: will.delay,
            message_expiry,
            due_at: None,
        }
    });
    let attached = broker.attach(&client, &link, connect.clean_start, expiry, will);
    let assigned = connect.client_id.is_empty().then_some(client_id);
    let connack = ConnAck {
        reason: ReasonCode::SUCCESS,
        session_present: attached.session_present,
        limits: Some(ServerLimits {
            assigned_client_id: assigned,
            session_expiry: (expiry != connect.session_expiry).then_some(expiry),
            receive_maximum: limits.receive_maximum,
            packet_size_max: u32::try_from(peer.listener.packet_size_max).unwrap_or(u32::MAX),
            topic_alias_max: limits.topic_alias_max,
            keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
        }),
        reason_string: None,
    };
    let terms = Terms {
        packet_size_max: connect.packet_size_max.map_or(usize::MAX, |size| size as usize),
        window: usize::from(connect.receive_maximum.min(limits.inflight_max)),
        wants_problem_information: connect.wants_problem_information,
        topic_alias_max: connect.topic_alias_max.min(limits.topic_alias_max),
        keep_alive: Duration::from_secs(u64::from(keep_alive)),
        session_expiry_asked: expiry,
    };
    Admitted { client, link, attached, terms, connack }
}
