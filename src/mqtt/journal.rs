//! What of the broker's state must be on disk, and who waits for that.
//!
//! Sessions that outlive their connection, what they subscribed to and are owed, retained messages
//! and wills change in memory first; each change is told to the store in the order it happened.
//! Changes that an acknowledgement depends on travel as an [`Entry`] and are followed by what waits
//! for them; the others (what has been delivered, QoS 0) trail behind and ride in the next batch.
//!
//! Invariant: nothing that an acknowledgement or a next step of QoS 2 promises is sent before its
//! entry is committed. An entry that is dropped tells whoever waits that it is not stored.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    hooks::{Identity, Outcome},
    link::Link,
    packet::{ClientId, PacketId, QoS, SubscriptionOptions},
    plan::Plan,
    publication::{Publication, UnixMicros},
    reason::ReasonCode,
    replays::ReplayPart,
    resolver::Resolver,
    router::Wakes,
    session::Session,
    sessions::Ending,
    topic::{TopicFilter, TopicName},
    will::SessionWill,
};

/// Names a session in the store; never used again.
pub type SessionKey = u64;

/// One change of what the store keeps for the broker.
#[derive(Debug, Clone)]
pub enum Change {
    OpenSession {
        key: SessionKey,
        client_id: ClientId,
        owner: Identity,
        expiry: u32,
    },
    /// Its client came back or went: the seconds that it is kept, and until when if the client is
    /// away. Nothing when there is no such session.
    UpdateSession {
        key: SessionKey,
        expiry: u32,
        expires_at: Option<UnixMicros>,
    },
    /// With all that hangs on it but its will.
    EndSession {
        key: SessionKey,
    },
    Subscribe {
        key: SessionKey,
        filter: TopicFilter,
        options: SubscriptionOptions,
        replays: bool,
    },
    Unsubscribe {
        key: SessionKey,
        filter: TopicFilter,
    },
    /// Retained messages have been queued for a subscription up to this topic; `None`: all have.
    Replayed {
        key: SessionKey,
        filter: TopicFilter,
        after: Option<TopicName>,
    },
    KeepMessage(Arc<StoredMessage>),
    ForgetMessage {
        id: u64,
    },
    /// Nothing when there is no such session.
    Enqueue {
        row: Arc<StoredDelivery>,
        delivery: DeliveryFacts,
    },
    /// Everything up to this position may have been sent.
    MarkSent {
        key: SessionKey,
        position: u64,
    },
    /// The client has the message (PUBREC), and is to release it.
    MarkReceived {
        key: SessionKey,
        position: u64,
    },
    Dequeue {
        key: SessionKey,
        position: u64,
    },
    /// A QoS 2 message of the client is taken; the id is not to be taken again.
    HoldPacketId {
        key: SessionKey,
        packet_id: PacketId,
    },
    ReleasePacketId {
        key: SessionKey,
        packet_id: PacketId,
    },
    Retain(Arc<Publication>),
    ForgetRetained(TopicName),
    KeepWill(Box<SessionWill>),
    ForgetWill {
        key: u64,
    },
}

/// What a queued delivery says beside its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFacts {
    pub qos: QoS,
    pub retain: bool,
    pub identifiers: Option<Box<[u32]>>,
    /// The shared subscription that it came by.
    pub share: Option<TopicFilter>,
    /// It may go out as soon as it is stored.
    pub is_sent: bool,
}

/// Changes that nobody waits for, in order. Bound: what the sessions may queue, for most entries
/// take away what was queued; the committer takes all of them at least once a second.
#[derive(Debug, Default)]
pub(crate) struct Trailing(Mutex<Vec<Change>>);

impl Trailing {
    pub(crate) fn push(&self, change: Change) {
        self.0.lock().push(change);
    }

    pub(crate) fn extend(&self, changes: impl IntoIterator<Item = Change>) {
        self.0.lock().extend(changes);
    }

    pub(crate) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Puts back what could not be written, before what came since.
    pub(crate) fn put_back(&self, mut changes: Vec<Change>) {
        let mut trailing = self.0.lock();
        changes.append(&mut trailing);
        *trailing = changes;
    }
}

/// A message that some session is owed: one row, which goes with the last of its deliveries.
pub struct StoredMessage {
    pub id: u64,
    pub publication: Arc<Publication>,
    trailing: Arc<Trailing>,
}

impl StoredMessage {
    pub(crate) fn new(id: u64, publication: Arc<Publication>, trailing: &Arc<Trailing>) -> Self {
        Self { id, publication, trailing: trailing.clone() }
    }
}

impl Drop for StoredMessage {
    fn drop(&mut self) {
        self.trailing.push(Change::ForgetMessage { id: self.id });
    }
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredMessage").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A delivery's row, which goes when nothing refers to the delivery any more.
#[derive(Debug)]
pub struct StoredDelivery {
    pub key: SessionKey,
    /// Counts up within the session: the order of delivery.
    pub position: u64,
    /// Given when it was queued, so that a redelivery after a restart has the same.
    pub packet_id: PacketId,
    pub message: Arc<StoredMessage>,
}

impl Drop for StoredDelivery {
    fn drop(&mut self) {
        let change = Change::Dequeue { key: self.key, position: self.position };
        self.message.trailing.push(change);
    }
}

/// Where sessions and retained messages are kept.
pub trait SessionStore: Send + Sync {
    /// Takes changes to be committed together, after those offered before.
    ///
    /// # Errors
    /// Gives the entry back when there is no room; to be offered again after [`Self::poll_ready`].
    fn offer(&self, entry: Box<Entry>) -> Result<(), Box<Entry>>;

    /// Takes changes that nobody waits for and whoever made them can't hold: a connection's that is
    /// over. In order with what was offered before, whatever the room: a few for each connection.
    fn insist(&self, entry: Box<Entry>);

    /// Ready when an offer has a chance; else the task is woken when it does.
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()>;
}

/// Changes that are committed together, and what follows then.
#[derive(Debug)]
pub struct Entry {
    changes: Vec<Change>,
    then: Then,
}

/// What follows a commit.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// A published message goes to its receivers, its publisher is told.
    Route(Resolver),
    /// The connection goes on with what waits for its entry of that number.
    Advance {
        link: Arc<Link>,
        number: u64,
    },
    /// As `Advance`, with a PUBREL.
    Release {
        link: Arc<Link>,
        number: u64,
        session: Arc<Session>,
        packet_id: PacketId,
    },
    /// The session may send everything up to that position.
    MaySend {
        session: Arc<Session>,
        position: u64,
    },
    /// Retained messages go to the queue of the session that subscribed.
    Replay {
        session: Arc<Session>,
        part: ReplayPart,
    },
    /// A session has ended in the store, too.
    Ended(Ending),
    Tell(oneshot::Sender<()>),
    /// Told already, one way or the other.
    Done,
}

impl Entry {
    pub(crate) fn new(changes: Vec<Change>, then: Then) -> Box<Self> {
        Box::new(Self { changes, then })
    }

    /// A message that is routed and acknowledged once `resolver`'s plan is stored.
    pub(crate) fn of_message(resolver: Resolver) -> Box<Self> {
        Self::new(Vec::new(), Then::Route(resolver))
    }

    /// The changes of a connection that is over, which nobody waits for any more.
    pub(crate) fn into_changes(mut self) -> Vec<Change> {
        match std::mem::replace(&mut self.then, Then::Done) {
            Then::Nothing | Then::Advance { .. } | Then::Release { .. } | Then::Tell(_) => {
                std::mem::take(&mut self.changes)
            }
            other => {
                self.then = other;
                Vec::new()
            }
        }
    }

    pub fn changes(&self) -> &[Change] {
        match &self.then {
            Then::Route(resolver) => resolver.plan().map_or(&[], Plan::changes),
            _ => &self.changes,
        }
    }

    /// Bytes that it holds on to while it waits.
    pub fn weight(&self) -> usize {
        let payload = match &self.then {
            Then::Route(resolver) => resolver.weight(),
            _ => 0,
        };
        payload + self.changes.len() * size_of::<Change>() + 256
    }

    fn committed(mut self, wakes: &mut Wakes) {
        match std::mem::replace(&mut self.then, Then::Done) {
            Then::Nothing | Then::Done => {}
            Then::Ended(ending) => drop(ending),
            Then::Route(resolver) => resolver.answer_in(Outcome::Accepted, wakes),
            Then::Advance { link, number } => wakes.push(link.advance(number)),
            Then::Release { link, number, session, packet_id } => {
                session.lock().inflight.note_received(packet_id);
                wakes.push(link.advance(number));
            }
            Then::MaySend { session, position } => wakes.push(session.lock().may_send(position)),
            Then::Replay { session, part } => {
                session.finish_replay(part);
                wakes.push(session.take_waker());
            }
            Then::Tell(waiting) => {
                // Nobody waits any more: the connection is gone.
                let _ = waiting.send(());
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let waker = match &self.then {
            Then::Nothing | Then::Done | Then::Route(_) | Then::Ended(_) | Then::Tell(_) => None,
            Then::Advance { link, .. } | Then::Release { link, .. } => {
                link.request_close(ReasonCode::SERVER_BUSY)
            }
            Then::MaySend { session, .. } => {
                session.lock().give_up_marking();
                None
            }
            Then::Replay { session, .. } => {
                session.lock().replays.give_up_part();
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Something that is on disk, and may go on.
#[derive(Debug)]
pub enum Completion {
    Message(Resolver, Outcome),
    Entry(Box<Entry>),
}

/// Lets a batch go on, in order, and wakes each connection concerned once, at the end.
pub fn complete_all(batch: impl IntoIterator<Item = Completion>) {
    let mut wakes = Wakes::default();
    for completion in batch {
        match completion {
            Completion::Message(resolver, outcome) => resolver.answer_in(outcome, &mut wakes),
            Completion::Entry(entry) => entry.committed(&mut wakes),
        }
    }
}
