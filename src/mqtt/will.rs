//! Wills (MQTT 5.0 §3.1.2.5): what a client wants said when it goes without a word.
//!
//! A will is published through the same authorisation and tap as any message. When: at the end of
//! the connection, or `delay` seconds later unless the session is resumed or ends before. Pure.

use std::sync::Arc;

use super::{hooks::Client, publication::Publication, publication::UnixMicros};

/// The will of a session, from CONNECT until it is published or withdrawn.
#[derive(Debug, Clone)]
pub(crate) struct SessionWill {
    pub(crate) client: Arc<Client>,
    pub(crate) publication: Arc<Publication>,
    /// Seconds between the connection's end and the will.
    pub(crate) delay: u32,
    /// Seconds that it may wait for a subscriber once published.
    pub(crate) message_expiry: Option<u32>,
    /// Set when the connection has ended.
    pub(crate) due_at: Option<UnixMicros>,
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
