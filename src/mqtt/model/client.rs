//! A client that follows the specification: its packet ids, what it has sent and received, and what
//! it still has to answer. It answers in whatever order the test wants.

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::DuplexStream;

use super::{
    spec::{Message, Spec, number_of},
    wire::{self, Incoming},
};
use crate::mqtt::packet::{QoS, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Published,
    /// PUBREC has come.
    Received,
    /// PUBREL is sent.
    Released,
}

/// A message of the client's own, until it is complete.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: u16,
    pub(super) number: usize,
    pub(super) stage: Stage,
}

/// An answer that the client has not given yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The answer's first byte.
    pub(super) first: u8,
    pub(super) id: u16,
    pub(super) number: Option<usize>,
}

pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBREL: u8 = 0x62;
pub(super) const PUBCOMP: u8 = 0x70;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) version: Version,
    pub(super) name: String,
    pub(super) pipe: Option<DuplexStream>,
    pub(super) bytes: Vec<u8>,
    /// It has its CONNACK.
    pub(super) is_open: bool,
    /// What the CONNACK is to say, where that is known.
    pub(super) expects_session: Option<bool>,
    /// It reads nothing more on this connection.
    pub(super) is_deaf: bool,
    pub(super) window: usize,
    /// The session ends with the connection.
    pub(super) is_for_once: bool,
    /// It has given up a session that may go on.
    pub(super) has_forgotten: bool,
    /// SUBSCRIBE and UNSUBSCRIBE under way, by packet id.
    pub(super) requests: BTreeMap<u16, &'static str>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) due: Vec<Due>,
    /// QoS 2 messages that the client has, and whose release it waits for.
    pub(super) received: BTreeMap<u16, Option<usize>>,
    /// Messages that have come and are not answered, by packet id; over connections.
    outstanding: BTreeMap<u16, Incoming>,
    /// Of this connection.
    under_way: BTreeSet<u16>,
}

impl Client {
    pub(super) fn new(name: String, version: Version) -> Self {
        Self {
            version,
            name,
            pipe: None,
            bytes: Vec::new(),
            is_open: false,
            expects_session: None,
            is_deaf: false,
            window: 1,
            is_for_once: true,
            has_forgotten: false,
            requests: BTreeMap::new(),
            outgoing: Vec::new(),
            due: Vec::new(),
            received: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            under_way: BTreeSet::new(),
        }
    }

    /// The connection is gone, and with it what was on its way.
    pub(super) fn hang_up(&mut self, spec: &mut Spec, me: usize) {
        self.pipe = None;
        self.bytes.clear();
        self.is_open = false;
        self.is_deaf = false;
        self.requests.clear();
        self.due.clear();
        self.under_way.clear();
        if self.is_for_once {
            self.forget();
            spec.forget(me);
        }
    }

    /// The session begins anew.
    pub(super) fn forget(&mut self) {
        self.has_forgotten = true;
        self.outgoing.clear();
        self.received.clear();
        self.outstanding.clear();
    }

    /// The lowest packet id that is not in use: ids are used again soon.
    pub(super) fn free_id(&self) -> u16 {
        let is_used = |id: &u16| {
            self.outgoing.iter().any(|out| out.id == *id) || self.requests.contains_key(id)
        };
        (1..).find(|id| !is_used(id)).expect("an id")
    }

    /// A PUBLISH has come.
    pub(super) fn on_publish(&mut self, heard: &Incoming, spec: &mut Spec, me: usize, now: i64) {
        if heard.qos == QoS::AtMostOnce {
            assert!(!heard.dup, "DUP on QoS 0: {heard:?}");
            return spec.delivered(me, heard, now, true);
        }
        let number = number_of(heard);
        assert!(self.under_way.insert(heard.id), "a packet id that is in use: {heard:?}");
        assert!(self.under_way.len() <= self.window, "past the window of {}", self.window);
        if let Some(earlier) = self.outstanding.get(&heard.id) {
            let may_be_anothers = earlier.qos == QoS::AtLeastOnce && spec.has_shared(me);
            let is_same =
                (&earlier.payload, earlier.qos, true) == (&heard.payload, heard.qos, heard.dup);
            assert!(is_same || may_be_anothers, "{heard:?} while {earlier:?} is unanswered");
        }
        self.outstanding.insert(heard.id, heard.clone());
        let first = match heard.qos {
            QoS::ExactlyOnce => {
                let earlier = self.received.get(&heard.id).copied();
                assert!(
                    earlier.is_none_or(|earlier| earlier == number && heard.dup),
                    "{heard:?} is lost: the id is that of {earlier:?}, which is not released"
                );
                spec.delivered(me, heard, now, earlier.is_none());
                self.received.insert(heard.id, number);
                PUBREC
            }
            _ => {
                assert!(!self.received.contains_key(&heard.id), "an id in use: {heard:?}");
                spec.delivered(me, heard, now, !heard.dup);
                PUBACK
            }
        };
        self.due.push(Due { first, id: heard.id, number });
    }

    /// PUBREL has come.
    pub(super) fn on_release(&mut self, id: u16) {
        self.outstanding.remove(&id);
        self.due.retain(|due| due.id != id);
        self.due.push(Due { first: PUBCOMP, id, number: None });
    }

    /// Gives an answer; the packet.
    pub(super) fn answer(
        &mut self,
        which: usize,
        refuses: bool,
        spec: &mut Spec,
        me: usize,
    ) -> Option<Vec<u8>> {
        if self.due.is_empty() {
            return None;
        }
        let due = self.due.remove(which % self.due.len());
        let refuses = refuses && self.version == Version::V5 && due.first != PUBCOMP;
        let is_known = self.received.contains_key(&due.id);
        let reason = match due.first {
            PUBCOMP if !is_known => 0x92,
            _ if refuses => 0x83,
            _ => 0,
        };
        self.outstanding.remove(&due.id);
        if due.first != PUBREC || refuses {
            self.under_way.remove(&due.id);
        }
        if due.first == PUBCOMP || (due.first == PUBREC && refuses) {
            self.received.remove(&due.id);
        }
        if let (PUBREC, true, Some(number)) = (due.first, refuses, due.number) {
            spec.rejected(me, number);
        }
        Some(wire::ack(self.version, due.first, due.id, reason))
    }

    /// What the client says again when its session goes on, in order.
    pub(super) fn resent(&mut self, spec: &mut Spec, now: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for out in &mut self.outgoing {
            match out.stage {
                Stage::Published => {
                    spec.messages[out.number].sent_again_at = now;
                    spec.messages[out.number].is_resent = true;
                    let message: Message = spec.messages[out.number].clone();
                    bytes.extend(wire::publish(self.version, &message, out.id, true));
                    spec.publish(out.number, true);
                }
                Stage::Received | Stage::Released => {
                    out.stage = Stage::Released;
                    bytes.extend(wire::ack(self.version, PUBREL, out.id, 0));
                }
            }
        }
        bytes
    }

    /// An answer to a message of the client's own has come.
    pub(super) fn on_answer(&mut self, first: u8, id: u16, reason: u8, spec: &mut Spec) {
        let at = self.outgoing.iter().position(|out| out.id == id);
        assert!(reason < 0x80 || (first == PUBCOMP && reason == 0x92), "{first:#x} {reason:#x}");
        let Some(at) = at else {
            assert!(
                first == PUBREC || first == PUBCOMP,
                "{first:#x} for {id}, which is not in use"
            );
            return;
        };
        let out = &mut self.outgoing[at];
        let qos = spec.messages[out.number].qos;
        match (first, qos) {
            (PUBACK, QoS::AtLeastOnce) => {
                spec.acknowledged(out.number);
                self.outgoing.remove(at);
            }
            (PUBREC, QoS::ExactlyOnce) => {
                if out.stage == Stage::Published {
                    spec.acknowledged(out.number);
                    out.stage = Stage::Received;
                }
            }
            (PUBCOMP, QoS::ExactlyOnce) => drop(self.outgoing.remove(at)),
            _ => panic!("{first:#x} for a message of {qos:?}"),
        }
    }
}
