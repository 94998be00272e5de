//! The broker as a whole: who is connected, which sessions live, what is published in whose name.
//!
//! Owns the map of sessions; a session is in it from its first connection until it ends. The rooms
//! above reach subscribers through [`Broker::publish`], which bypasses the tap.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::{
    counters::Counters,
    hooks::{Authorizer, Client, Offer, PublishTap, SessionObserver, TappedMessage},
    limits::Limits,
    link::Link,
    packet::{ClientId, PublishProperties, QoS},
    publication::{Publication, UnixMicros},
    reason::ReasonCode,
    resolver::{Pending, Resolver},
    router::{Router, Wakes},
    session::Session,
    topic::{InvalidTopic, TopicName},
    will::SessionWill,
};
use crate::clock::Clock;

/// What the broker is built from.
pub struct Hooks {
    pub authorizer: Arc<dyn Authorizer>,
    pub tap: Arc<dyn PublishTap>,
    pub observer: Arc<dyn SessionObserver>,
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

    /// Routes a message past authorisation and tap.
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
        self.router.accept(&Arc::new(publication), &mut Wakes::default());
        Ok(())
    }
}

pub struct Broker {
    pub(crate) router: Arc<Router>,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    /// Bound: connected clients, and absent ones whose sessions have not expired.
    sessions: Mutex<HashMap<ClientId, Arc<Session>, RandomState>>,
    next_key: AtomicU64,
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
}

impl Broker {
    /// Builds on the router of `publisher`, which rooms that the hooks belong to hold already.
    pub fn new(publisher: &Publisher, hooks: Hooks) -> Arc<Self> {
        Arc::new(Self {
            router: publisher.router.clone(),
            hooks,
            limits: publisher.limits.clone(),
            clock: publisher.clock.clone(),
            counters: Counters::default(),
            sessions: Mutex::new(HashMap::with_hasher(RandomState::default())),
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

    /// Gives the client's session to a connection: the one it has, unless it wants or has to begin
    /// anew. A connection that still serves the client is sent away (take-over, §3.1.4).
    pub(crate) fn attach(
        &self,
        client_id: &ClientId,
        link: &Arc<Link>,
        clean_start: bool,
        configure: impl FnOnce(&mut super::session::SessionState),
    ) -> Attached {
        let mut sessions = self.sessions.lock();
        let earlier = sessions.get(client_id).cloned();
        let mut will = None;
        let mut resumed = None;
        if let Some(earlier) = earlier {
            let mut state = earlier.lock();
            let served_by = state.link.take();
            let was_connected = served_by.is_some();
            let waker =
                served_by.and_then(|link| link.request_close(ReasonCode::SESSION_TAKEN_OVER));
            let ends = clean_start || (was_connected && state.expiry == 0);
            will = state.will.take().filter(|will| ends || will.delay == 0);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
            if ends {
                self.router.forget(&earlier);
            } else {
                resumed = Some(earlier);
            }
        }
        let session_present = resumed.is_some();
        let session = resumed.unwrap_or_else(|| {
            let session = Arc::new(Session::new(self.next_key(), client_id.clone()));
            sessions.insert(client_id.clone(), session.clone());
            session
        });
        let mut state = session.lock();
        state.link = Some(link.clone());
        state.expires_at = None;
        configure(&mut state);
        drop(state);
        Attached { session, session_present, will }
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
        let mut sessions = self.sessions.lock();
        let mut state = session.lock();
        if !state.is_served_by(connection) {
            return None;
        }
        let now = self.clock.unix_micros();
        state.link = None;
        if withdraw_will {
            state.will = None;
        }
        if state.expiry == 0 {
            let will = state.will.take();
            drop(state);
            sessions.remove(&session.client_id);
            self.router.forget(session);
            return will;
        }
        state.forget_qos0();
        if state.expiry != u32::MAX {
            state.expires_at = Some(now.saturating_add(i64::from(state.expiry) * 1_000_000));
        }
        match state.will.as_mut() {
            Some(will) if will.delay > 0 => {
                will.due_at = Some(now.saturating_add(i64::from(will.delay) * 1_000_000));
                None
            }
            _ => state.will.take(),
        }
    }

    /// Ends sessions that have expired, publishes wills that are due. To be called once a second.
    pub async fn sweep(&self) {
        let now = self.clock.unix_micros();
        for will in self.collect_due(now) {
            self.publish_will(will).await;
        }
        let (messages, bytes) = self.router.retained();
        self.counters.retained_messages.set(messages as f64);
        self.counters.retained_bytes.set(bytes as f64);
        self.counters.subscriptions.set(self.router.subscription_count() as f64);
        self.counters.sessions.set(self.sessions.lock().len() as f64);
    }

    fn collect_due(&self, now: UnixMicros) -> Vec<SessionWill> {
        let mut wills = Vec::new();
        let mut ended = Vec::new();
        self.sessions.lock().retain(|_, session| {
            let mut state = session.lock();
            let has_expired = state.expires_at.is_some_and(|at| at <= now);
            let is_due = state.will.as_ref().and_then(|w| w.due_at).is_some_and(|at| at <= now);
            if has_expired || is_due {
                wills.extend(state.will.take());
            }
            drop(state);
            if has_expired {
                ended.push(session.clone());
            }
            !has_expired
        });
        for session in ended {
            self.router.forget(&session);
        }
        wills
    }

    /// Publishes a will through authorisation and tap, waiting while the tap is full.
    pub(crate) async fn publish_will(&self, will: SessionWill) {
        let publication = Arc::new(will.publication_at(self.clock.unix_micros()));
        let topic = publication.topic.as_str();
        if !self.hooks.authorizer.may_publish(&will.client, topic) {
            self.counters.dropped_not_authorized.increment(1);
            tracing::info!(client_id = %will.client.client_id, topic, "will not authorised");
            return;
        }
        let pending = Pending { publication: publication.clone(), reply: None };
        let mut message = TappedMessage {
            publication,
            client: will.client,
            packet_id: None,
            dup: false,
            resolver: Resolver::new(self.router.clone(), pending),
        };
        loop {
            match self.hooks.tap.offer(message) {
                Offer::Taken => return,
                Offer::Pass(passed) => return passed.resolver.pass(&mut Wakes::default()),
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
        for session in self.sessions.lock().values() {
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
