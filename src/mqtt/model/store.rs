//! A store in memory: plain tables, and entries that are committed when the test says so.
//!
//! What was offered and not committed is lost by a restart. As the real one does, it writes the changes
//! that trail behind before the entries of a batch, and ignores what comes for sessions that are gone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::mqtt::{
    Change, ClientId, Completion, Entry, Identity, PacketId, Publication, Publisher, SavedDelivery,
    SavedReplay, SavedSession, SavedState, SavedSubscription, SessionStore, SessionWill,
    StoredDelivery, SubscriptionOptions, complete_all, topic::TopicFilter,
};

#[derive(Default)]
pub(super) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Box<Entry>>,
    room: usize,
    wakers: Vec<Waker>,
    tables: Tables,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Tables {
    pub(super) sessions: BTreeMap<u64, Row>,
    pub(super) messages: BTreeMap<u64, Arc<Publication>>,
    pub(super) retained: BTreeMap<String, Arc<Publication>>,
    pub(super) wills: BTreeMap<u64, SessionWill>,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    client_id: ClientId,
    owner: Identity,
    expiry: u32,
    expires_at: Option<i64>,
    sent_to: u64,
    pub(super) subscriptions: BTreeMap<String, (TopicFilter, SubscriptionOptions, SavedReplay)>,
    pub(super) queue: BTreeMap<u64, Queued>,
    pub(super) unreleased: BTreeSet<PacketId>,
}

#[derive(Debug, Clone)]
pub(super) struct Queued {
    packet_id: PacketId,
    message: u64,
    facts: crate::mqtt::DeliveryFacts,
    is_received: bool,
}

impl SessionStore for Store {
    fn offer(&self, entry: Box<Entry>) -> Result<(), Box<Entry>> {
        let mut inner = self.inner.lock();
        if inner.waiting.len() >= inner.room {
            return Err(entry);
        }
        inner.waiting.push_back(entry);
        Ok(())
    }

    fn insist(&self, entry: Box<Entry>) {
        self.inner.lock().waiting.push_back(entry);
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if inner.waiting.len() < inner.room {
            return Poll::Ready(());
        }
        inner.wakers.push(context.waker().clone());
        Poll::Pending
    }
}

impl Store {
    pub(super) fn new(tables: Tables, room: usize) -> Self {
        Self { inner: Mutex::new(Inner { tables, room, ..Inner::default() }) }
    }

    pub(super) fn set_room(&self, room: usize) {
        let mut inner = self.inner.lock();
        inner.room = room;
        inner.wakers.drain(..).for_each(Waker::wake);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    /// Commits the changes that trail behind and at most `count` entries, as one transaction.
    pub(super) fn commit(&self, publisher: &Publisher, count: usize) -> bool {
        let trailing = publisher.take_changes();
        let batch: Vec<_> = {
            let mut inner = self.inner.lock();
            let count = count.min(inner.waiting.len());
            inner.waiting.drain(..count).collect()
        };
        if trailing.is_empty() && batch.is_empty() {
            return false;
        }
        // An entry may only now decide what it wants kept: no lock is held then.
        let changes: Vec<&Change> =
            trailing.iter().chain(batch.iter().flat_map(|entry| entry.changes())).collect();
        let wakers = {
            let mut inner = self.inner.lock();
            changes.into_iter().for_each(|change| inner.tables.apply(change));
            std::mem::take(&mut inner.wakers)
        };
        complete_all(batch.into_iter().map(Completion::Entry));
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    pub(super) fn tables(&self) -> Tables {
        self.inner.lock().tables.clone()
    }
}

impl Tables {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::OpenSession { key, client_id, owner, expiry } => {
                let row = Row {
                    client_id: client_id.clone(),
                    owner: owner.clone(),
                    expiry: *expiry,
                    expires_at: None,
                    sent_to: 0,
                    subscriptions: BTreeMap::new(),
                    queue: BTreeMap::new(),
                    unreleased: BTreeSet::new(),
                };
                assert!(self.sessions.insert(*key, row).is_none(), "a session's key is used again");
            }
            Change::EndSession { key } => drop(self.sessions.remove(key)),
            Change::KeepMessage(message) => {
                let earlier = self.messages.insert(message.id, kept(&message.publication));
                assert!(earlier.is_none(), "a message's id is used again");
            }
            Change::ForgetMessage { id } => drop(self.messages.remove(id)),
            Change::Retain(message) => {
                self.retained.insert(message.topic.to_string(), kept(message));
            }
            Change::ForgetRetained(topic) => drop(self.retained.remove(topic.as_str())),
            Change::KeepWill(will) => drop(self.wills.insert(will.key, (**will).clone())),
            Change::ForgetWill { key } => drop(self.wills.remove(key)),
            Change::UpdateSession { key, .. }
            | Change::Subscribe { key, .. }
            | Change::Unsubscribe { key, .. }
            | Change::Replayed { key, .. }
            | Change::MarkSent { key, .. }
            | Change::MarkReceived { key, .. }
            | Change::Dequeue { key, .. }
            | Change::HoldPacketId { key, .. }
            | Change::ReleasePacketId { key, .. } => self.apply_to(*key, change),
            Change::Enqueue { row, .. } => self.apply_to(row.key, change),
        }
    }

    fn apply_to(&mut self, key: u64, change: &Change) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        match change {
            Change::UpdateSession { expiry, expires_at, .. } => {
                (session.expiry, session.expires_at) = (*expiry, *expires_at);
            }
            Change::Subscribe { filter, options, replays, .. } => {
                let known = session.subscriptions.remove(&filter.to_string());
                let replay = match (known, replays) {
                    (_, true) => SavedReplay::After(None),
                    (Some((_, _, earlier)), false) => earlier,
                    (None, false) => SavedReplay::Complete,
                };
                let row = (filter.clone(), *options, replay);
                session.subscriptions.insert(filter.to_string(), row);
            }
            Change::Unsubscribe { filter, .. } => {
                session.subscriptions.remove(&filter.to_string());
            }
            Change::Replayed { filter, after, .. } => {
                if let Some(row) = session.subscriptions.get_mut(&filter.to_string()) {
                    let part = |topic| SavedReplay::After(Some(topic));
                    row.2 = after.clone().map_or(SavedReplay::Complete, part);
                }
            }
            Change::Enqueue { row, delivery } => session.enqueue(row, delivery),
            Change::MarkSent { position, .. } => {
                session.sent_to = session.sent_to.max(*position);
            }
            Change::MarkReceived { position, .. } => {
                if let Some(queued) = session.queue.get_mut(position) {
                    queued.is_received = true;
                }
            }
            Change::Dequeue { position, .. } => drop(session.queue.remove(position)),
            Change::HoldPacketId { packet_id, .. } => drop(session.unreleased.insert(*packet_id)),
            Change::ReleasePacketId { packet_id, .. } => {
                session.unreleased.remove(packet_id);
            }
            _ => {}
        }
    }

    /// What a process that starts now finds: rows that hang on nothing go.
    pub(super) fn into_saved(mut self) -> (Self, SavedState) {
        let newest: HashMap<ClientId, u64> =
            self.sessions.iter().map(|(key, row)| (row.client_id.clone(), *key)).collect();
        self.sessions.retain(|key, row| newest.get(&row.client_id) == Some(key));
        let used: BTreeSet<u64> =
            self.sessions.values().flat_map(|row| row.queue.values().map(|q| q.message)).collect();
        self.messages.retain(|id, _| used.contains(id));
        let keys = self.sessions.keys().copied();
        let keys = keys.chain(self.wills.values().flat_map(|will| [will.key, will.session]));
        let state = SavedState {
            next_key: keys.max().map_or(1, |key| key + 1),
            next_message: self.messages.keys().max().map_or(1, |id| id + 1),
            sessions: self.sessions.iter().map(|(key, row)| row.saved(*key)).collect(),
            messages: self.messages.clone().into_iter().collect(),
            retained: self.retained.values().cloned().collect(),
            wills: self.wills.values().cloned().collect(),
        };
        (self, state)
    }
}

impl Row {
    fn enqueue(&mut self, row: &StoredDelivery, facts: &crate::mqtt::DeliveryFacts) {
        let (packet_id, message) = (row.packet_id, row.message.id);
        let queued = Queued { packet_id, message, facts: facts.clone(), is_received: false };
        let earlier = self.queue.insert(row.position, queued);
        assert!(earlier.is_none(), "a position is used again");
    }

    fn saved(&self, key: u64) -> SavedSession {
        let subscription = |(filter, options, replay): &(TopicFilter, _, SavedReplay)| {
            let (filter, replay) = (filter.clone(), replay.clone());
            SavedSubscription { filter, options: *options, replay }
        };
        let delivery = |(position, queued): (&u64, &Queued)| SavedDelivery {
            position: *position,
            packet_id: queued.packet_id,
            message: queued.message,
            facts: queued.facts.clone(),
            is_received: queued.is_received,
        };
        SavedSession {
            key,
            client_id: self.client_id.clone(),
            owner: self.owner.clone(),
            expiry: self.expiry,
            expires_at: self.expires_at,
            sent_to: self.sent_to,
            subscriptions: self.subscriptions.values().map(subscription).collect(),
            deliveries: self.queue.iter().map(delivery).collect(),
            unreleased: self.unreleased.iter().copied().collect(),
        }
    }
}

/// As a message comes back from disk: its publisher's session is not kept.
fn kept(publication: &Publication) -> Arc<Publication> {
    Arc::new(Publication { publisher: 0, ..publication.clone() })
}
