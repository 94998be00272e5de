//! Wills (MQTT 5.0 §3.1.2.5): what a client wants said when it goes without a word.
//!
//! A will is published through the same authorisation, tap and store as any message. When: at the end
//! of the connection, or `delay` seconds later unless the session is resumed or ends before. It is on
//! disk from CONNECT on, so that a killed process says it at its next start. Pure.

use std::sync::Arc;

use super::{hooks::Client, publication::Publication, publication::UnixMicros};

/// The will of a session, from CONNECT until it is published or withdrawn.
#[derive(Debug, Clone)]
pub struct SessionWill {
    /// Names it in the store.
    pub key: u64,
    /// The session's.
    pub session: u64,
    pub client: Arc<Client>,
    pub publication: Arc<Publication>,
    /// Seconds between the connection's end and the will.
    pub delay: u32,
    /// Seconds that it may wait for a subscriber once published.
    pub message_expiry: Option<u32>,
    /// Set when the connection has ended.
    pub due_at: Option<UnixMicros>,
}

impl SessionWill {
    /// The message as it is published at `now`.
    pub(crate) fn publication_at(&self, now: UnixMicros) -> Publication {
        Publication {
            received_at: now,
            expires_at: self
                .message_expiry
                .map(|seconds| now.saturating_add(i64::from(seconds) * 1_000_000)),
            ..Publication::clone(&self.publication)
        }
    }
}
