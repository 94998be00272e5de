//! The answer to a tapped message: routes it when it was taken, tells its connection in any case.
//!
//! A resolver answers exactly once. Dropped unanswered, it says [`Outcome::Unavailable`]: what nobody
//! vouched for counts as not stored.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::{
    hooks::Outcome,
    journal::Change,
    link::Link,
    packet::{PacketId, QoS},
    plan::Plan,
    publication::Publication,
    router::{Router, Wakes},
    session::Session,
};

pub struct Resolver {
    router: Arc<Router>,
    /// Taken when answered.
    pending: Option<Pending>,
    /// What has to be on disk before the message is acknowledged: decided once.
    plan: OnceLock<Option<Plan>>,
}

pub(crate) struct Pending {
    pub(crate) publication: Arc<Publication>,
    pub(crate) reply: Option<Reply>,
    /// The message is a will, and no longer to be said.
    pub(crate) will: Option<u64>,
}

/// Where the verdict goes.
pub(crate) struct Reply {
    pub(crate) link: Arc<Link>,
    pub(crate) session: Arc<Session>,
    pub(crate) packet_id: Option<PacketId>,
    /// The message's number within its connection.
    pub(crate) sequence: u64,
}

impl Pending {
    /// What the store is to be told of the message's sender: the will is said, or the packet id of
    /// a QoS 2 message is not to be taken again.
    fn senders_change(&self) -> Option<Change> {
        if let Some(key) = self.will {
            return Some(Change::ForgetWill { key });
        }
        let session = &self.reply.as_ref()?.session;
        if self.publication.qos != QoS::ExactlyOnce || !session.is_stored {
            return None;
        }
        let packet_id = self.reply.as_ref()?.packet_id?;
        session.lock().hold(packet_id);
        Some(Change::HoldPacketId { key: session.key, packet_id })
    }
}

impl Resolver {
    pub(crate) fn new(router: Arc<Router>, pending: Pending) -> Self {
        Self { router, pending: Some(pending), plan: OnceLock::new() }
    }

    /// What the store is to be told with the message, should it be accepted. Always the same answer.
    pub fn changes(&self) -> &[Change] {
        self.plan().map_or(&[], Plan::changes)
    }

    pub(crate) fn plan(&self) -> Option<&Plan> {
        let plan = || {
            let pending = self.pending.as_ref()?;
            self.router.plan(&pending.publication, pending.senders_change())
        };
        self.plan.get_or_init(plan).as_ref()
    }

    /// Bytes that it holds on to while it waits.
    pub(crate) fn weight(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.publication.weight())
    }

    /// Routes the message where it need not wait for the store; `Some` when it has to.
    pub(crate) fn pass(mut self, wakes: &mut Wakes) -> Option<Self> {
        let plan = {
            let pending = self.pending.as_ref()?;
            let change = || pending.senders_change();
            self.router.route_or_plan(&pending.publication, change, wakes)
        };
        match plan {
            Some(plan) => {
                self.plan = OnceLock::from(Some(plan));
                Some(self)
            }
            None => {
                self.pending = None;
                None
            }
        }
    }

    pub(crate) fn answer_in(mut self, outcome: Outcome, wakes: &mut Wakes) {
        self.answer(outcome, wakes);
    }

    fn answer(&mut self, outcome: Outcome, wakes: &mut Wakes) {
        let Some(Pending { publication, reply, will }) = self.pending.take() else {
            return;
        };
        let taken = matches!(outcome, Outcome::Accepted | Outcome::Partial(_));
        let plan = self.plan.take().flatten();
        match plan {
            Some(plan) if taken => self.router.carry_out(plan, wakes),
            _ if taken => self.router.accept(&publication, wakes),
            _ => {}
        }
        if let (Some(key), Outcome::Refused(..)) = (will, &outcome) {
            self.router.trailing.push(Change::ForgetWill { key });
        }
        let Some(reply) = reply else { return };
        if let Some(id) = reply.packet_id
            && publication.qos == QoS::ExactlyOnce
            && !taken
        {
            reply.session.lock().release(id);
        }
        if let Some(session) = wakes.crowded.take() {
            reply.link.hold_for(session);
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
