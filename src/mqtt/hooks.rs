//! What the broker is handed at construction: who may do what, who takes published messages before
//! they are routed, and who hears of sessions coming and going.
//!
//! The broker knows nothing of devices, readings or SQL; these traits are all it sees of them.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{
    packet::{ClientId, PacketId, QoS, UserProperties, Version},
    publication::Publication,
    reason::ReasonCode,
    resolver::Resolver,
};
use crate::tls::CertificateSubject;

/// A login before it is believed.
#[derive(Debug, Clone)]
pub struct ConnectAttempt {
    /// The number that the connection is going to have, higher than those of attempts that were
    /// asked about before.
    pub connection: u64,
    pub client_id: ClientId,
    pub user_name: Option<String>,
    pub password: Option<Bytes>,
    pub peer: SocketAddr,
    /// Of the client's certificate, verified against the listener's authorities.
    pub certificate: Option<CertificateSubject>,
    /// Whether the listener lets in clients without credentials.
    pub allow_anonymous: bool,
}

/// Who a connection turned out to be. `None` is anonymous; never taken from the client id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity(pub Option<Arc<str>>);

/// One connection, as the rooms above see it. Lives as long as any message of it does.
#[derive(Debug)]
pub struct Client {
    /// Unique within the process.
    pub connection: u64,
    pub client_id: ClientId,
    pub identity: Identity,
    pub version: Version,
    pub peer: SocketAddr,
    /// Bytes of the largest packet that its listener takes.
    pub packet_size_max: usize,
    /// The client began anew: packet ids of earlier connections mean nothing.
    pub clean_start: bool,
    /// The session outlives the connection, so a packet id means something after a reconnect.
    pub session_is_persistent: bool,
}

/// Who may connect, publish and subscribe.
pub trait Authorizer: Send + Sync {
    /// `Err`: `BAD_USER_NAME_OR_PASSWORD`, `NOT_AUTHORIZED` or another CONNACK reason.
    fn connect(&self, attempt: ConnectAttempt) -> BoxFuture<'_, Result<Identity, ReasonCode>>;
    fn may_publish(&self, client: &Client, topic: &str) -> bool;
    /// Whether a subscription is granted. `filter` is without the `$share/NAME/` of a shared one.
    /// One that matches topics that the client may not receive can be granted all the same, where
    /// [`Self::filters_deliveries`] says so.
    fn may_subscribe(&self, client: &Client, filter: &str) -> bool;
    /// Whether [`Self::may_receive`] is to be asked for each delivery to this client; constant for a
    /// connection.
    fn filters_deliveries(&self, client: &Client) -> bool;
    /// Whether a message on `topic` may be delivered to the client, whichever of its subscriptions
    /// it matches.
    fn may_receive(&self, client: &Client, topic: &str) -> bool;
}

/// What became of a message that the tap took.
///
/// The default, and what a dropped [`Resolver`] says, is `Unavailable`: silence can't be mistaken
/// for a stored message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Outcome {
    /// Taken in full: routed, acknowledged.
    Accepted,
    /// Taken in part: routed, acknowledged with an explanation for those who understand it.
    Partial(Explanation),
    /// Not taken, and a resend would not help: not routed, acknowledged with this error.
    Refused(ReasonCode, Explanation),
    /// Not taken, a resend may help: not routed, not acknowledged; the connection is closed.
    #[default]
    Unavailable,
}

/// Reason string and user properties of an acknowledgement (MQTT 5.0 §3.4.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    pub reason_string: Option<String>,
    pub user_properties: UserProperties,
}

/// A message on its way through the tap, with the means to answer it.
#[derive(Debug)]
pub struct TappedMessage {
    pub publication: Arc<Publication>,
    pub client: Arc<Client>,
    /// `None` for QoS 0 and for a will.
    pub packet_id: Option<PacketId>,
    pub dup: bool,
    pub resolver: Resolver,
}

impl TappedMessage {
    pub fn qos(&self) -> QoS {
        self.publication.qos
    }
}

/// The tap's answer to an offered message.
#[derive(Debug)]
pub enum Offer {
    /// Not for the tap: to be routed and acknowledged at once.
    Pass(TappedMessage),
    /// The tap has it and will resolve it.
    Taken,
    /// The tap's queue is full: offer it again once `poll_ready` says so.
    Full(TappedMessage),
}

/// Takes what must be stored before it is routed and acknowledged.
pub trait PublishTap: Send + Sync {
    fn offer(&self, message: TappedMessage) -> Offer;
    /// Ready when an offer has a chance; else the task is woken when it does.
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()>;
}

/// Hears of connections coming and going, in order for each connection.
pub trait SessionObserver: Send + Sync {
    /// `session_present`: an earlier session goes on.
    fn connected(&self, client: &Arc<Client>, session_present: bool);
    fn disconnected(&self, client: &Arc<Client>, reason: ReasonCode);
}
