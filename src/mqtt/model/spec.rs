//! What the specification asks for, kept beside the broker: who may get which message, who must, and
//! what has come.
//!
//! Where the broker is free (what was under way when a process ended, which member of a shared
//! subscription gets a message), both are allowed. A promise begins with an acknowledgement.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    receiver::{Session, shared},
    retained::Retained,
    wire::Incoming,
};
use crate::mqtt::{
    packet::{QoS, SubscriptionOptions},
    topic::matches,
};

pub(super) const FOR_EVER: u32 = u32::MAX;

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) number: usize,
    pub(super) topic: &'static str,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Of no bytes: it deletes what is retained.
    pub(super) is_empty: bool,
    pub(super) expiry: Option<u32>,
    pub(super) sent_at: i64,
    /// The last time; whether the broker counts from then depends on whether it had the message.
    pub(super) sent_again_at: i64,
    pub(super) is_resent: bool,
    pub(super) publisher: usize,
    /// Of the publisher's sessions, the one that it was first sent in.
    pub(super) incarnation: usize,
}

impl Message {
    pub(super) fn payload(&self) -> Vec<u8> {
        if self.is_empty { Vec::new() } else { self.number.to_string().into_bytes() }
    }

    pub(super) fn has_expired(&self, now: i64) -> bool {
        let ends = |seconds| self.sent_again_at + i64::from(seconds) * 1_000_000;
        self.expiry.is_some_and(|seconds: u32| ends(seconds) <= now)
    }

    pub(super) fn may_have_expired(&self, now: i64) -> bool {
        let ends = |seconds| self.sent_at + i64::from(seconds) * 1_000_000;
        self.expiry.is_some_and(|seconds: u32| ends(seconds) <= now)
    }
}

/// A message that some member of a shared subscription must get.
#[derive(Debug)]
struct GroupOwed {
    filter: &'static str,
    message: usize,
    is_promised: bool,
}

#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) messages: Vec<Message>,
    pub(super) sessions: Vec<Option<Session>>,
    /// Sessions that have ended, and whose end the store may not know.
    ghosts: Vec<Option<Session>>,
    /// Messages that may be routed now or later.
    unsettled: BTreeSet<usize>,
    groups: Vec<GroupOwed>,
    /// Shared subscriptions with a member that is not owed what it is sent.
    careless: BTreeSet<&'static str>,
    incarnations: usize,
    pub(super) retained: Retained,
}

impl Spec {
    pub(super) fn new(clients: usize) -> Self {
        let none = || (0..clients).map(|_| None).collect();
        Self { sessions: none(), ghosts: none(), ..Self::default() }
    }

    pub(super) fn session(&mut self, client: usize) -> &mut Session {
        self.sessions[client].as_mut().expect("a session")
    }

    /// CONNECT is sent; whether the CONNACK is to say that the session is present, where that is known.
    pub(super) fn connect(&mut self, client: usize, clean: bool, expiry: u32) -> Option<bool> {
        let ends = self.sessions[client]
            .as_ref()
            .is_some_and(|earlier| clean || (earlier.is_connected && earlier.expiry == 0));
        let was_doubtful = self.sessions[client].as_ref().is_some_and(|s| s.is_doubtful);
        if ends {
            self.end(client);
        }
        if self.sessions[client].is_none() {
            self.begin(client, expiry);
            self.session(client).is_connected = true;
            return Some(false);
        }
        let session = self.session(client);
        if was_doubtful && session.is_connected {
            // What is resumed may be a session that the CONNECT before has begun.
            session.owed.clear();
            session.subscriptions.values_mut().for_each(|known| known.is_sure = false);
        }
        session.is_connected = true;
        session.is_open = false;
        session.expiry = expiry;
        session.ends = None;
        (!was_doubtful).then_some(true)
    }

    fn begin(&mut self, client: usize, expiry: u32) {
        self.incarnations += 1;
        self.sessions[client] = Some(Session {
            incarnation: self.incarnations,
            is_stored: expiry > 0,
            expiry,
            ..Session::default()
        });
    }

    pub(super) fn connected(&mut self, client: usize, present: bool) {
        if !present && self.session(client).is_doubtful {
            let expiry = self.session(client).expiry;
            self.end(client);
            self.begin(client, expiry);
        }
        self.ghosts[client] = None;
        let session = self.session(client);
        session.is_connected = true;
        session.is_open = true;
        session.is_doubtful = false;
    }

    /// The client goes at `now`; `is_known`: the broker knows at once.
    pub(super) fn leave(&mut self, client: usize, now: i64, is_known: bool) {
        let Some(session) = &mut self.sessions[client] else { return };
        if !is_known {
            // To the broker it is there for a while, and may begin what nobody can take over.
            let groups = session.history.iter().map(|(filter, _)| *filter);
            self.careless.extend(groups.filter(|filter| shared(filter).is_some()));
        }
        if session.expiry == 0 {
            return self.end(client);
        }
        let at = now + i64::from(session.expiry) * 1_000_000;
        session.is_doubtful |= !session.is_open;
        session.is_connected = false;
        session.is_open = false;
        session.ends = (session.expiry != FOR_EVER).then_some((at, is_known.then_some(at)));
    }

    fn end(&mut self, client: usize) {
        let Some(session) = self.sessions[client].take() else { return };
        for (filter, _) in &session.history {
            self.groups.retain(|owed| owed.filter != *filter);
        }
        if session.is_stored && self.ghosts[client].is_none() {
            self.ghosts[client] = Some(Session { taken: BTreeMap::new(), ..session });
        }
    }

    /// The clock shows `now`, and the broker has looked at it; whose sessions may have ended.
    pub(super) fn expire(&mut self, now: i64) -> Vec<usize> {
        let mut ended = Vec::new();
        for client in 0..self.sessions.len() {
            let Some(session) = &mut self.sessions[client] else { continue };
            match session.ends {
                Some((_, Some(latest))) if latest <= now => self.end(client),
                Some((earliest, _)) if earliest <= now => {
                    session.is_doubtful = true;
                    session.taken.clear();
                }
                _ => continue,
            }
            ended.push(client);
        }
        ended
    }

    /// The process has ended, and another begun at `now`.
    pub(super) fn restart(&mut self, now: i64) {
        for client in 0..self.sessions.len() {
            if let Some(session) = &mut self.sessions[client] {
                session.owed.retain(|_, is_promised| *is_promised);
                session.is_doubtful |= session.is_connected && !session.is_open;
                session.ends = match session.ends {
                    _ if session.expiry == FOR_EVER => None,
                    Some((earliest, latest)) => {
                        let again = now + i64::from(session.expiry) * 1_000_000;
                        Some((earliest, latest.map(|latest| latest.max(again))))
                    }
                    None => {
                        let at = now + i64::from(session.expiry) * 1_000_000;
                        Some((at, Some(at)))
                    }
                };
                session.is_connected = false;
                session.is_open = false;
                if session.is_doubtful {
                    session.ends = None;
                }
                let was_open = session.is_stored && !session.is_doubtful;
                if !session.is_stored || (session.expiry == 0 && was_open) {
                    self.end(client);
                }
                if was_open {
                    self.ghosts[client] = None;
                }
            }
            if let Some(mut ghost) = self.ghosts[client].take() {
                ghost.subscriptions.values_mut().for_each(|known| known.is_sure = false);
                self.sessions[client] = Some(Session {
                    is_doubtful: true,
                    is_connected: false,
                    is_open: false,
                    owed: BTreeMap::new(),
                    ends: None,
                    ..ghost
                });
            }
        }
        self.groups.retain(|owed| owed.is_promised);
        self.retained.restart();
    }

    /// Everything that was under way has come to its end, at `now`.
    pub(super) fn settle(&mut self, now: i64) {
        self.unsettled.clear();
        self.ghosts.iter_mut().for_each(|ghost| *ghost = None);
        for session in self.sessions.iter_mut().flatten() {
            if let Some((_, latest @ None)) = &mut session.ends {
                *latest = Some(now + i64::from(session.expiry) * 1_000_000);
            }
        }
    }

    pub(super) fn subscribe(
        &mut self,
        client: usize,
        filter: &'static str,
        options: SubscriptionOptions,
    ) {
        let unsettled = self.unsettled.clone();
        let messages = &self.messages;
        let session = self.sessions[client].as_mut().expect("a session");
        if shared(filter).is_some() {
            if options.qos == QoS::AtMostOnce || !session.is_stored {
                self.careless.insert(filter);
                self.groups.retain(|owed| owed.filter != filter);
            }
        } else {
            let matching = |number: &usize| matches(filter, messages[*number].topic);
            session.owed.retain(|number, is_promised| *is_promised || !matching(number));
            for number in unsettled.iter().filter(|number| matching(number)) {
                let qos = messages[*number].qos.min(options.qos);
                session.live.entry(*number).or_default().insert(qos);
            }
        }
        session.history.push((filter, options));
        let known = session.subscriptions.entry(filter).or_default();
        known.options.push(options);
        known.is_sure = false;
    }

    pub(super) fn unsubscribe(&mut self, client: usize, filter: &'static str) {
        let messages = &self.messages;
        let session = self.sessions[client].as_mut().expect("a session");
        let matching = |number: &usize| matches(filter, messages[*number].topic);
        session.owed.retain(|number, is_promised| *is_promised || !matching(number));
        if shared(filter).is_some() {
            self.groups.retain(|owed| owed.filter != filter || owed.is_promised);
        }
        if let Some(subscription) = session.subscriptions.get_mut(filter) {
            subscription.is_sure = false;
        }
    }

    /// A PUBLISH is sent, for the first time or again.
    pub(super) fn publish(&mut self, number: usize, is_again: bool) {
        self.unsettled.insert(number);
        let message = self.messages[number].clone();
        let mut groups: BTreeMap<&'static str, bool> = BTreeMap::new();
        for session in self.sessions.iter_mut().flatten() {
            session.publish(&message, is_again, &mut groups);
        }
        for ghost in self.ghosts.iter_mut().flatten() {
            ghost.publish(&message, is_again, &mut BTreeMap::new());
        }
        let may_be_known = is_again && message.qos == QoS::ExactlyOnce;
        let is_owed = message.qos != QoS::AtMostOnce && message.expiry.is_none() && !may_be_known;
        for (filter, is_sure) in groups {
            let is_new = !self.groups.iter().any(|o| o.filter == filter && o.message == number);
            if is_sure && is_owed && is_new && !self.careless.contains(filter) && !message.is_empty
            {
                self.groups.push(GroupOwed { filter, message: number, is_promised: false });
            }
        }
        if message.retain {
            self.retained.publish(&message, may_be_known);
        }
    }

    /// PUBACK or PUBREC: the broker answers for the message.
    pub(super) fn acknowledged(&mut self, number: usize) {
        self.unsettled.remove(&number);
        for session in self.sessions.iter_mut().flatten() {
            session.owed.entry(number).and_modify(|is_promised| *is_promised = true);
        }
        let same = self.groups.iter_mut().filter(|owed| owed.message == number);
        same.for_each(|owed| owed.is_promised = true);
        if self.messages[number].retain {
            self.retained.acknowledged(number);
        }
    }

    /// A client is sent a message; `is_taken`: it is not one that it has already.
    pub(super) fn delivered(&mut self, client: usize, heard: &Incoming, now: i64, is_taken: bool) {
        let Some(number) = number_of(heard) else { return };
        let message = self.messages[number].clone();
        assert_eq!(heard.topic, message.topic, "another message's topic: {heard:?}");
        let session = self.sessions[client].as_mut().expect("a session");
        session.check_delivery(&message, heard, now, is_taken);
        for (filter, _) in session.history.iter().filter(|(f, _)| shared(f).is_some()) {
            let is_it = |o: &GroupOwed| o.message == number && o.filter == *filter;
            self.groups.retain(|owed| !is_it(owed));
        }
    }

    /// The client knows nothing of what it has taken any more.
    pub(super) fn forget(&mut self, client: usize) {
        if let Some(session) = &mut self.sessions[client] {
            session.taken.clear();
        }
    }

    /// The client does not want the message: it counts as not taken.
    pub(super) fn rejected(&mut self, client: usize, number: usize) {
        if let Some(taken) = self.session(client).taken.get_mut(&number) {
            *taken = taken.saturating_sub(1);
        }
    }

    /// SUBACK.
    pub(super) fn subscribed(&mut self, client: usize, filter: &'static str) {
        let known = self.session(client).subscriptions.get_mut(filter).expect("asked for");
        known.options.drain(..known.options.len() - 1);
        known.is_sure = true;
    }

    pub(super) fn has_shared(&mut self, client: usize) -> bool {
        self.session(client).history.iter().any(|(filter, _)| shared(filter).is_some())
    }

    /// Nothing promised may be left.
    pub(super) fn assert_paid(&self) {
        for (client, session) in self.sessions.iter().enumerate() {
            let Some(session) = session.as_ref().filter(|session| session.is_open) else {
                continue;
            };
            let unpaid: Vec<_> = session.owed.iter().filter(|(_, promised)| **promised).collect();
            assert!(unpaid.is_empty(), "client {client} never got {unpaid:?}");
        }
        let unpaid: Vec<_> = self.groups.iter().filter(|owed| owed.is_promised).collect();
        assert!(unpaid.is_empty(), "no member got {unpaid:?}");
    }
}

pub(super) fn number_of(heard: &Incoming) -> Option<usize> {
    std::str::from_utf8(&heard.payload).ok()?.parse().ok()
}
