//! Deliveries under way to one client: which packet ids are taken, and how far each exchange is.
//!
//! Guards the outgoing half of QoS 1 and 2 (MQTT 5.0 §4.3). An id is taken when a delivery is first
//! sent, or, in a session that is stored, when it is queued, so that it is the same after a restart.
//! Pure; its bound is the caller's window.

use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::RandomState;

use super::{
    packet::{Ack, AckKind, PacketId, QoS},
    queue::Delivery,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBLISH sent; waits for PUBACK or PUBREC.
    Published,
    /// PUBREC received, and on its way to the store; PUBREL waits for that.
    Received,
    /// PUBREL sent; waits for PUBCOMP.
    Released,
}

#[derive(Debug)]
struct Exchange {
    /// Order of first sending, kept in redelivery (§4.6).
    order: u64,
    stage: Stage,
    delivery: Delivery,
}

#[derive(Debug)]
pub(crate) struct Inflight {
    exchanges: HashMap<PacketId, Exchange, RandomState>,
    /// Ids of deliveries that are queued.
    reserved: HashSet<PacketId, RandomState>,
    /// Exchanges of earlier connections that this one has not taken up, in order.
    to_resume: VecDeque<PacketId>,
    last_id: PacketId,
    next_order: u64,
}

/// What an acknowledgement asks for.
#[derive(Debug)]
pub(crate) enum AckStep {
    /// The exchange is over, and with it a place in the window free.
    Complete,
    /// PUBREC: answer with PUBREL, once the store knows of it where the delivery at that position is
    /// stored.
    Release(Option<u64>),
    /// PUBREC again, while the first is on its way to the store.
    Underway,
    /// No exchange has that packet id in that stage.
    Unknown,
}

/// An exchange to take up again after a reconnect (§4.4).
#[derive(Debug)]
pub(crate) enum Resumed {
    Publish(PacketId, Delivery),
    PubRel(PacketId, Option<u64>),
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            exchanges: HashMap::with_hasher(RandomState::default()),
            reserved: HashSet::with_hasher(RandomState::default()),
            to_resume: VecDeque::new(),
            last_id: PacketId::MAX,
            next_order: 0,
        }
    }
}

impl Inflight {
    /// Exchanges that take a place in the connection's window.
    pub(crate) fn under_way(&self) -> usize {
        self.exchanges.len() - self.to_resume.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// `None`: all 65,535 are taken.
    fn free_id(&mut self) -> Option<PacketId> {
        if self.exchanges.len() + self.reserved.len() >= usize::from(u16::MAX) {
            return None;
        }
        let mut id = self.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(PacketId::MIN);
            if !self.exchanges.contains_key(&id) && !self.reserved.contains(&id) {
                break;
            }
        }
        self.last_id = id;
        Some(id)
    }

    /// Takes a free packet id for a delivery that is about to be queued.
    pub(crate) fn reserve(&mut self) -> Option<PacketId> {
        let id = self.free_id()?;
        self.reserved.insert(id);
        Some(id)
    }

    /// Takes the id of a delivery that was queued before a restart.
    pub(crate) fn reserve_again(&mut self, id: PacketId) {
        self.reserved.insert(id);
        self.last_id = id;
    }

    /// Gives an id back whose delivery is not going to be sent.
    pub(crate) fn give_back(&mut self, id: PacketId) {
        self.reserved.remove(&id);
        if self.reserved.is_empty() && self.reserved.capacity() > 64 {
            self.reserved.shrink_to_fit();
        }
    }

    /// Gives back the id of a delivery that is not going to be sent, where it has one.
    pub(crate) fn give_up(&mut self, delivery: &Delivery) {
        if let Some(stored) = &delivery.stored {
            self.give_back(stored.packet_id);
        }
    }

    /// Begins the exchange of a delivery that is about to be sent. `None`: no id is free.
    pub(crate) fn begin(&mut self, delivery: Delivery) -> Option<PacketId> {
        let id = match &delivery.stored {
            Some(stored) => {
                let id = stored.packet_id;
                self.give_back(id);
                id
            }
            None => self.free_id()?,
        };
        self.put(id, delivery, Stage::Published);
        Some(id)
    }

    fn put(&mut self, id: PacketId, delivery: Delivery, stage: Stage) {
        let order = self.next_order;
        self.next_order += 1;
        self.exchanges.insert(id, Exchange { order, stage, delivery });
    }

    /// Takes over an exchange that was under way before a restart.
    pub(crate) fn restore(&mut self, id: PacketId, delivery: Delivery, stage: Stage) {
        self.put(id, delivery, stage);
        self.last_id = id;
    }

    /// Follows a client's PUBACK, PUBREC or PUBCOMP.
    pub(crate) fn acknowledge(&mut self, ack: Ack) -> AckStep {
        let Some(exchange) = self.exchanges.get_mut(&ack.packet_id) else {
            return AckStep::Unknown;
        };
        let position = exchange.delivery.stored.as_ref().map(|stored| stored.position);
        match (ack.kind, exchange.stage, exchange.delivery.qos) {
            (AckKind::PubRec, Stage::Published, QoS::ExactlyOnce) if !ack.reason.is_error() => {
                let is_stored = position.is_some();
                exchange.stage = if is_stored { Stage::Received } else { Stage::Released };
                AckStep::Release(position)
            }
            (AckKind::PubRec, Stage::Received, _) if !ack.reason.is_error() => AckStep::Underway,
            (AckKind::PubRec, Stage::Released, _) if !ack.reason.is_error() => {
                AckStep::Release(None)
            }
            (AckKind::PubAck, Stage::Published, QoS::AtLeastOnce)
            | (AckKind::PubRec, _, QoS::ExactlyOnce)
            | (AckKind::PubComp, Stage::Released, _) => match self.remove(ack.packet_id) {
                Some(_) => AckStep::Complete,
                None => AckStep::Unknown,
            },
            _ => AckStep::Unknown,
        }
    }

    /// The store knows that the client has the message.
    pub(crate) fn note_received(&mut self, id: PacketId) {
        if let Some(exchange) = self.exchanges.get_mut(&id)
            && exchange.stage == Stage::Received
        {
            exchange.stage = Stage::Released;
        }
    }

    /// Gives up an exchange whose packet can't be sent.
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<Delivery> {
        let exchange = self.exchanges.remove(&id)?;
        if !self.to_resume.is_empty() {
            self.to_resume.retain(|resumed| *resumed != id);
        }
        if self.exchanges.is_empty() && self.exchanges.capacity() > 64 {
            self.exchanges.shrink_to_fit();
        }
        Some(exchange.delivery)
    }

    /// Ends the exchanges that `leaves` picks; their deliveries in the order of first sending.
    pub(crate) fn remove_where(
        &mut self,
        leaves: impl Fn(&Delivery, Stage) -> bool,
    ) -> Vec<Delivery> {
        let mut ids: Vec<_> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| leaves(&exchange.delivery, exchange.stage))
            .map(|(id, exchange)| (exchange.order, *id))
            .collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|(_, id)| self.remove(id)).collect()
    }

    /// A connection begins: everything under way is to be taken up again, in order.
    pub(crate) fn resume(&mut self) {
        let mut ids: Vec<_> =
            self.exchanges.iter().map(|(id, exchange)| (exchange.order, *id)).collect();
        ids.sort_unstable();
        self.to_resume = ids.into_iter().map(|(_, id)| id).collect();
    }

    /// Whether exchanges of earlier connections are left to be taken up.
    pub(crate) fn is_resuming(&self) -> bool {
        !self.to_resume.is_empty()
    }

    /// The next exchange to take up; a PUBLISH only while fewer than `window` are under way.
    pub(crate) fn next_resumed(&mut self, window: usize) -> Option<Resumed> {
        let id = *self.to_resume.front()?;
        let has_room = self.under_way() < window;
        let exchange = self.exchanges.get(&id)?;
        let resumed = match exchange.stage {
            Stage::Published if has_room => Resumed::Publish(id, exchange.delivery.clone()),
            Stage::Published => return None,
            Stage::Received => {
                let position = exchange.delivery.stored.as_ref().map(|stored| stored.position);
                Resumed::PubRel(id, position)
            }
            Stage::Released => Resumed::PubRel(id, None),
        };
        self.to_resume.pop_front();
        if self.to_resume.is_empty() {
            self.to_resume = VecDeque::new();
        }
        Some(resumed)
    }
}
