//! The packets as the broker's rooms see them, free of how they are encoded.
//!
//! `codec` is the only place that turns them into bytes and back.

use std::sync::Arc;

use bytes::Bytes;

use super::reason::ReasonCode;

/// The protocol a client speaks, by the CONNECT's protocol level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1 (level 4).
    V4,
    /// MQTT 5.0 (level 5).
    V5,
}

impl Version {
    pub fn label(self) -> &'static str {
        match self {
            Version::V4 => "3.1.1",
            Version::V5 => "5.0",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl QoS {
    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::AtMostOnce => "0",
            Self::AtLeastOnce => "1",
            Self::ExactlyOnce => "2",
        }
    }
}

/// The client's name for itself; unique among the connected.
pub type ClientId = Arc<str>;

/// Identifies a QoS 1 or 2 exchange; never 0.
pub type PacketId = std::num::NonZeroU16;

pub(super) type UserProperties = Vec<(String, String)>;

/// What a client asks for when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connect {
    pub version: Version,
    pub client_id: String,
    /// 3.1.1 clean session, 5.0 clean start.
    pub clean_start: bool,
    /// Seconds; 0 is none.
    pub keep_alive: u16,
    /// Seconds after the connection's end; `u32::MAX` is for ever. From 3.1.1: 0 or `u32::MAX`.
    pub session_expiry: u32,
    /// QoS 1 and 2 deliveries that the client takes at a time.
    pub receive_maximum: u16,
    /// Bytes; `None` is no limit.
    pub packet_size_max: Option<u32>,
    pub topic_alias_max: u16,
    /// Whether the client wants reason strings and user properties on anything but PUBLISH,
    /// CONNACK and DISCONNECT.
    pub wants_problem_information: bool,
    /// Enhanced authentication asked for, by its method.
    pub authentication_method: Option<String>,
    pub will: Option<Will>,
    pub user_name: Option<String>,
    pub password: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Will {
    pub topic: String,
    pub payload: Bytes,
    pub qos: QoS,
    pub retain: bool,
    /// Seconds between the connection's end and the will.
    pub delay: u32,
    pub properties: PublishProperties,
}

/// What a PUBLISH carries beside topic and payload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PublishProperties {
    /// The properties that subscribers get as they came: format indicator, content type, response
    /// topic, correlation data, user properties in order; encoded, without the length before them.
    pub forwarded: Bytes,
    /// The payload claims to be UTF-8 (payload format indicator 1).
    pub is_utf8: bool,
    /// Seconds that the message may wait for a subscriber.
    pub message_expiry: Option<u32>,
    pub topic_alias: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    /// Empty when the topic is given by an alias alone. Checked by the receiver, not here.
    pub topic: Bytes,
    pub payload: Bytes,
    pub qos: QoS,
    pub retain: bool,
    pub dup: bool,
    /// Present for QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    pub properties: PublishProperties,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::enum_variant_names, reason = "the specification's names")]
pub(crate) enum AckKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub kind: AckKind,
    pub packet_id: PacketId,
    pub reason: ReasonCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainHandling {
    SendOnSubscribe,
    SendIfNew,
    DoNotSend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionOptions {
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
    /// 1 to 268,435,455.
    pub identifier: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscribe {
    pub packet_id: PacketId,
    pub filters: Vec<(String, SubscriptionOptions)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsubscribe {
    pub packet_id: PacketId,
    pub filters: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disconnect {
    pub reason: ReasonCode,
    pub session_expiry: Option<u32>,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    Connect(Box<Connect>),
    Publish(Publish),
    Ack(Ack),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingReq,
    Disconnect(Disconnect),
    Auth,
}

/// The answer to CONNECT, with what a 5.0 client is told of the server's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnAck {
    pub reason: ReasonCode,
    pub session_present: bool,
    pub limits: Option<ServerLimits>,
    pub reason_string: Option<&'static str>,
}

/// The server's side of the bargain, told in the CONNACK (MQTT 5.0 §3.2.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerLimits {
    pub assigned_client_id: Option<ClientId>,
    /// Where it differs from what was asked for.
    pub session_expiry: Option<u32>,
    pub receive_maximum: u16,
    pub packet_size_max: u32,
    pub topic_alias_max: u16,
    /// Where it differs from what was asked for.
    pub keep_alive: Option<u16>,
}
