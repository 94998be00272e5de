//! From a published message to the queues of those who subscribed to it.
//!
//! Runs in the publisher's task: matches under a read lock, pushes to each session, and collects the
//! wakers to be woken when no lock is held. A slow receiver costs the publisher nothing but a push.
//! What a stored session is owed is planned first and carried out once it is on disk. Pure: no clock,
//! no I/O, no task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{
    counters::Counters,
    journal::{Change, DeliveryFacts, StoredDelivery, StoredMessage, Trailing},
    limits::Limits,
    packet::QoS,
    plan::Plan,
    publication::{Publication, UnixMicros},
    queue::{Budget, Delivery},
    retained::{Retained, Retention},
    session::{Fate, Session},
    subscriptions::{Subscriber, SubscriptionTree},
    topic::TopicFilter,
};

#[derive(Debug)]
pub(crate) struct Router {
    pub(super) subscriptions: RwLock<SubscriptionTree<Arc<Session>>>,
    pub(super) retained: Mutex<Retained>,
    pub(crate) trailing: Arc<Trailing>,
    pub(crate) budget: Arc<Budget>,
    next_message: AtomicU64,
    pub(super) limits: Limits,
    pub(crate) counters: Counters,
}

/// Tasks to wake; woken when dropped, so outside every lock and once for many messages.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    wakers: Vec<Waker>,
    /// A receiver that is to be waited for.
    pub(crate) crowded: Option<Arc<Session>>,
}

impl Wakes {
    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    pub(crate) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.wake();
    }
}

type Found<'a> = &'a Subscriber<Arc<Session>>;

/// One receiver of a message, with what it gets.
struct Target<'a> {
    session: &'a Arc<Session>,
    qos: QoS,
    retain: bool,
    identifiers: Option<Box<[u32]>>,
    share: Option<&'a TopicFilter>,
}

impl Target<'_> {
    fn is_owed(&self) -> bool {
        self.session.is_stored && self.qos != QoS::AtMostOnce
    }

    fn delivery(&self, publication: &Arc<Publication>) -> Delivery {
        Delivery {
            publication: publication.clone(),
            qos: self.qos,
            retain: self.retain,
            identifiers: self.identifiers.clone(),
            share: self.share.cloned(),
            stored: None,
            may_be_sent: false,
        }
    }
}

impl Router {
    pub(crate) fn new(limits: Limits, counters: Counters) -> Self {
        Self {
            subscriptions: RwLock::default(),
            retained: Mutex::new(Retained::new(
                limits.retained_messages_max,
                limits.retained_bytes_max,
            )),
            trailing: Arc::default(),
            budget: Arc::new(Budget::new(limits.queued_bytes_total_max)),
            next_message: AtomicU64::new(1),
            limits,
            counters,
        }
    }

    /// Takes an authorised message: routes it at once, or, where something of it has to be on disk
    /// before it is acknowledged, says what; with it goes what is to be told of its sender.
    pub(crate) fn route_or_plan(
        &self,
        publication: &Arc<Publication>,
        senders_change: impl FnOnce() -> Option<Change>,
        wakes: &mut Wakes,
    ) -> Option<Plan> {
        let subscriptions = self.subscriptions.read();
        let targets = self.targets(&subscriptions, publication);
        let is_acknowledged = publication.qos != QoS::AtMostOnce;
        if is_acknowledged && (publication.retain || targets.iter().any(Target::is_owed)) {
            return Some(self.plan_for(publication, &targets, senders_change()));
        }
        self.push_all(publication, &targets, wakes);
        drop(targets);
        drop(subscriptions);
        self.retain_unsaved(publication);
        None
    }

    /// What has to be on disk before the message is acknowledged; `None` when nothing has to.
    pub(crate) fn plan(
        &self,
        publication: &Arc<Publication>,
        senders_change: Option<Change>,
    ) -> Option<Plan> {
        if publication.qos == QoS::AtMostOnce {
            return None;
        }
        let subscriptions = self.subscriptions.read();
        let targets = self.targets(&subscriptions, publication);
        let has_to =
            senders_change.is_some() || publication.retain || targets.iter().any(Target::is_owed);
        has_to.then(|| self.plan_for(publication, &targets, senders_change))
    }

    /// Takes an authorised message that need wait for nobody: retains it where it asks for that, and
    /// routes it.
    pub(crate) fn accept(&self, publication: &Arc<Publication>, wakes: &mut Wakes) {
        let subscriptions = self.subscriptions.read();
        let targets = self.targets(&subscriptions, publication);
        self.push_all(publication, &targets, wakes);
        drop(targets);
        drop(subscriptions);
        self.retain_unsaved(publication);
    }

    /// Carries out a plan whose changes are on disk.
    pub(crate) fn carry_out(&self, mut plan: Plan, wakes: &mut Wakes) {
        if plan.publication.retain {
            self.retain_saved(&plan.publication);
        }
        for (session, delivery) in std::mem::take(&mut plan.deliveries) {
            self.push(&session, delivery, wakes);
        }
    }

    /// Routes a message of the broker's own, whose changes may trail behind.
    pub(crate) fn publish_own(&self, publication: &Arc<Publication>, wakes: &mut Wakes) {
        if let Some(mut plan) = self.route_or_plan(publication, || None, wakes) {
            self.trailing.extend(std::mem::take(&mut plan.changes));
            self.carry_out(plan, wakes);
        }
    }

    fn targets<'a>(
        &self,
        subscriptions: &'a SubscriptionTree<Arc<Session>>,
        publication: &Publication,
    ) -> Vec<Target<'a>> {
        let topic = publication.topic.as_str();
        let hears = |s: &Found<'_>| !(s.options.no_local && s.key == publication.publisher);
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut targets = Vec::new();
        let mut leaves = 0;
        subscriptions.for_each_match(topic, |leaf| {
            leaves += 1;
            found.extend(leaf.plain.iter().filter(hears));
            for group in &leaf.groups {
                let dispatch = self.limits.shared_dispatch;
                if let Some(member) = group.choose(dispatch, topic, |s| s.is_present()) {
                    targets.extend(target(publication, &[member], Some(&group.filter)));
                }
            }
        });
        // A session may stand in several leaves: it gets one message.
        if leaves > 1 {
            found.sort_by_key(|subscriber| subscriber.key);
        }
        targets.reserve(found.len());
        targets.extend(
            found
                .chunk_by(|a, b| a.key == b.key)
                .filter_map(|same| target(publication, same, None)),
        );
        targets
    }

    fn push_all(&self, publication: &Arc<Publication>, targets: &[Target<'_>], wakes: &mut Wakes) {
        let mut kept = Kept::default();
        for target in targets {
            let is_away = target.qos != QoS::AtMostOnce && !target.session.is_present();
            let publication = if is_away { kept.detached(publication) } else { publication };
            self.push(target.session, target.delivery(publication), wakes);
        }
    }

    pub(super) fn push(&self, session: &Arc<Session>, delivery: Delivery, wakes: &mut Wakes) {
        let pushed = session.push(delivery, &self.limits);
        wakes.push(pushed.waker);
        if pushed.is_crowded {
            wakes.crowded = Some(session.clone());
        }
        if pushed.displaced > 0 {
            self.counters.dropped.oldest.increment(pushed.displaced as u64);
        }
        match pushed.fate {
            Fate::Queued | Fate::NotOwed | Fate::Gone => {}
            Fate::QueueFull => self.counters.dropped.queue_full.increment(1),
            Fate::OverBudget => self.counters.dropped.over_budget.increment(1),
        }
    }

    fn plan_for(
        &self,
        publication: &Arc<Publication>,
        targets: &[Target<'_>],
        senders_change: Option<Change>,
    ) -> Plan {
        let publication = detached(publication);
        let mut changes = Vec::with_capacity(targets.len() + 2);
        changes.extend(senders_change);
        if publication.retain {
            changes.extend(self.retain_change(&publication));
        }
        let mut message: Option<Arc<StoredMessage>> = None;
        let deliveries = targets
            .iter()
            .map(|target| {
                let mut delivery = target.delivery(&publication);
                if target.is_owed() {
                    let rows = (&mut message, &mut changes);
                    self.add_row(target.session, &mut delivery, rows, false);
                }
                (target.session.clone(), delivery)
            })
            .collect();
        Plan { publication, deliveries, changes }
    }

    /// Gives a delivery its row, and the message its, where it has none yet. `trails`: nobody waits
    /// until they are on disk.
    pub(super) fn add_row(
        &self,
        session: &Arc<Session>,
        delivery: &mut Delivery,
        (message, changes): (&mut Option<Arc<StoredMessage>>, &mut Vec<Change>),
        trails: bool,
    ) {
        let Some(reserved) = session.reserve(trails) else {
            return;
        };
        if reserved.displaced > 0 {
            self.counters.dropped.oldest.increment(reserved.displaced as u64);
        }
        let message = message.get_or_insert_with(|| {
            let id = self.next_message.fetch_add(1, Ordering::Relaxed);
            let publication = delivery.publication.clone();
            let message = Arc::new(StoredMessage::new(id, publication, &self.trailing));
            changes.push(Change::KeepMessage(message.clone()));
            message
        });
        let row = Arc::new(StoredDelivery {
            key: session.key,
            position: reserved.position,
            packet_id: reserved.packet_id,
            message: message.clone(),
        });
        let facts = DeliveryFacts {
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers.clone(),
            share: delivery.share.clone(),
            is_sent: reserved.is_sent,
        };
        changes.push(Change::Enqueue { row: row.clone(), delivery: facts });
        delivery.stored = Some(row);
        delivery.may_be_sent = reserved.is_sent;
    }

    /// What the store is to be told of a message that asks to be retained.
    fn retain_change(&self, publication: &Arc<Publication>) -> Option<Change> {
        let retained = self.retained.lock();
        match publication.payload.is_empty() {
            true => Some(Change::ForgetRetained(publication.topic.clone())),
            false if retained.has_room_for(publication) => {
                Some(Change::Retain(publication.clone()))
            }
            false => None,
        }
    }

    fn retain_saved(&self, publication: &Arc<Publication>) {
        let mut retained = self.retained.lock();
        if retained.set(publication) == Retention::Full {
            retained.mark_unsaved(&publication.topic);
            self.counters.dropped.retained_full.increment(1);
        }
    }

    fn retain_unsaved(&self, publication: &Arc<Publication>) {
        if !publication.retain {
            return;
        }
        let mut retained = self.retained.lock();
        if retained.set(&detached(publication)) == Retention::Full {
            self.counters.dropped.retained_full.increment(1);
        } else {
            retained.mark_unsaved(&publication.topic);
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

    pub(crate) fn retained_message(&self, topic: &str) -> Option<Bytes> {
        self.retained.lock().get(topic).map(|message| message.payload.clone())
    }

    /// Puts back a message that was retained before a restart.
    pub(crate) fn restore_retained(&self, publication: &Arc<Publication>) {
        self.retain_saved(publication);
    }

    /// Ids of messages below `next` are taken.
    pub(crate) fn continue_messages_from(&self, next: u64) {
        self.next_message.fetch_max(next, Ordering::Relaxed);
    }

    /// Forgets retained messages that have expired.
    pub(crate) fn expire_retained(&self, now: UnixMicros) {
        let expired = self.retained.lock().expire(now);
        if expired > 0 {
            self.counters.dropped.expired.increment(expired as u64);
        }
    }

    /// Everything that the store is to be told and nobody waits for, in order.
    pub(crate) fn take_trailing(&self) -> Vec<Change> {
        let mut changes = self.trailing.take();
        changes.extend(self.retained.lock().take_unsaved());
        changes
    }
}

/// What one session gets that has these subscriptions; `None` when there are none.
fn target<'a>(
    publication: &Publication,
    subscribers: &[Found<'a>],
    share: Option<&'a TopicFilter>,
) -> Option<Target<'a>> {
    let (first, rest) = subscribers.split_first()?;
    let mut granted = first.options.qos;
    let mut retain_as_published = first.options.retain_as_published;
    let mut identifiers: Vec<u32> = first.options.identifier.into_iter().collect();
    for other in rest {
        granted = granted.max(other.options.qos);
        retain_as_published |= other.options.retain_as_published;
        identifiers.extend(other.options.identifier);
    }
    Some(Target {
        session: &first.session,
        qos: publication.qos.min(granted),
        retain: publication.retain && retain_as_published,
        identifiers: (!identifiers.is_empty()).then(|| identifiers.into_boxed_slice()),
        share,
    })
}

/// One copy, for all absent receivers of a message, that does not hold on to the read buffer that
/// the message came in.
#[derive(Default)]
struct Kept(Option<Arc<Publication>>);

impl Kept {
    fn detached(&mut self, publication: &Arc<Publication>) -> &Arc<Publication> {
        self.0.get_or_insert_with(|| detached(publication))
    }
}

fn detached(publication: &Arc<Publication>) -> Arc<Publication> {
    Arc::new(Publication {
        payload: Bytes::copy_from_slice(&publication.payload),
        forwarded: Bytes::copy_from_slice(&publication.forwarded),
        ..Publication::clone(publication)
    })
}
