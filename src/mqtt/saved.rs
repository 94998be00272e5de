//! What the store kept of the broker's state, on its way back into memory at start.
//!
//! What was under way when the process ended is taken for sent: it is sent again with the same packet
//! id and DUP. A session whose client was connected is taken to have been left at the restart.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use super::{
    broker::Broker,
    hooks::Identity,
    inflight::Stage,
    journal::{Change, DeliveryFacts, StoredDelivery, StoredMessage},
    packet::{ClientId, PacketId, SubscriptionOptions},
    publication::{Publication, UnixMicros},
    queue::Delivery,
    session::Session,
    subscribing,
    topic::{TopicFilter, TopicName},
    will::SessionWill,
};

/// Everything that the store kept.
#[derive(Debug, Default)]
pub struct SavedState {
    pub sessions: Vec<SavedSession>,
    pub messages: HashMap<u64, Arc<Publication>>,
    pub retained: Vec<Arc<Publication>>,
    pub wills: Vec<SessionWill>,
    /// Above every key that was ever used.
    pub next_key: u64,
    /// Above every message's id.
    pub next_message: u64,
}

#[derive(Debug)]
pub struct SavedSession {
    pub key: u64,
    pub client_id: ClientId,
    pub owner: Identity,
    pub expiry: u32,
    /// `None` while the client was connected.
    pub expires_at: Option<UnixMicros>,
    pub sent_to: u64,
    pub subscriptions: Vec<SavedSubscription>,
    /// In order of position.
    pub deliveries: Vec<SavedDelivery>,
    pub unreleased: Vec<PacketId>,
}

#[derive(Debug)]
pub struct SavedSubscription {
    pub filter: TopicFilter,
    pub options: SubscriptionOptions,
    pub replay: SavedReplay,
}

/// How far the retained messages of a subscription have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedReplay {
    Complete,
    /// Up to this topic; `None`: not one.
    After(Option<TopicName>),
}

#[derive(Debug)]
pub struct SavedDelivery {
    pub position: u64,
    pub packet_id: PacketId,
    pub message: u64,
    pub facts: DeliveryFacts,
    /// The client has the message, and is to release it.
    pub is_received: bool,
}

impl Broker {
    /// Puts back what the store kept. To be called once, before anybody connects.
    pub fn restore(&self, saved: SavedState) {
        let now = self.clock.unix_micros();
        self.next_key.fetch_max(saved.next_key, Ordering::Relaxed);
        self.router.continue_messages_from(saved.next_message);
        for message in &saved.retained {
            self.router.restore_retained(message);
        }
        let trailing = &self.router.trailing;
        let messages: HashMap<u64, Arc<StoredMessage>> = saved
            .messages
            .into_iter()
            .map(|(id, publication)| (id, Arc::new(StoredMessage::new(id, publication, trailing))))
            .collect();
        let mut wills: HashMap<u64, SessionWill> = HashMap::new();
        for will in saved.wills {
            wills.insert(will.session, will);
        }
        for session in saved.sessions {
            let will = wills.remove(&session.key);
            self.restore_session(session, will, &messages, now);
        }
        self.sessions.lock().orphaned_wills = wills.into_values().collect();
    }

    fn restore_session(
        &self,
        saved: SavedSession,
        mut will: Option<SessionWill>,
        messages: &HashMap<u64, Arc<StoredMessage>>,
        now: UnixMicros,
    ) {
        let after = |seconds: u32| now.saturating_add(i64::from(seconds) * 1_000_000);
        let (key, expiry) = (saved.key, saved.expiry);
        let was_connected = saved.expires_at.is_none() && expiry != u32::MAX;
        let expires_at = if was_connected { Some(after(expiry)) } else { saved.expires_at };
        if was_connected {
            let change = Change::UpdateSession { key, expiry, expires_at };
            self.router.trailing.push(change);
        }
        if let Some(will) = &mut will
            && will.due_at.is_none()
        {
            will.due_at = Some(after(will.delay));
        }
        let budget = self.router.budget.clone();
        let session = Arc::new(Session::new(key, (saved.client_id, saved.owner), true, budget));
        {
            let mut state = session.lock();
            (state.expiry, state.expires_at, state.will) = (expiry, expires_at, will);
            state.sent_to = saved.sent_to;
            for id in saved.unreleased {
                state.hold(id);
            }
            for subscription in &saved.subscriptions {
                let (filter, options) = (&subscription.filter, subscription.options);
                state.subscriptions.insert(filter.clone(), options);
                if let SavedReplay::After(after) = &subscription.replay {
                    state.replays.begin(subscribing::replay(filter, options, after.clone()));
                }
            }
        }
        for delivery in saved.deliveries {
            restore_delivery(&session, delivery, saved.sent_to, messages);
        }
        for subscription in saved.subscriptions {
            self.router.enter(&session, &subscription.filter, subscription.options);
        }
        let mut sessions = self.sessions.lock();
        sessions.insert(&session);
        sessions.note_deadline(&session, &mut session.lock());
    }
}

fn restore_delivery(
    session: &Session,
    saved: SavedDelivery,
    sent_to: u64,
    messages: &HashMap<u64, Arc<StoredMessage>>,
) {
    let Some(message) = messages.get(&saved.message) else {
        return;
    };
    let SavedDelivery { position, packet_id, facts, is_received, .. } = saved;
    let row = StoredDelivery { key: session.key, position, packet_id, message: message.clone() };
    let is_sent = facts.is_sent || position <= sent_to;
    let delivery = Delivery {
        publication: message.publication.clone(),
        qos: facts.qos,
        retain: facts.retain,
        identifiers: facts.identifiers,
        share: facts.share,
        stored: Some(Arc::new(row)),
        may_be_sent: is_sent,
    };
    let stage = match (is_received, is_sent) {
        (true, _) => Some(Stage::Released),
        (false, true) => Some(Stage::Published),
        (false, false) => None,
    };
    session.restore(delivery, stage);
}
