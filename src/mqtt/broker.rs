//! The broker as a whole: who is connected, which sessions live, what is published in whose name.
//!
//! Owns the sessions; a session is among them from its first connection until it ends. The rooms
//! above reach subscribers through [`Publisher`], which bypasses the tap.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    counters::Counters,
    hooks::{Authorizer, Client, Identity, Offer, PublishTap, SessionObserver, TappedMessage},
    journal::{Change, Entry, SessionStore, Then},
    limits::Limits,
    link::Link,
    packet::{PublishProperties, QoS},
    publication::{Publication, UnixMicros},
    reason::ReasonCode,
    resolver::{Pending, Resolver},
    router::{Router, Wakes},
    session::{Session, SessionState},
    sessions::Sessions,
    topic::{InvalidTopic, TopicName},
    will::SessionWill,
};
use crate::clock::Clock;

/// What the broker is built from.
pub struct Hooks {
    pub authorizer: Arc<dyn Authorizer>,
    pub tap: Arc<dyn PublishTap>,
    pub observer: Arc<dyn SessionObserver>,
    pub store: Arc<dyn SessionStore>,
}

/// Publishes in the broker's own name: presence, verdicts, alarms. What a client may not publish to.
#[derive(Clone)]
pub struct Publisher {
    router: Arc<Router>,
    clock: Clock,
    limits: Limits,
}

impl Publisher {
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let router = Arc::new(Router::new(limits.clone(), Counters::default()));
        Self { router, clock, limits }
    }

    /// Routes a message past authorisation and tap. What of it is to be stored rides in a later
    /// batch.
    ///
    /// # Errors
    /// When `topic` is not a legal topic name.
    pub fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        qos: QoS,
        retain: bool,
    ) -> Result<(), InvalidTopic> {
        let topic = TopicName::new(topic, self.limits.topics)?;
        let properties = PublishProperties::default();
        let now = self.clock.unix_micros();
        let publication = Publication::new(topic, payload, (qos, retain), properties, now, 0);
        self.router.publish_own(&Arc::new(publication), &mut Wakes::default());
        Ok(())
    }

    /// The payload that is retained for a topic.
    pub fn retained(&self, topic: &str) -> Option<Bytes> {
        self.router.retained_message(topic)
    }

    /// What the store is to be told that no acknowledgement waits for, in order; to be written before
    /// the entries that were offered since, and put back when it could not be.
    pub fn take_changes(&self) -> Vec<Change> {
        self.router.take_trailing()
    }

    pub fn put_back_changes(&self, changes: Vec<Change>) {
        self.router.trailing.put_back(changes);
    }
}

pub struct Broker {
    pub(crate) router: Arc<Router>,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(super) sessions: Mutex<Sessions>,
    pub(super) next_key: AtomicU64,
    connections: AtomicUsize,
    is_stopping: AtomicBool,
}

/// A connection's place among `connections_max`, given back when dropped.
pub(crate) struct Place<'a>(&'a Broker);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session with its connection.
pub(crate) struct Attached {
    pub(crate) session: Arc<Session>,
    pub(crate) session_present: bool,
    /// The will of the connection that was taken over, where it is due.
    pub(crate) will: Option<SessionWill>,
    /// To be on disk before the CONNACK.
    pub(crate) changes: Vec<Change>,
    /// The CONNACK waits for the store: for `changes`, or for those of an earlier connection, which
    /// may have ended a session that is stored.
    pub(crate) waits: bool,
}

impl Broker {
    /// Builds on the router of `publisher`, which rooms that the hooks belong to hold already.
    pub fn new(publisher: &Publisher, hooks: Hooks) -> Arc<Self> {
        Arc::new(Self {
            router: publisher.router.clone(),
            hooks,
            limits: publisher.limits.clone(),
            clock: publisher.clock.clone(),
            counters: publisher.router.counters.clone(),
            sessions: Mutex::default(),
            next_key: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
        })
    }

    pub(crate) fn next_key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    /// Sockets that are open, whether or not they have sent a CONNECT.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// `Err` with the place all the same when there are more than `connections_max`.
    pub(crate) fn enter(&self) -> Result<Place<'_>, Place<'_>> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        if before < self.limits.connections_max { Ok(Place(self)) } else { Err(Place(self)) }
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Whether the client's session, where it has one, is for somebody of that identity to resume.
    pub(crate) fn is_for(&self, client_id: &str, identity: &Identity) -> bool {
        let sessions = self.sessions.lock();
        let is_theirs = |session: &Arc<Session>| {
            session.owner == Identity::default() || session.owner == *identity
        };
        sessions.get(client_id).is_none_or(is_theirs)
    }

    /// Whether a session of that client fits in beside those that are.
    pub(crate) fn has_room_for_session(&self, client_id: &str) -> bool {
        let sessions = self.sessions.lock();
        sessions.len() < self.limits.sessions_max || sessions.get(client_id).is_some()
    }

    /// Gives the client's session to a connection: the one it has, unless it wants or has to begin
    /// anew. A connection that still serves the client is sent away (take-over, §3.1.4).
    pub(crate) fn attach(
        &self,
        client: &Client,
        link: &Arc<Link>,
        clean_start: bool,
        expiry: u32,
        will: Option<SessionWill>,
    ) -> Attached {
        let (client_id, owner) = (&client.client_id, &client.identity);
        let mut changes = Vec::new();
        let mut wakes = Wakes::default();
        let mut sessions = self.sessions.lock();
        let mut waits = sessions.is_ending(client_id);
        let (resumed, due) = match sessions.get(client_id).cloned() {
            None => (None, None),
            Some(earlier) => {
                let is_kept = sessions.take_from_connection(&earlier, clean_start, &mut wakes);
                waits |= earlier.lock().is_opening;
                let will = earlier.lock().will.take();
                let due = will.filter(|will| {
                    let is_due = !is_kept || will.delay == 0;
                    if !is_due {
                        changes.push(Change::ForgetWill { key: will.key });
                    }
                    is_due
                });
                if is_kept {
                    (Some(earlier), due)
                } else {
                    self.router.end(&earlier, &mut wakes);
                    if earlier.is_stored {
                        changes.push(Change::EndSession { key: earlier.key });
                    }
                    (None, due)
                }
            }
        };
        let session_present = resumed.is_some();
        let session = resumed.unwrap_or_else(|| {
            let (key, budget) = (self.next_key(), self.router.budget.clone());
            let whose = (client_id.clone(), owner.clone());
            let session = Arc::new(Session::new(key, whose, expiry > 0, budget));
            sessions.insert(&session);
            session
        });
        let key = session.key;
        if session_present && session.is_stored {
            changes.push(Change::UpdateSession { key, expiry, expires_at: None });
        } else if session.is_stored {
            let (client_id, owner) = (client_id.clone(), owner.clone());
            changes.push(Change::OpenSession { key, client_id, owner, expiry });
        }
        let will = will.map(|will| SessionWill { session: key, ..will });
        if let Some(will) = &will {
            changes.push(Change::KeepWill(Box::new(will.clone())));
        }
        waits |= !changes.is_empty();
        let mut state = session.lock();
        state.begin(link);
        state.is_opening = waits;
        state.expiry = expiry;
        state.will = will;
        drop(state);
        Attached { session, session_present, will: due, changes, waits }
    }

    /// Takes the session from a connection that ends, unless another has taken it over.
    ///
    /// Returns the will that is to be published at once.
    pub(crate) fn detach(
        &self,
        session: &Arc<Session>,
        connection: u64,
        withdraw_will: bool,
    ) -> Option<SessionWill> {
        let mut wakes = Wakes::default();
        let mut changes = Vec::new();
        let mut then = Then::Nothing;
        let mut sessions = self.sessions.lock();
        let mut state = session.lock();
        if !state.is_served_by(connection) {
            return None;
        }
        let now = self.clock.unix_micros();
        state.link = None;
        for waker in state.give_up_crowd(false) {
            wakes.push(Some(waker));
        }
        if withdraw_will && let Some(will) = state.will.take() {
            changes.push(Change::ForgetWill { key: will.key });
        }
        let due = if state.expiry == 0 {
            let due = state.will.take();
            drop(state);
            sessions.remove(session);
            self.router.end(session, &mut wakes);
            if session.is_stored {
                changes.push(Change::EndSession { key: session.key });
                then = Then::Ended(sessions.note_ending(session));
            }
            due
        } else {
            let due = self.leave(session, &mut state, now, &mut changes);
            sessions.note_deadline(session, &mut state);
            drop(state);
            self.router.hand_over(session, &mut wakes);
            due
        };
        if !changes.is_empty() {
            self.hooks.store.insist(Entry::new(changes, then));
        }
        due
    }

    /// The client of a stored session is away from `now` on.
    fn leave(
        &self,
        session: &Session,
        state: &mut SessionState,
        now: UnixMicros,
        changes: &mut Vec<Change>,
    ) -> Option<SessionWill> {
        let after = |seconds: u32| now.saturating_add(i64::from(seconds) * 1_000_000);
        state.forget_qos0();
        let expiry = state.expiry;
        state.expires_at = (expiry != u32::MAX).then(|| after(expiry));
        let (key, expires_at) = (session.key, state.expires_at);
        changes.push(Change::UpdateSession { key, expiry, expires_at });
        let will = state.will.as_mut()?;
        if will.delay == 0 {
            return state.will.take();
        }
        will.due_at = Some(after(will.delay));
        changes.push(Change::KeepWill(Box::new(will.clone())));
        None
    }

    /// Tells the store what nobody waits for, after what it was told before.
    pub(crate) fn save(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.hooks.store.insist(Entry::new(changes, Then::Nothing));
        }
    }

    /// Offers an entry until it is taken.
    pub(crate) async fn offer(&self, mut entry: Box<Entry>) {
        while let Err(back) = self.hooks.store.offer(entry) {
            entry = back;
            poll_fn(|context| self.hooks.store.poll_ready(context)).await;
        }
    }

    /// Publishes a will through authorisation, tap and store, waiting while these are full.
    pub(crate) async fn publish_will(&self, will: SessionWill) {
        let key = will.key;
        let publication = Arc::new(will.publication_at(self.clock.unix_micros()));
        let topic = publication.topic.as_str();
        if !self.hooks.authorizer.may_publish(&will.client, topic) {
            self.counters.dropped.not_authorized.increment(1);
            tracing::info!(client_id = %will.client.client_id, topic, "will not authorised");
            self.router.trailing.push(Change::ForgetWill { key });
            return;
        }
        if publication.qos == QoS::AtMostOnce {
            self.router.trailing.push(Change::ForgetWill { key });
        }
        let pending = Pending { publication: publication.clone(), reply: None, will: Some(key) };
        let resolver = Resolver::new(self.router.clone(), pending);
        let (client, packet_id) = (will.client, None);
        let mut message = TappedMessage { publication, client, packet_id, dup: false, resolver };
        loop {
            match self.hooks.tap.offer(message) {
                Offer::Taken => return,
                Offer::Pass(passed) => {
                    self.offer(Entry::of_message(passed.resolver)).await;
                    return;
                }
                Offer::Full(back) => {
                    message = back;
                    poll_fn(|context| self.hooks.tap.poll_ready(context)).await;
                }
            }
        }
    }

    /// Ends the connections of a client, where it has one.
    pub fn disconnect(&self, client_id: &str, reason: ReasonCode) {
        let session = self.sessions.lock().get(client_id).cloned();
        let waker = session.and_then(|session| session.lock().link.clone()?.request_close(reason));
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Asks every connection to acknowledge what it has received, say goodbye and end.
    pub fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let mut wakes = Wakes::default();
        for session in self.sessions.lock().all() {
            if let Some(link) = &session.lock().link {
                wakes.push(link.request_close(ReasonCode::SERVER_SHUTTING_DOWN));
            }
        }
    }

    /// Connected, for the rooms above: `client` is announced once its CONNACK is under way.
    pub(crate) fn announce(&self, client: &Arc<Client>, session_present: bool) {
        self.counters.connected(client.version);
        self.hooks.observer.connected(client, session_present);
    }
}
