//! What a client is sent: deliveries from its session, and the outgoing half of QoS 1 and 2.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    codec::{PublishHead, write_ack, write_publish_head},
    connection::{Connection, HIGH_WATER},
    inflight::{AckStep, Redelivery},
    packet::{Ack, AckKind, PacketId, QoS, Version},
    publication::UnixMicros,
    reason::ReasonCode,
    session::Delivery,
};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Encodes deliveries while the socket keeps up and the client's window has room.
    pub(super) fn deliver(&mut self) {
        if self.output.len() >= HIGH_WATER {
            return;
        }
        let session = self.session.clone();
        let mut state = session.lock();
        if state.queued() == 0 || !state.is_served_by(self.client.connection) {
            return;
        }
        let now = self.broker.clock.unix_micros();
        while self.output.len() < HIGH_WATER
            && let Some(delivery) = state.next(self.terms.window)
        {
            if delivery.publication.seconds_left(now) == Some(0) {
                self.broker.counters.dropped_expired.increment(1);
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
                state.inflight.abandon(id);
            }
        }
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
        let head = PublishHead {
            topic: publication.topic.as_str(),
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
            self.broker.counters.dropped_too_large.increment(1);
            return false;
        }
        write_publish_head(self.output.buffer(), &head, version);
        self.output.push_payload(&publication.payload);
        self.broker.counters.delivered(delivery.qos);
        true
    }

    /// Sends again what an earlier connection of the session left under way (§4.4).
    pub(super) fn redeliver(&mut self) {
        let session = self.session.clone();
        let mut state = session.lock();
        let now = self.broker.clock.unix_micros();
        for redelivery in state.inflight.redeliveries() {
            match redelivery {
                Redelivery::Publish(id, delivery) => {
                    if !self.write_publish(&delivery, Some(id), true, now) {
                        state.inflight.abandon(id);
                    }
                }
                Redelivery::PubRel(id) => self.write_pubrel(id, ReasonCode::SUCCESS),
            }
        }
    }

    fn write_pubrel(&mut self, id: PacketId, reason: ReasonCode) {
        let version = self.client.version;
        write_ack(self.output.buffer(), version, AckKind::PubRel, id, reason, None, usize::MAX);
    }

    pub(super) fn on_ack(&mut self, ack: Ack) {
        let version = self.client.version;
        if ack.kind == AckKind::PubRel {
            let was_known = self.session.lock().release(ack.packet_id);
            let reason = match (was_known, version) {
                (false, Version::V5) => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                _ => ReasonCode::SUCCESS,
            };
            let buffer = self.output.buffer();
            write_ack(buffer, version, AckKind::PubComp, ack.packet_id, reason, None, usize::MAX);
            return;
        }
        let step = self.session.lock().inflight.acknowledge(ack);
        match (step, ack.kind) {
            (AckStep::Release, _) => self.write_pubrel(ack.packet_id, ReasonCode::SUCCESS),
            (AckStep::Unknown, AckKind::PubRec) if !ack.reason.is_error() => {
                let reason = match version {
                    Version::V4 => ReasonCode::SUCCESS,
                    Version::V5 => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                };
                self.write_pubrel(ack.packet_id, reason);
            }
            _ => {}
        }
    }
}
