//! A session (MQTT 5.0 §4.1): what the broker owes a client and what it knows of its exchanges,
//! across connections.
//!
//! Publishers push deliveries from their own tasks; the client's connection takes them out. One lock
//! guards all of a session's state and is held for moments only. A session that outlives its
//! connection is stored: its QoS 1 and 2 deliveries have rows before they get here (`plan`), and a
//! delivery is sent only when its row says that it may have been. Pure: no clock, no I/O, no task.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::{
    crowd::Crowd,
    hooks::Identity,
    inflight::{Inflight, Resumed, Stage},
    limits::Limits,
    link::Link,
    packet::{ClientId, PacketId, QoS, SubscriptionOptions},
    publication::UnixMicros,
    queue::{Budget, Delivery, Queue},
    replays::{Replay, ReplayPart, Replays},
    topic::TopicFilter,
    will::SessionWill,
};

/// Deliveries that are noted as sent ahead of their time: one write for many. After a kill those that
/// were not sent bear DUP without need.
const SENT_AHEAD: usize = 1024;

/// What became of a delivery that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Queued,
    /// QoS 0 for an absent client, who is not owed it.
    NotOwed,
    /// The queue is full.
    QueueFull,
    /// All queues together are.
    OverBudget,
    /// The session has ended.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) fate: Fate,
    /// To be woken once no lock is held.
    pub(crate) waker: Option<Waker>,
    /// Oldest messages that made place.
    pub(crate) displaced: usize,
    /// Publishers are to wait for this receiver.
    pub(crate) is_crowded: bool,
}

impl From<Fate> for Pushed {
    fn from(fate: Fate) -> Self {
        Self { fate, waker: None, displaced: 0, is_crowded: false }
    }
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Next {
    Send(Delivery),
    Resume(Resumed),
    /// First the store is to note that everything up to this position may have been sent.
    Mark(u64),
    /// Nothing waits, or the client's window is full.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Session {
    /// Tells sessions apart, in the store too; never 0.
    pub(crate) key: u64,
    pub(crate) client_id: ClientId,
    /// Who may resume or end it; an anonymous one's session anybody may.
    pub(crate) owner: Identity,
    /// The session outlives its connection and the process.
    pub(crate) is_stored: bool,
    state: Mutex<SessionState>,
}

#[derive(Debug)]
pub(crate) struct SessionState {
    /// The connection that serves the session; `None` while the client is away.
    pub(crate) link: Option<Arc<Link>>,
    /// What its newest connection has changed is on its way to the store.
    pub(crate) is_opening: bool,
    /// No longer the client's: nothing is owed by it any more.
    pub(crate) has_ended: bool,
    /// Waits to be sent. Bound: `queued_messages_max`, `queued_bytes_max`, the budget of all; full:
    /// see [`Fate`].
    queue: Queue,
    pub(crate) replays: Replays,
    pub(crate) inflight: Inflight,
    /// QoS 2 messages that the client has published and not yet released (§4.3.3, method A), and
    /// whether the store knows. Bound: the receive maximum.
    unreleased: HashMap<PacketId, bool, RandomState>,
    /// Bound: `subscriptions_max`.
    pub(crate) subscriptions: HashMap<TopicFilter, SubscriptionOptions, RandomState>,
    /// Seconds to live after the connection; `u32::MAX` is for ever.
    pub(crate) expiry: u32,
    /// Set while the client is away.
    pub(crate) expires_at: Option<UnixMicros>,
    pub(crate) will: Option<SessionWill>,
    /// When the absent client's session is looked at next.
    pub(crate) deadline: Option<UnixMicros>,
    /// The newest delivery's position.
    pub(crate) last_position: u64,
    /// Up to this position deliveries may be sent.
    pub(crate) sent_to: u64,
    /// The newest delivery that was stored as one that waits. While it does, so do those behind it:
    /// a restart takes what may have been sent before what waits.
    waiting_to: u64,
    is_marking: bool,
    crowd: Crowd,
    /// The newest mark, whether the store has it or not.
    marked_to: u64,
}

/// What a delivery that is to be stored is given.
pub(crate) struct Reserved {
    pub(crate) position: u64,
    pub(crate) packet_id: PacketId,
    /// The client is there and keeps up: it goes out as soon as it is stored.
    pub(crate) is_sent: bool,
    pub(crate) displaced: usize,
}

impl Session {
    pub(crate) fn new(
        key: u64,
        (client_id, owner): (ClientId, Identity),
        is_stored: bool,
        budget: Arc<Budget>,
    ) -> Self {
        Self { key, client_id, owner, is_stored, state: Mutex::new(SessionState::new(budget)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    pub(crate) fn is_present(&self) -> bool {
        self.state.lock().link.is_some()
    }

    /// Hands the session a message.
    pub(crate) fn push(&self, delivery: Delivery, limits: &Limits) -> Pushed {
        self.state.lock().push(delivery, limits)
    }

    /// Takes a position and a packet id for a message that is about to be stored. `None`: the session
    /// has ended, or every packet id is under way.
    ///
    /// A delivery whose row `trails` behind is queued before that is on disk: it gets a position past
    /// those that may be sent, so that it waits for its mark, which is written after the row.
    pub(crate) fn reserve(&self, trails: bool) -> Option<Reserved> {
        let mut state = self.state.lock();
        let mut displaced = 0;
        let packet_id = loop {
            if state.has_ended {
                return None;
            }
            if let Some(id) = state.inflight.reserve() {
                break id;
            }
            state.displace()?;
            displaced += 1;
        };
        if trails {
            state.last_position = state.last_position.max(state.sent_to).max(state.marked_to);
        }
        state.last_position += 1;
        let position = state.last_position;
        let keeps_up = !trails && state.link.is_some() && state.queue.len() < SENT_AHEAD;
        let is_sent = keeps_up && state.waiting_to <= state.sent_to;
        if !is_sent {
            state.waiting_to = position;
        }
        Some(Reserved { position, packet_id, is_sent, displaced })
    }

    /// Ends the session: nothing can be pushed any more.
    pub(crate) fn end(&self) -> Ended {
        let mut state = self.state.lock();
        state.has_ended = true;
        state.replays = Replays::default();
        let to_others = state.take_shared(|_| true);
        let queued = state.remove_queued(|delivery| delivery.qos != QoS::AtMostOnce).len();
        let lost = state.inflight.len() + queued;
        state.remove_queued(|_| true);
        state.inflight = Inflight::default();
        Ended { to_others, lost }
    }

    /// The client is away: what came by these shared subscriptions may go to members that are there.
    pub(crate) fn leave_to_others(&self, shared: &[TopicFilter]) -> Vec<Delivery> {
        self.state.lock().take_shared(|filter| shared.contains(filter))
    }

    /// A part of a replay is stored, or need not be: queues it.
    pub(crate) fn finish_replay(&self, part: ReplayPart) {
        let mut state = self.state.lock();
        state.replays.end_part(&part.filter, part.after);
        if state.has_ended {
            return;
        }
        for delivery in part.deliveries {
            state.queue.append(delivery);
        }
    }

    /// To be woken when there is something to send; `None` when somebody else does that.
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.state.lock().link.as_ref()?.take_waker()
    }

    /// Puts back what was queued, or under way at `stage`, before a restart.
    pub(crate) fn restore(&self, delivery: Delivery, stage: Option<Stage>) {
        let Some(stored) = &delivery.stored else {
            return;
        };
        let (position, packet_id) = (stored.position, stored.packet_id);
        let mut state = self.state.lock();
        state.last_position = state.last_position.max(position);
        match stage {
            Some(stage) => state.inflight.restore(packet_id, delivery, stage),
            None => {
                state.waiting_to = state.waiting_to.max(position);
                state.inflight.reserve_again(packet_id);
                state.queue.append(delivery);
            }
        }
    }

    /// Drops what has waited too long; how many messages those were.
    pub(crate) fn drop_older(
        &self,
        received_before: UnixMicros,
        now: UnixMicros,
    ) -> (usize, usize) {
        let mut state = self.state.lock();
        let is_old = |d: &Delivery| d.publication.received_at < received_before;
        let is_expired = |d: &Delivery| d.publication.expires_at.is_some_and(|end| end <= now);
        let expired = state.remove_queued(is_expired).len();
        let old = state.remove_queued(is_old).len();
        (expired, old)
    }
}

/// What a session leaves behind.
pub(crate) struct Ended {
    /// In order.
    pub(crate) to_others: Vec<Delivery>,
    /// QoS 1 and 2 messages that nobody gets any more.
    pub(crate) lost: usize,
}

impl SessionState {
    fn new(budget: Arc<Budget>) -> Self {
        Self {
            link: None,
            is_opening: false,
            has_ended: false,
            queue: Queue::new(budget),
            replays: Replays::default(),
            inflight: Inflight::default(),
            unreleased: HashMap::default(),
            subscriptions: HashMap::default(),
            expiry: 0,
            expires_at: None,
            will: None,
            deadline: None,
            last_position: 0,
            sent_to: 0,
            waiting_to: 0,
            is_marking: false,
            crowd: Crowd::default(),
            marked_to: 0,
        }
    }

    fn push(&mut self, delivery: Delivery, limits: &Limits) -> Pushed {
        if self.has_ended {
            return Fate::Gone.into();
        }
        if self.link.is_none() && delivery.qos == QoS::AtMostOnce {
            return Fate::NotOwed.into();
        }
        let weight = delivery.weight();
        let mut displaced = 0;
        loop {
            let is_full = self.queue.len() >= limits.queued_messages_max
                || self.queue.bytes().saturating_add(weight) > limits.queued_bytes_max;
            let is_over = !self.queue.is_within_budget(weight);
            if !is_full && !is_over {
                break;
            }
            let may_displace = delivery.qos != QoS::AtMostOnce && self.displace().is_some();
            if !may_displace {
                self.inflight.give_up(&delivery);
                let fate = if is_over { Fate::OverBudget } else { Fate::QueueFull };
                return Pushed { displaced, ..fate.into() };
            }
            displaced += 1;
        }
        self.queue.append(delivery);
        let Some(link) = &self.link else {
            return Pushed { displaced, ..Fate::Queued.into() };
        };
        let is_crowded = self.crowd.is_dense(&self.queue, limits);
        Pushed { fate: Fate::Queued, waker: link.take_waker(), displaced, is_crowded }
    }

    /// Drops the oldest queued message.
    fn displace(&mut self) -> Option<()> {
        let delivery = self.queue.pop()?;
        self.inflight.give_up(&delivery);
        Some(())
    }

    fn remove_queued(&mut self, leaves: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let removed = self.queue.remove_where(leaves);
        for delivery in &removed {
            self.inflight.give_up(delivery);
        }
        removed
    }

    /// What an absent client is not owed: QoS 0.
    pub(crate) fn forget_qos0(&mut self) {
        self.remove_queued(|delivery| delivery.qos == QoS::AtMostOnce);
    }

    /// What came by shared subscriptions and another member may have: QoS 1, and QoS 2 that was not
    /// begun ([MQTT-4.8.2-5]).
    fn take_shared(&mut self, is_concerned: impl Fn(&TopicFilter) -> bool) -> Vec<Delivery> {
        let is_shared = |d: &Delivery| d.share.as_ref().is_some_and(&is_concerned);
        let is_qos1 = |d: &Delivery, _| is_shared(d) && d.qos == QoS::AtLeastOnce;
        let mut taken = self.inflight.remove_where(is_qos1);
        let is_owed = |d: &Delivery| is_shared(d) && d.qos != QoS::AtMostOnce;
        taken.extend(self.remove_queued(is_owed));
        for delivery in &mut taken {
            delivery.stored = None;
            delivery.may_be_sent = false;
        }
        taken
    }

    /// What is to be sent next, with at most `window` QoS 1 and 2 deliveries under way.
    pub(crate) fn next(&mut self, window: usize) -> Next {
        if self.inflight.is_resuming() {
            return match self.inflight.next_resumed(window) {
                Some(resumed) => Next::Resume(resumed),
                None => Next::Nothing,
            };
        }
        let Some(head) = self.queue.front() else {
            return Next::Nothing;
        };
        if head.qos != QoS::AtMostOnce {
            if self.inflight.under_way() >= window {
                return Next::Nothing;
            }
            if let Some(stored) = &head.stored
                && !head.may_be_sent
                && stored.position > self.sent_to
            {
                if self.is_marking {
                    return Next::Nothing;
                }
                let position = stored.position.saturating_add(SENT_AHEAD as u64 - 1);
                self.is_marking = true;
                self.marked_to = self.marked_to.max(position);
                return Next::Mark(position);
            }
        }
        match self.queue.pop() {
            Some(delivery) => Next::Send(delivery),
            None => Next::Nothing,
        }
    }

    /// Publishers that waited for the queue to go down and may go on.
    pub(crate) fn disperse(&mut self, limits: &Limits) -> Vec<Waker> {
        self.crowd.disperse(&self.queue, limits)
    }

    /// Nobody is to wait for this receiver: it is gone, or slow.
    pub(crate) fn give_up_crowd(&mut self, is_slow: bool) -> Vec<Waker> {
        self.crowd.give_up(is_slow)
    }

    /// `Pending` while a publisher is to wait for this receiver.
    pub(crate) fn poll_crowd(&mut self, limits: &Limits, context: &Context<'_>) -> Poll<()> {
        match self.link {
            Some(_) => self.crowd.poll(&self.queue, limits, context),
            None => Poll::Ready(()),
        }
    }

    /// The store has noted that everything up to `position` may have been sent.
    pub(crate) fn may_send(&mut self, position: u64) -> Option<Waker> {
        self.is_marking = false;
        self.sent_to = self.sent_to.max(position);
        self.link.as_ref()?.take_waker()
    }

    /// A connection begins to serve the session.
    pub(crate) fn begin(&mut self, link: &Arc<Link>) {
        self.link = Some(link.clone());
        self.expires_at = None;
        self.inflight.resume();
    }

    /// Messages that wait in the queue, and their bytes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.bytes())
    }

    /// Whether there may be something to send.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.inflight.is_resuming() || !self.replays.is_empty()
    }

    /// The replay to be continued, where fewer than `below` messages wait.
    pub(crate) fn begin_replay_part(&mut self, below: usize) -> Option<Replay> {
        if self.queue.len() < below { self.replays.begin_part() } else { None }
    }

    pub(crate) fn give_up_marking(&mut self) {
        self.is_marking = false;
    }

    /// Notes an incoming QoS 2 message. `false`: it is known already, and not to be taken again.
    pub(crate) fn receive(&mut self, id: PacketId) -> bool {
        match self.unreleased.entry(id) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(false);
                true
            }
        }
    }

    /// The store knows of that QoS 2 message, or will.
    pub(crate) fn hold(&mut self, id: PacketId) {
        self.unreleased.insert(id, true);
    }

    /// PUBREL, or a refusal: the packet id is free again. `None`: it was not in use; else whether the
    /// store knows of it.
    pub(crate) fn release(&mut self, id: PacketId) -> Option<bool> {
        let released = self.unreleased.remove(&id);
        if self.unreleased.is_empty() && self.unreleased.capacity() > 64 {
            self.unreleased.shrink_to_fit();
        }
        released
    }

    /// QoS 2 messages that the client has not released.
    pub(crate) fn unreleased(&self) -> usize {
        self.unreleased.len()
    }

    pub(crate) fn is_served_by(&self, connection: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.connection == connection)
    }
}
