//! A message as it travels from its publisher to all of its receivers: one allocation, shared.

use bytes::Bytes;

use super::{
    packet::{PublishProperties, QoS},
    topic::TopicName,
};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type UnixMicros = i64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub topic: TopicName,
    pub payload: Bytes,
    pub qos: QoS,
    pub retain: bool,
    /// The properties that subscribers get as they came, encoded, without the length before them.
    pub forwarded: Bytes,
    /// The payload claims to be UTF-8.
    pub is_utf8: bool,
    pub received_at: UnixMicros,
    /// After this it is of no use to anybody (message expiry).
    pub expires_at: Option<UnixMicros>,
    /// The session that published it, for No Local; 0 is the broker itself.
    pub publisher: u64,
}

impl Publication {
    pub(crate) fn new(
        topic: TopicName,
        payload: Bytes,
        (qos, retain): (QoS, bool),
        properties: PublishProperties,
        received_at: UnixMicros,
        publisher: u64,
    ) -> Self {
        let expires_at = properties
            .message_expiry
            .map(|seconds| received_at.saturating_add(i64::from(seconds) * 1_000_000));
        Self {
            topic,
            payload,
            qos,
            retain,
            forwarded: properties.forwarded,
            is_utf8: properties.is_utf8,
            received_at,
            expires_at,
            publisher,
        }
    }

    /// What it weighs in a queue, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + self.forwarded.len()
    }

    /// Whole seconds left, rounded up; `None` when it does not expire, `Some(0)` when it has.
    pub(crate) fn seconds_left(&self, now: UnixMicros) -> Option<u32> {
        self.expires_at.map(|end| {
            let micros = end.saturating_sub(now).max(0);
            u32::try_from(micros.saturating_add(999_999) / 1_000_000).unwrap_or(u32::MAX)
        })
    }
}
