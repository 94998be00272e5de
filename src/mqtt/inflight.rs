//! Deliveries under way to one client: which packet ids are taken, and how far each exchange is.
//!
//! Guards the outgoing half of QoS 1 and 2 (MQTT 5.0 §4.3). Pure; its bound is the caller's window.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    packet::{Ack, AckKind, PacketId, QoS},
    session::Delivery,
};

#[derive(Debug)]
enum Stage {
    /// PUBLISH sent; waits for PUBACK or PUBREC.
    Published(Delivery),
    /// PUBREC received, PUBREL sent; waits for PUBCOMP.
    Released,
}

#[derive(Debug)]
struct Exchange {
    /// Order of first sending, kept in redelivery (§4.6).
    order: u64,
    stage: Stage,
}

#[derive(Debug)]
pub(crate) struct Inflight {
    exchanges: HashMap<PacketId, Exchange, RandomState>,
    last_id: PacketId,
    next_order: u64,
}

/// What an acknowledgement asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckStep {
    /// The exchange is over, and with it a place in the window free.
    Complete,
    /// PUBREC: answer with PUBREL.
    Release,
    /// No exchange has that packet id in that stage.
    Unknown,
}

/// One packet to send again after a reconnect.
#[derive(Debug, Clone)]
pub(crate) enum Redelivery {
    Publish(PacketId, Delivery),
    PubRel(PacketId),
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            exchanges: HashMap::with_hasher(RandomState::default()),
            last_id: PacketId::MAX,
            next_order: 0,
        }
    }
}

impl Inflight {
    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Takes a free packet id for a delivery that is about to be sent. `None`: all 65,535 are taken.
    pub(crate) fn begin(&mut self, delivery: Delivery) -> Option<PacketId> {
        if self.exchanges.len() >= usize::from(u16::MAX) {
            return None;
        }
        let mut id = self.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(PacketId::MIN);
            if !self.exchanges.contains_key(&id) {
                break;
            }
        }
        self.last_id = id;
        let order = self.next_order;
        self.next_order += 1;
        self.exchanges.insert(id, Exchange { order, stage: Stage::Published(delivery) });
        Some(id)
    }

    /// Follows a client's PUBACK, PUBREC or PUBCOMP.
    pub(crate) fn acknowledge(&mut self, ack: Ack) -> AckStep {
        let Some(exchange) = self.exchanges.get_mut(&ack.packet_id) else {
            return AckStep::Unknown;
        };
        let sent_as = match &exchange.stage {
            Stage::Published(delivery) => Some(delivery.qos),
            Stage::Released => None,
        };
        match (ack.kind, sent_as) {
            (AckKind::PubRec, Some(QoS::ExactlyOnce)) if !ack.reason.is_error() => {
                exchange.stage = Stage::Released;
                AckStep::Release
            }
            (AckKind::PubRec, None) if !ack.reason.is_error() => AckStep::Release,
            (AckKind::PubAck, Some(QoS::AtLeastOnce))
            | (AckKind::PubRec, Some(QoS::ExactlyOnce))
            | (AckKind::PubComp, None) => {
                self.exchanges.remove(&ack.packet_id);
                if self.exchanges.is_empty() && self.exchanges.capacity() > 64 {
                    self.exchanges.shrink_to_fit();
                }
                AckStep::Complete
            }
            _ => AckStep::Unknown,
        }
    }

    /// Gives up an exchange whose packet can't be sent.
    pub(crate) fn abandon(&mut self, id: PacketId) {
        self.exchanges.remove(&id);
    }

    /// Everything under way, in the order of first sending.
    pub(crate) fn redeliveries(&self) -> Vec<Redelivery> {
        let mut exchanges: Vec<_> = self.exchanges.iter().collect();
        exchanges.sort_unstable_by_key(|(_, exchange)| exchange.order);
        exchanges
            .into_iter()
            .map(|(id, exchange)| match &exchange.stage {
                Stage::Published(delivery) => Redelivery::Publish(*id, delivery.clone()),
                Stage::Released => Redelivery::PubRel(*id),
            })
            .collect()
    }
}
