//! What the broker allows a client; each field says its unit and what happens past it.

use std::time::Duration;

use super::{pace::InboundRate, shared::SharedDispatch, topic::TopicLimits};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is answered 0x97 (3.1.1: 3) and closed.
    pub connections_max: usize,
    /// From accepting a socket to a complete CONNECT.
    pub connect_timeout: Duration,
    /// Bytes of a whole packet from a client; a larger one ends the connection with 0x95.
    pub packet_size_max: usize,
    /// QoS 1 and 2 messages of one client under way inwards; past it the socket waits, and a
    /// client that leaves more QoS 2 messages unreleased is sent away with 0x93.
    pub receive_maximum: u16,
    /// QoS 1 and 2 messages under way to one client at a time.
    pub inflight_max: u16,
    /// Messages waiting for one client; past it an incoming QoS 0 message is dropped, for one of QoS
    /// 1 or 2 the oldest.
    pub queued_messages_max: usize,
    /// The same in bytes of topic, properties and payload.
    pub queued_bytes_max: usize,
    /// The bytes of all clients' queues together; past it as above, and a message for a client whose
    /// own queue is empty is dropped.
    pub queued_bytes_total_max: usize,
    /// How long a message waits for an absent client; 0: as long as the session is kept.
    pub queued_age_max: Duration,
    /// What one client may publish in a second; past it its socket is not read.
    pub inbound_rate: InboundRate,
    /// Sessions, those of absent clients included; a client that would need one more is answered
    /// 0x97 (3.1.1: 3).
    pub sessions_max: usize,
    /// Who of a shared subscription's members gets a message.
    pub shared_dispatch: SharedDispatch,
    /// Seconds that a session is kept after its connection at the most.
    pub session_expiry_max: u32,
    /// Seconds; a longer keep-alive is shortened for 5.0 clients. 0: any.
    pub keep_alive_max: u16,
    /// Topic aliases of one connection.
    pub topic_alias_max: u16,
    /// Subscriptions of one session; one more is answered 0x97 (3.1.1: 0x80).
    pub subscriptions_max: usize,
    pub topics: TopicLimits,
    /// Retained messages; one more is delivered, but not retained, and counted.
    pub retained_messages_max: usize,
    /// The same in bytes.
    pub retained_bytes_max: usize,
    /// How long a socket may wait for the tap when the client has no keep-alive.
    pub stall_timeout: Duration,
}
