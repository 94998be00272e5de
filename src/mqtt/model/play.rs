//! Plays a sequence of steps to the broker and to the model of the specification, and compares.

use std::time::Duration;

use super::{
    client::{Client, Outgoing, PUBREL, Stage},
    spec::{FOR_EVER, Message, Spec},
    wire::{self, Heard},
    world::{World, read, write},
};
use crate::mqtt::packet::{QoS, RetainHandling, SubscriptionOptions, Version};

pub(super) const CLIENTS: usize = 4;
/// Of the last client, who speaks 3.1.1.
pub(super) const WINDOW: u16 = 3;
pub(super) const TOPICS: [&str; 4] = ["a/b", "a/c", "a", "c"];
pub(super) const FILTERS: [&str; 9] =
    ["a/b", "a/+", "a/#", "#", "+/b", "c", "$share/g/a/#", "$share/g/a/b", "$share/h/#"];

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Where the client is connected, a take-over.
    Connect {
        client: usize,
        clean: bool,
        expiry: u32,
        window: u16,
    },
    /// The connection is cut.
    Drop {
        client: usize,
    },
    /// The client says goodbye, and that its session is over.
    Disconnect {
        client: usize,
        ends: bool,
    },
    Subscribe {
        client: usize,
        filter: usize,
        options: SubscriptionOptions,
    },
    Unsubscribe {
        client: usize,
        filter: usize,
    },
    Publish {
        client: usize,
        topic: usize,
        qos: QoS,
        retain: bool,
        is_empty: bool,
        expires: bool,
    },
    /// One of the answers that the client owes, in any order.
    Answer {
        client: usize,
        which: usize,
        refuses: bool,
    },
    /// PUBREL for one of its messages.
    Release {
        client: usize,
        which: usize,
    },
    /// The client reads nothing more on this connection.
    Deafen {
        client: usize,
    },
    Advance {
        seconds: u64,
    },
    Commit {
        entries: usize,
    },
    CommitAll,
    /// How many entries the store has room for.
    Room {
        entries: usize,
    },
    Restart,
}

pub(super) struct Play {
    pub(super) world: World,
    pub(super) spec: Spec,
    pub(super) clients: Vec<Client>,
    /// Everything is committed as soon as it is offered.
    commits_at_once: bool,
    pub(super) room: usize,
}

impl Play {
    pub(super) fn new(commits_at_once: bool) -> Self {
        let version = |n| if n + 1 == CLIENTS { Version::V4 } else { Version::V5 };
        let clients = (0..CLIENTS).map(|n| Client::new(format!("c{n}"), version(n))).collect();
        let spec = Spec::new(CLIENTS);
        Self { world: World::new(), spec, clients, commits_at_once, room: usize::MAX }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect { client, clean, expiry, window } => {
                self.connect(client, clean, expiry, window);
            }
            Step::Drop { client } => self.leave(client, None),
            Step::Disconnect { client, ends } => self.leave(client, Some(ends)),
            Step::Subscribe { client, filter, options } => {
                self.subscribe(client, FILTERS[filter], options);
            }
            Step::Unsubscribe { client, filter } => self.unsubscribe(client, FILTERS[filter]),
            Step::Publish { .. } => self.publish(step),
            Step::Answer { client, which, refuses } => self.answer(client, which, refuses),
            Step::Release { client, which } => self.release(client, which),
            Step::Deafen { client } => self.clients[client].is_deaf = true,
            Step::Advance { seconds } => {
                self.world.advance(Duration::from_secs(seconds));
                self.expire();
            }
            Step::Commit { entries } => drop(self.world.commit(entries)),
            Step::CommitAll => return self.settle(),
            Step::Room { entries } => {
                self.room = entries;
                self.world.store.set_room(entries);
            }
            Step::Restart => self.restart(),
        }
        self.go_on();
        if self.commits_at_once {
            self.settle();
        }
    }

    pub(super) fn connect(&mut self, me: usize, clean: bool, expiry: u32, window: u16) {
        let client = &mut self.clients[me];
        // A client that knows nothing of a session may not resume it.
        let clean = clean || client.has_forgotten;
        let (expiry, window) = match client.version {
            Version::V5 => (expiry, window),
            Version::V4 => (if clean { 0 } else { FOR_EVER }, WINDOW),
        };
        let earlier = client.pipe.take();
        if earlier.is_some() {
            self.spec.retained.lose(me);
        }
        client.hang_up(&mut self.spec, me);
        if clean {
            client.forget();
        }
        client.expects_session = self.spec.connect(me, clean, expiry);
        client.window = usize::from(window);
        client.is_for_once = expiry == 0;
        let mut pipe = self.world.open();
        write(&mut pipe, &wire::connect(client.version, &client.name, clean, expiry, window));
        client.pipe = Some(pipe);
        self.world.run();
        drop(earlier);
        self.world.run();
    }

    fn leave(&mut self, me: usize, says_that_it_ends: Option<bool>) {
        let client = &mut self.clients[me];
        let Some(mut pipe) = client.pipe.take() else { return };
        let is_known = client.is_open && self.room == usize::MAX;
        if let Some(ends) = says_that_it_ends {
            let ends = ends && is_known && client.version == Version::V5;
            write(&mut pipe, &wire::disconnect(ends));
            if ends {
                client.is_for_once = true;
                self.spec.session(me).expiry = 0;
            }
        }
        drop(pipe);
        client.hang_up(&mut self.spec, me);
        self.world.run();
        self.spec.retained.lose(me);
        self.spec.leave(me, self.world.now(), is_known);
    }

    fn send(&mut self, me: usize, bytes: &[u8]) {
        if let Some(pipe) = &mut self.clients[me].pipe {
            write(pipe, bytes);
        }
        self.world.run();
    }

    fn subscribe(&mut self, me: usize, filter: &'static str, mut options: SubscriptionOptions) {
        let client = &mut self.clients[me];
        if !client.is_open {
            return;
        }
        if client.version == Version::V4 {
            options.identifier = None;
            options.no_local = false;
            options.retain_as_published = false;
            options.retain_handling = RetainHandling::SendOnSubscribe;
        }
        options.no_local &= !filter.starts_with('$');
        let id = client.free_id();
        client.requests.insert(id, filter);
        let bytes = wire::subscribe(client.version, id, filter, options);
        self.spec.subscribe(me, filter, options);
        self.send(me, &bytes);
    }

    fn unsubscribe(&mut self, me: usize, filter: &'static str) {
        let client = &mut self.clients[me];
        if !client.is_open {
            return;
        }
        let id = client.free_id();
        client.requests.insert(id, filter);
        let bytes = wire::unsubscribe(client.version, id, filter);
        self.spec.unsubscribe(me, filter);
        self.send(me, &bytes);
    }

    /// When the broker reads what is sent now: where the store has little room, nobody knows.
    fn received_at(&self) -> i64 {
        if self.room == usize::MAX { self.world.now() } else { i64::MAX / 2 }
    }

    fn publish(&mut self, step: &Step) {
        let Step::Publish { client: me, topic, qos, retain, is_empty, expires } = *step else {
            return;
        };
        if !self.clients[me].is_open {
            return;
        }
        let number = self.spec.messages.len();
        let message = Message {
            number,
            topic: TOPICS[topic],
            qos,
            retain,
            is_empty: is_empty && retain,
            expiry: (expires && self.clients[me].version == Version::V5).then_some(20),
            sent_at: self.world.now(),
            sent_again_at: self.received_at(),
            is_resent: false,
            publisher: me,
            incarnation: self.spec.session(me).incarnation,
        };
        let client = &mut self.clients[me];
        let id = client.free_id();
        let bytes = wire::publish(client.version, &message, id, false);
        if qos != QoS::AtMostOnce {
            client.outgoing.push(Outgoing { id, number, stage: Stage::Published });
        }
        self.spec.messages.push(message);
        self.spec.publish(number, false);
        self.send(me, &bytes);
    }

    pub(super) fn answer(&mut self, me: usize, which: usize, refuses: bool) {
        if self.clients[me].is_open
            && let Some(bytes) = self.clients[me].answer(which, refuses, &mut self.spec, me)
        {
            self.send(me, &bytes);
        }
    }

    pub(super) fn release(&mut self, me: usize, which: usize) {
        let client = &mut self.clients[me];
        let is_waiting = |out: &&mut Outgoing| out.stage == Stage::Received;
        let waiting = client.outgoing.iter_mut().filter(is_waiting).count();
        let of = client.outgoing.iter_mut().filter(is_waiting).nth(which % waiting.max(1));
        let Some(out) = of.filter(|_| client.is_open) else { return };
        out.stage = Stage::Released;
        let bytes = wire::ack(client.version, PUBREL, out.id, 0);
        self.send(me, &bytes);
    }

    fn restart(&mut self) {
        self.world.restart(self.room);
        self.spec.restart(self.world.now());
        for me in 0..CLIENTS {
            self.clients[me].hang_up(&mut self.spec, me);
        }
        self.expire();
    }

    /// A client whose session may have ended gives it up, as the broker does.
    fn expire(&mut self) {
        for me in self.spec.expire(self.world.now()) {
            self.clients[me].forget();
        }
    }

    /// Lets the broker run and the clients hear what it says, until nobody has anything to do.
    pub(super) fn go_on(&mut self) {
        loop {
            self.world.run();
            let mut has_heard = false;
            for me in 0..CLIENTS {
                has_heard |= self.listen(me);
            }
            if !has_heard {
                return;
            }
        }
    }

    fn listen(&mut self, me: usize) -> bool {
        let client = &mut self.clients[me];
        let Some(pipe) = client.pipe.as_mut().filter(|_| !client.is_deaf) else {
            return false;
        };
        let is_connected = read(pipe, &mut client.bytes);
        let version = client.version;
        let mut has_heard = false;
        while let Some(heard) = wire::next(&mut self.clients[me].bytes, version) {
            has_heard = true;
            self.hear(me, heard);
        }
        assert!(is_connected, "the broker has closed the connection of client {me}");
        has_heard
    }

    fn hear(&mut self, me: usize, heard: Heard) {
        let (now, received_at) = (self.world.now(), self.received_at());
        let client = &mut self.clients[me];
        match heard {
            Heard::ConnAck { present, code } => {
                assert_eq!(code, 0, "CONNACK");
                let expected = client.expects_session;
                assert!(expected.is_none_or(|e| e == present), "session present: {present}");
                client.is_open = true;
                self.spec.connected(me, present);
                if present {
                    let bytes = client.resent(&mut self.spec, received_at);
                    self.send(me, &bytes);
                } else {
                    client.forget();
                    client.has_forgotten = false;
                }
            }
            Heard::Publish(incoming) => client.on_publish(&incoming, &mut self.spec, me, now),
            Heard::Ack { first: PUBREL, id, .. } => client.on_release(id),
            Heard::Ack { first, id, reason } => {
                client.on_answer(first, id, reason, &mut self.spec);
            }
            Heard::SubAck { id, codes } => {
                let filter = client.requests.remove(&id).expect("a SUBSCRIBE");
                assert!(codes.iter().all(|code| *code < 3), "SUBACK {codes:?}");
                if !client.requests.values().any(|known| *known == filter) {
                    self.spec.subscribed(me, filter);
                }
            }
            Heard::UnsubAck { id } => {
                let filter = client.requests.remove(&id).expect("an UNSUBSCRIBE");
                if !client.requests.values().any(|known| *known == filter) {
                    self.spec.session(me).subscriptions.remove(filter);
                }
            }
            Heard::PingResp => panic!("a PINGRESP that nobody asked for"),
            Heard::Disconnect(reason) => panic!("client {me} is sent away: {reason:#x}"),
        }
    }
}
