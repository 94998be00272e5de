//! What must hold when nothing is under way: the store has what memory has; and at the end, when all is
//! answered, nothing is owed and nothing is left.

use std::time::Duration;

use super::play::{CLIENTS, Play, WINDOW};

impl Play {
    /// Commits until nothing is left to be committed, and compares what is kept.
    pub(super) fn settle(&mut self) {
        self.world.store.set_room(usize::MAX);
        self.room = usize::MAX;
        loop {
            self.go_on();
            if !self.world.commit(usize::MAX) && self.world.store.is_idle() {
                break;
            }
        }
        self.go_on();
        let now = self.world.now();
        self.spec.settle(now);
        self.world.advance(Duration::ZERO);
        while self.world.commit(usize::MAX) {}
        self.go_on();
        self.compare(now);
    }

    fn compare(&mut self, now: i64) {
        let tables = self.world.store.tables();
        let router = &self.world.broker.router;
        self.spec.retained.settle(now, |topic| {
            let kept = tables.retained.get(topic).map(|message| message.payload.to_vec());
            let held = router.retained_message(topic).map(|payload| payload.to_vec());
            assert_eq!(kept, held, "{topic}: the store against memory");
            held
        });
        let stored: Vec<_> = {
            let sessions = self.world.broker.sessions.lock();
            sessions.all().filter(|session| session.is_stored).cloned().collect()
        };
        let mut keys: Vec<u64> = stored.iter().map(|session| session.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, tables.sessions.keys().copied().collect::<Vec<_>>(), "sessions");
        for session in stored {
            let (row, state) = (&tables.sessions[&session.key], session.lock());
            let mut filters: Vec<_> =
                state.subscriptions.iter().map(|(f, o)| (f.to_string(), *o)).collect();
            filters.sort_by(|a, b| a.0.cmp(&b.0));
            let kept: Vec<_> =
                row.subscriptions.iter().map(|(name, (_, o, _))| (name.clone(), *o)).collect();
            assert_eq!(kept, filters, "subscriptions of {}", session.client_id);
            let held = state.inflight.len() + state.queued().0;
            assert!(row.queue.len() <= held, "{} rows for {held} deliveries", row.queue.len());
            assert!(row.unreleased.len() <= state.unreleased(), "packet ids of {session:?}");
        }
        assert!(tables.wills.is_empty(), "wills");
    }

    /// Everybody comes back and answers everything: all that was promised has come, nothing is left.
    pub(super) fn finish(&mut self) {
        self.settle();
        for me in 0..CLIENTS {
            let has_session = self.spec.sessions[me].is_some();
            if has_session && (!self.clients[me].is_open || self.clients[me].is_deaf) {
                let expiry = self.spec.session(me).expiry.max(1);
                self.connect(me, false, expiry, WINDOW);
            }
        }
        self.settle();
        while self.answer_all() {
            self.settle();
        }
        self.spec.assert_paid();
        for client in self.clients.iter().filter(|client| client.is_open) {
            assert!(client.received.is_empty(), "{} is never asked to release", client.name);
        }
        for session in self.world.broker.sessions.lock().all() {
            let (messages, _) = session.lock().queued();
            assert_eq!(messages, 0, "queued for {}", session.client_id);
        }
        assert_eq!(self.world.broker.router.budget.used(), 0, "bytes queued");
        let tables = self.world.store.tables();
        for row in tables.sessions.values() {
            assert!(row.queue.is_empty() && row.unreleased.is_empty(), "left: {row:?}");
        }
        assert!(tables.messages.is_empty(), "messages left: {:?}", tables.messages);
    }

    fn answer_all(&mut self) -> bool {
        let mut has_answered = false;
        for me in 0..CLIENTS {
            let client = &self.clients[me];
            if !client.is_open {
                continue;
            }
            let due = client.due.len();
            let releases = client.outgoing.len();
            has_answered |= due + releases > 0;
            for _ in 0..due {
                self.answer(me, 0, false);
            }
            for which in 0..releases {
                self.release(me, which);
            }
        }
        has_answered
    }
}
