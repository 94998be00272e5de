//! From a published message to the queues of those who subscribed to it.
//!
//! Runs in the publisher's task: matches under a read lock, pushes to each session, and collects the
//! wakers to be woken when no lock is held. A slow receiver costs the publisher nothing but a push.
//! Pure: no clock, no I/O, no task.

use std::{sync::Arc, task::Waker};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{
    counters::Counters,
    limits::Limits,
    packet::{QoS, RetainHandling, SubscriptionOptions},
    publication::{Publication, UnixMicros},
    retained::{Retained, Retention},
    session::{Delivery, Pushed, Session},
    subscriptions::{Subscriber, SubscriptionTree},
    topic::TopicFilter,
};

#[derive(Debug)]
pub(crate) struct Router {
    subscriptions: RwLock<SubscriptionTree<Arc<Session>>>,
    retained: Mutex<Retained>,
    limits: Limits,
    counters: Counters,
}

/// Tasks to wake; woken when dropped, so outside every lock and once for many messages.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Vec<Waker>);

impl Wakes {
    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    pub(crate) fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.wake();
    }
}

type Found<'a> = &'a Subscriber<Arc<Session>>;

impl Router {
    pub(crate) fn new(limits: Limits, counters: Counters) -> Self {
        Self {
            subscriptions: RwLock::default(),
            retained: Mutex::new(Retained::new(
                limits.retained_messages_max,
                limits.retained_bytes_max,
            )),
            limits,
            counters,
        }
    }

    /// Takes an authorised message that need wait for nobody any more: retains it where it asks for
    /// that, and routes it.
    pub(crate) fn accept(&self, publication: &Arc<Publication>, wakes: &mut Wakes) {
        if publication.retain {
            let retention = self.retained.lock().set(&detached(publication));
            if retention == Retention::Full {
                self.counters.dropped_retained_full.increment(1);
            }
        }
        self.route(publication, wakes);
    }

    fn route(&self, publication: &Arc<Publication>, wakes: &mut Wakes) {
        let subscriptions = self.subscriptions.read();
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut may_overlap = false;
        subscriptions.for_each_match(publication.topic.as_str(), |leaf| {
            may_overlap |= !found.is_empty() || !leaf.groups.is_empty();
            found.extend(leaf.plain.iter());
            let chosen =
                leaf.groups.iter().filter_map(|group| group.choose(|session| session.is_present()));
            found.extend(chosen);
        });
        // A session may stand in several leaves, or in a leaf and its groups: it gets one message.
        if may_overlap {
            found.sort_by_key(|subscriber| subscriber.key);
        }
        let mut kept = Kept::default();
        for same in found.chunk_by(|a, b| a.key == b.key) {
            self.push(publication, same, &mut kept, wakes);
        }
    }

    fn push(
        &self,
        publication: &Arc<Publication>,
        subscribers: &[Found<'_>],
        kept: &mut Kept,
        wakes: &mut Wakes,
    ) {
        let hears = |s: &&Found<'_>| !(s.options.no_local && s.key == publication.publisher);
        let mut heard = subscribers.iter().filter(hears);
        let Some(first) = heard.next() else { return };
        let rest = heard;
        let mut granted = first.options.qos;
        let mut retain_as_published = first.options.retain_as_published;
        let mut identifiers: Vec<u32> = first.options.identifier.into_iter().collect();
        for other in rest {
            granted = granted.max(other.options.qos);
            retain_as_published |= other.options.retain_as_published;
            identifiers.extend(other.options.identifier);
        }
        let qos = publication.qos.min(granted);
        let publication = if qos != QoS::AtMostOnce && !first.session.is_present() {
            kept.detached(publication)
        } else {
            publication.clone()
        };
        let retain = publication.retain && retain_as_published;
        let identifiers = (!identifiers.is_empty()).then(|| identifiers.into_boxed_slice());
        let delivery = Delivery { publication, qos, retain, identifiers };
        match first.session.push(delivery, &self.limits) {
            Pushed::Queued(waker) => wakes.push(waker),
            Pushed::NotOwed => {}
            Pushed::Dropped => self.counters.dropped_queue_full.increment(1),
            Pushed::Displaced => self.counters.dropped_oldest.increment(1),
            Pushed::Overflow(waker) => {
                self.counters.dropped_overflow.increment(1);
                wakes.push(waker);
            }
        }
    }

    /// Makes or renews a subscription, and queues the retained messages that it asks for.
    ///
    /// `false`: the session has as many subscriptions as it may have.
    pub(crate) fn subscribe(
        &self,
        session: &Arc<Session>,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        now: UnixMicros,
    ) -> bool {
        let is_known = {
            let mut state = session.lock();
            let is_known = state.subscriptions.contains_key(filter);
            if !is_known && state.subscriptions.len() >= self.limits.subscriptions_max {
                return false;
            }
            state.subscriptions.insert(filter.clone(), options);
            is_known
        };
        let subscriber = Subscriber { key: session.key, session: session.clone(), options };
        self.subscriptions.write().insert(filter, subscriber);
        let wants_retained = match options.retain_handling {
            RetainHandling::SendOnSubscribe => true,
            RetainHandling::SendIfNew => !is_known,
            RetainHandling::DoNotSend => false,
        };
        if wants_retained && filter.share_name().is_none() {
            let messages = self.retained.lock().matching(filter.as_str(), now);
            let deliveries = messages.into_iter().map(|publication| Delivery {
                qos: publication.qos.min(options.qos),
                publication,
                retain: true,
                identifiers: options.identifier.map(|identifier| Box::from([identifier])),
            });
            session.lock().replay(deliveries);
        }
        true
    }

    /// `false`: there was no such subscription.
    pub(crate) fn unsubscribe(&self, session: &Session, filter: &TopicFilter) -> bool {
        session.lock().subscriptions.remove(filter);
        self.subscriptions.write().remove(filter, session.key)
    }

    /// Ends all of a session's subscriptions.
    pub(crate) fn forget(&self, session: &Session) {
        let filters = std::mem::take(&mut session.lock().subscriptions);
        if filters.is_empty() {
            return;
        }
        let mut subscriptions = self.subscriptions.write();
        for filter in filters.keys() {
            subscriptions.remove(filter, session.key);
        }
    }

    pub(crate) fn subscription_count(&self) -> usize {
        self.subscriptions.read().len()
    }

    /// Retained messages and their bytes.
    pub(crate) fn retained(&self) -> (usize, usize) {
        let retained = self.retained.lock();
        (retained.count(), retained.bytes())
    }
}

/// One copy, for all absent receivers of a message, that does not hold on to the read buffer that
/// the message came in.
#[derive(Default)]
struct Kept(Option<Arc<Publication>>);

impl Kept {
    fn detached(&mut self, publication: &Arc<Publication>) -> Arc<Publication> {
        self.0.get_or_insert_with(|| detached(publication)).clone()
    }
}

fn detached(publication: &Arc<Publication>) -> Arc<Publication> {
    Arc::new(Publication {
        payload: Bytes::copy_from_slice(&publication.payload),
        forwarded: Bytes::copy_from_slice(&publication.forwarded),
        ..Publication::clone(publication)
    })
}
