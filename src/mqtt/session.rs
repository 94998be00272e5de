//! A session (MQTT 5.0 §4.1): what the broker owes a client and what it knows of its exchanges,
//! across connections.
//!
//! Publishers push deliveries from their own tasks; the client's connection takes them out. One lock
//! guards all of a session's state and is held for moments only. Pure: no clock, no I/O, no task.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    task::Waker,
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::{
    inflight::Inflight,
    limits::Limits,
    link::Link,
    packet::{ClientId, PacketId, QoS, SubscriptionOptions},
    publication::{Publication, UnixMicros},
    reason::ReasonCode,
    topic::TopicFilter,
    will::SessionWill,
};

/// One message on its way to one client.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) publication: Arc<Publication>,
    /// The lower of the publication's and the subscription's.
    pub(crate) qos: QoS,
    /// The RETAIN flag as this client is to see it.
    pub(crate) retain: bool,
    /// Identifiers of the subscriptions that matched.
    pub(crate) identifiers: Option<Box<[u32]>>,
}

/// What became of a delivery that was pushed.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// Queued; the waker, if any, is to be woken once no lock is held.
    Queued(Option<Waker>),
    /// QoS 0 for an absent client, who is not owed it.
    NotOwed,
    /// The queue is full: a QoS 0 message is dropped.
    Dropped,
    /// The queue is full: the connection was told to end with 0x97.
    Overflow(Option<Waker>),
    /// The queue of an absent client is full: its oldest message made place.
    Displaced,
}

#[derive(Debug)]
pub(crate) struct Session {
    /// Tells sessions apart within the process; never 0.
    pub(crate) key: u64,
    pub(crate) client_id: ClientId,
    state: Mutex<SessionState>,
}

#[derive(Debug, Default)]
pub(crate) struct SessionState {
    /// The connection that serves the session; `None` while the client is away.
    pub(crate) link: Option<Arc<Link>>,
    /// Waits to be sent. Bound: `queued_messages_max`, `queued_bytes_max`; full: see [`Pushed`].
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
    /// Retained messages for a subscription just made, sent before `queue`. Bound: what is retained.
    replay: VecDeque<Delivery>,
    pub(crate) inflight: Inflight,
    /// QoS 2 messages that the client has published and not yet released (§4.3.3, method A).
    unreleased: HashSet<PacketId, RandomState>,
    /// Bound: `subscriptions_max`.
    pub(crate) subscriptions: HashMap<TopicFilter, SubscriptionOptions, RandomState>,
    /// Seconds to live after the connection; `u32::MAX` is for ever.
    pub(crate) expiry: u32,
    /// Set while the client is away.
    pub(crate) expires_at: Option<UnixMicros>,
    pub(crate) will: Option<SessionWill>,
}

impl Session {
    pub(crate) fn new(key: u64, client_id: ClientId) -> Self {
        Self { key, client_id, state: Mutex::new(SessionState::default()) }
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
}

impl SessionState {
    fn push(&mut self, delivery: Delivery, limits: &Limits) -> Pushed {
        let weight = delivery.publication.weight();
        let is_full = self.queue.len() >= limits.queued_messages_max
            || self.queued_bytes.saturating_add(weight) > limits.queued_bytes_max;
        let link = match (&self.link, delivery.qos) {
            (None, QoS::AtMostOnce) => return Pushed::NotOwed,
            (Some(_), QoS::AtMostOnce) if is_full => return Pushed::Dropped,
            (Some(link), _) if is_full => {
                return Pushed::Overflow(link.request_close(ReasonCode::QUOTA_EXCEEDED));
            }
            (link, _) => link.clone(),
        };
        let mut displaced = false;
        while link.is_none()
            && (self.queue.len() >= limits.queued_messages_max
                || self.queued_bytes.saturating_add(weight) > limits.queued_bytes_max)
            && self.pop().is_some()
        {
            displaced = true;
        }
        self.queued_bytes += weight;
        self.queue.push_back(delivery);
        match link {
            Some(link) => Pushed::Queued(link.take_waker()),
            None if displaced => Pushed::Displaced,
            None => Pushed::Queued(None),
        }
    }

    /// Retained messages for a subscription just made.
    pub(crate) fn replay(&mut self, deliveries: impl Iterator<Item = Delivery>) {
        self.replay.extend(deliveries);
    }

    /// The next message to send; QoS 1 and 2 only while fewer than `window` are under way.
    pub(crate) fn next(&mut self, window: usize) -> Option<Delivery> {
        let from_replay = !self.replay.is_empty();
        let head = if from_replay { self.replay.front() } else { self.queue.front() }?;
        if head.qos != QoS::AtMostOnce && self.inflight.len() >= window {
            return None;
        }
        if !from_replay {
            return self.pop();
        }
        let delivery = self.replay.pop_front();
        if self.replay.is_empty() {
            self.replay = VecDeque::new();
        }
        delivery
    }

    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        self.queued_bytes -= delivery.publication.weight();
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            self.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// Messages that wait, retained ones included.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.replay.len()
    }

    /// What an absent client is not owed: QoS 0.
    pub(crate) fn forget_qos0(&mut self) {
        self.replay = VecDeque::new();
        self.queue.retain(|delivery| delivery.qos != QoS::AtMostOnce);
        self.queued_bytes = self.queue.iter().map(|d| d.publication.weight()).sum();
    }

    /// Notes an incoming QoS 2 message. `false`: it is known already, and not to be taken again.
    pub(crate) fn receive(&mut self, id: PacketId) -> bool {
        self.unreleased.insert(id)
    }

    /// PUBREL, or a refusal: the packet id is free again. `false`: it was not in use.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
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
