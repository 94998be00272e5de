//! What the broker does by the clock: sessions expire, delayed wills are said, old messages go.

use std::sync::Arc;

use super::{
    broker::Broker, journal::Change, publication::UnixMicros, router::Wakes, session::Session,
};

impl Broker {
    /// Ends sessions that have expired, publishes wills that are due. To be called once a second, and
    /// once before anybody connects.
    pub async fn sweep(&self) {
        let now = self.clock.unix_micros();
        for will in self.take_due(now) {
            self.publish_will(will).await;
        }
        self.router.expire_retained(now);
        let (messages, bytes) = self.router.retained();
        self.counters.retained_messages.set(messages as f64);
        self.counters.retained_bytes.set(bytes as f64);
        self.counters.subscriptions.set(self.router.subscription_count() as f64);
        self.counters.sessions.set(self.sessions.lock().len() as f64);
        self.counters.queued_bytes.set(self.router.budget.used() as f64);
    }

    fn take_due(&self, now: UnixMicros) -> Vec<super::will::SessionWill> {
        let due = self.sessions.lock().take_due(now);
        let mut wakes = Wakes::default();
        let mut changes = Vec::new();
        self.counters.sessions_expired.increment(due.expired.len() as u64);
        for session in due.expired {
            self.router.end(&session, &mut wakes);
            changes.push(Change::EndSession { key: session.key });
        }
        self.save(changes);
        due.wills
    }

    /// Drops messages that have waited too long for their absent clients. To be called once a minute.
    pub fn drop_old(&self) {
        let now = self.clock.unix_micros();
        let age = i64::try_from(self.limits.queued_age_max.as_micros()).unwrap_or(i64::MAX);
        let received_before = if age == 0 { UnixMicros::MIN } else { now.saturating_sub(age) };
        let stored: Vec<Arc<Session>> = {
            let sessions = self.sessions.lock();
            sessions.all().filter(|session| session.is_stored).cloned().collect()
        };
        let (mut expired, mut old, mut queued) = (0, 0, 0);
        for session in stored {
            let dropped = session.drop_older(received_before, now);
            expired += dropped.0;
            old += dropped.1;
            queued += session.lock().queued().0;
        }
        self.counters.dropped.expired.increment(expired as u64);
        self.counters.dropped.too_old.increment(old as u64);
        self.counters.queued_messages.set(queued as f64);
    }

    /// Sessions, those of absent clients included.
    pub fn sessions(&self) -> usize {
        self.sessions.lock().len()
    }
}
