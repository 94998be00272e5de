//! What a client is sent: deliveries from its session, and the outgoing half of QoS 1 and 2.

use std::{collections::HashMap, sync::Arc, task::Waker};

use bytes::BytesMut;
use foldhash::fast::RandomState;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    codec::{PublishHead, write_ack, write_publish_head},
    connection::{Connection, HIGH_WATER},
    inflight::{AckStep, Resumed},
    journal::{Change, Entry, Then},
    packet::{Ack, AckKind, PacketId, QoS, Version},
    publication::UnixMicros,
    queue::Delivery,
    reason::ReasonCode,
    session::Next,
};

/// Topics that a client is sent by number (MQTT 5.0 §3.3.2.3.4): the first ones, as many as it
/// understands.
#[derive(Debug)]
pub(super) struct OutgoingAliases {
    by_topic: HashMap<Arc<str>, u16, RandomState>,
    max: u16,
}

/// How a topic is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Plain,
    /// With a number that stands for it from here on.
    Introduced(u16),
    /// By its number alone.
    Alias(u16),
}

impl OutgoingAliases {
    pub(super) fn new(max: u16) -> Self {
        Self { by_topic: HashMap::with_hasher(RandomState::default()), max }
    }

    fn spelling(&self, topic: &str) -> Spelling {
        if self.max == 0 {
            return Spelling::Plain;
        }
        match self.by_topic.get(topic) {
            Some(alias) => Spelling::Alias(*alias),
            None => match u16::try_from(self.by_topic.len() + 1) {
                Ok(alias) if alias <= self.max => Spelling::Introduced(alias),
                _ => Spelling::Plain,
            },
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Encodes deliveries while the socket keeps up and the client's window has room.
    pub(super) fn deliver(&mut self) {
        while self.output.len() < HIGH_WATER {
            if let Some(position) = self.deliver_queued() {
                self.mark_sent(position);
            }
            if !self.replay() {
                return;
            }
        }
    }

    /// `Some` when what comes next is to be noted as sent first, up to that position.
    fn deliver_queued(&mut self) -> Option<u64> {
        let session = self.session.clone();
        let mut state = session.lock();
        if !state.has_work() || !state.is_served_by(self.client.connection) {
            return None;
        }
        let now = self.broker.clock.unix_micros();
        let mut unmarked = None;
        while self.output.len() < HIGH_WATER {
            match state.next(self.terms.window) {
                Next::Send(delivery) => {
                    if !self.is_wanted(&delivery, now) {
                        state.inflight.give_up(&delivery);
                        continue;
                    }
                    let id = match delivery.qos {
                        QoS::AtMostOnce => None,
                        _ => match state.inflight.begin(delivery.clone()) {
                            Some(id) => Some(id),
                            None => continue,
                        },
                    };
                    if !self.write_publish(&delivery, id, false, now)
                        && let Some(id) = id
                    {
                        state.inflight.remove(id);
                    }
                }
                Next::Resume(Resumed::Publish(id, delivery)) => {
                    let may_go = self.may_receive(&delivery);
                    if !may_go || !self.write_publish(&delivery, Some(id), true, now) {
                        state.inflight.remove(id);
                    }
                }
                Next::Resume(Resumed::PubRel(id, position)) => self.write_pubrel(id, position),
                Next::Mark(position) => {
                    unmarked = Some(position);
                    break;
                }
                Next::Nothing => break,
            }
        }
        let dispersed = state.disperse(&self.broker.limits);
        drop(state);
        dispersed.into_iter().for_each(Waker::wake);
        unmarked
    }

    /// Has the store note that everything up to `position` may have been sent.
    fn mark_sent(&mut self, position: u64) {
        let session = self.session.clone();
        let changes = vec![Change::MarkSent { key: session.key, position }];
        let entry = Entry::new(changes, Then::MaySend { session, position });
        self.entries.offer(&self.broker, entry);
    }

    /// Whether a message is still of use to the client, and its to have.
    fn is_wanted(&self, delivery: &Delivery, now: UnixMicros) -> bool {
        if delivery.publication.seconds_left(now) == Some(0) {
            self.broker.counters.dropped.expired.increment(1);
            return false;
        }
        self.may_receive(delivery)
    }

    fn may_receive(&self, delivery: &Delivery) -> bool {
        let topic = delivery.publication.topic.as_str();
        let may = !self.filters_deliveries
            || self.broker.hooks.authorizer.may_receive(&self.client, topic);
        if !may {
            self.broker.counters.dropped.not_authorized.increment(1);
        }
        may
    }

    /// Takes the next part of the retained messages that the client is owed. `true` when it is queued.
    fn replay(&mut self) -> bool {
        let now = self.broker.clock.unix_micros();
        let Some((changes, part)) = self.broker.router.continue_replay(&self.session, now) else {
            return false;
        };
        if changes.is_empty() {
            self.session.finish_replay(part);
            return true;
        }
        let then = Then::Replay { session: self.session.clone(), part };
        self.entries.offer(&self.broker, Entry::new(changes, then));
        false
    }

    /// `false`: the packet is larger than the client takes, and is not sent.
    fn write_publish(
        &mut self,
        delivery: &Delivery,
        packet_id: Option<PacketId>,
        dup: bool,
        now: UnixMicros,
    ) -> bool {
        let publication = &*delivery.publication;
        let topic = publication.topic.as_str();
        let spelling = self.outgoing_aliases.spelling(topic);
        let head = PublishHead {
            topic: if matches!(spelling, Spelling::Alias(_)) { "" } else { topic },
            topic_alias: match spelling {
                Spelling::Plain => None,
                Spelling::Introduced(alias) | Spelling::Alias(alias) => Some(alias),
            },
            qos: delivery.qos,
            retain: delivery.retain,
            dup,
            packet_id,
            forwarded: &publication.forwarded,
            message_expiry: publication.seconds_left(now),
            subscription_identifiers: delivery.identifiers.as_deref().unwrap_or(&[]),
            payload_len: publication.payload.len(),
        };
        let version = self.client.version;
        if head.packet_len(version) > self.terms.packet_size_max {
            self.broker.counters.dropped.too_large.increment(1);
            return false;
        }
        write_publish_head(self.output.buffer(), &head, version);
        self.output.push_payload(&publication.payload);
        self.broker.counters.delivered(delivery.qos, publication.payload.len());
        if let Spelling::Introduced(alias) = spelling {
            self.outgoing_aliases.by_topic.insert(publication.topic.shared(), alias);
        }
        true
    }

    /// Asks the client to release a message; where the exchange is stored, once it is on disk that
    /// the client has it.
    fn write_pubrel(&mut self, id: PacketId, position: Option<u64>) {
        let mut bytes = BytesMut::new();
        let (version, kind) = (self.client.version, AckKind::PubRel);
        write_ack(&mut bytes, version, kind, id, ReasonCode::SUCCESS, None, usize::MAX);
        let Some(position) = position else {
            return self.say(Vec::new(), &bytes);
        };
        let changes = vec![Change::MarkReceived { key: self.session.key, position }];
        let (link, session) = (self.link.clone(), self.session.clone());
        let then = |number| Then::Release { link, number, session, packet_id: id };
        self.entries.answer(&self.broker, changes, bytes.freeze(), then);
    }

    /// The client releases a message that it has published.
    fn on_pubrel(&mut self, packet_id: PacketId) {
        let version = self.client.version;
        let released = self.session.lock().release(packet_id);
        let reason = match (released, version) {
            (None, Version::V5) => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            _ => ReasonCode::SUCCESS,
        };
        let mut bytes = BytesMut::new();
        write_ack(&mut bytes, version, AckKind::PubComp, packet_id, reason, None, usize::MAX);
        let key = self.session.key;
        let changes = match released {
            Some(true) => vec![Change::ReleasePacketId { key, packet_id }],
            _ => Vec::new(),
        };
        self.say(changes, &bytes);
    }

    pub(super) fn on_ack(&mut self, ack: Ack) {
        if ack.kind == AckKind::PubRel {
            return self.on_pubrel(ack.packet_id);
        }
        let step = self.session.lock().inflight.acknowledge(ack);
        match (step, ack.kind) {
            (AckStep::Release(position), _) => self.write_pubrel(ack.packet_id, position),
            (AckStep::Unknown, AckKind::PubRec) if !ack.reason.is_error() => {
                let version = self.client.version;
                let reason = match version {
                    Version::V4 => ReasonCode::SUCCESS,
                    Version::V5 => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                };
                let (buffer, kind) = (self.output.buffer(), AckKind::PubRel);
                write_ack(buffer, version, kind, ack.packet_id, reason, None, usize::MAX);
            }
            _ => {}
        }
    }
}
