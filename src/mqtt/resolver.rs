//! The answer to a tapped message: routes it when it was taken, tells its connection in any case.
//!
//! A resolver answers exactly once. Dropped unanswered, it says [`Outcome::Unavailable`]: what nobody
//! vouched for counts as not stored.

use std::{fmt, sync::Arc};

use super::{
    hooks::Outcome,
    link::Link,
    packet::{PacketId, QoS},
    publication::Publication,
    router::{Router, Wakes},
    session::Session,
};

pub struct Resolver {
    router: Arc<Router>,
    /// Taken when answered.
    pending: Option<Pending>,
}

pub(crate) struct Pending {
    pub(crate) publication: Arc<Publication>,
    pub(crate) reply: Option<Reply>,
}

/// Where the verdict goes.
pub(crate) struct Reply {
    pub(crate) link: Arc<Link>,
    pub(crate) session: Arc<Session>,
    pub(crate) packet_id: Option<PacketId>,
    /// The message's number within its connection.
    pub(crate) sequence: u64,
}

impl Resolver {
    pub(crate) fn new(router: Arc<Router>, pending: Pending) -> Self {
        Self { router, pending: Some(pending) }
    }

    /// Answers one message.
    pub fn resolve(self, outcome: Outcome) {
        Self::resolve_all([(self, outcome)]);
    }

    /// Answers a batch in order, and wakes each connection concerned once, at the end.
    pub fn resolve_all(batch: impl IntoIterator<Item = (Self, Outcome)>) {
        let mut wakes = Wakes::default();
        for (mut resolver, outcome) in batch {
            resolver.answer(outcome, &mut wakes);
        }
    }

    /// Routes the message and gives up the right to answer: its connection does so itself.
    pub(crate) fn pass(mut self, wakes: &mut Wakes) {
        if let Some(pending) = self.pending.take() {
            self.router.accept(&pending.publication, wakes);
        }
    }

    fn answer(&mut self, outcome: Outcome, wakes: &mut Wakes) {
        let Some(Pending { publication, reply }) = self.pending.take() else {
            return;
        };
        let taken = matches!(outcome, Outcome::Accepted | Outcome::Partial(_));
        if taken {
            self.router.accept(&publication, wakes);
        }
        let Some(reply) = reply else { return };
        if let Some(id) = reply.packet_id
            && publication.qos == QoS::ExactlyOnce
            && !taken
        {
            reply.session.lock().release(id);
        }
        wakes.push(reply.link.push_verdict(reply.sequence, outcome));
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.answer(Outcome::Unavailable, &mut Wakes::default());
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("is_pending", &self.pending.is_some()).finish()
    }
}
