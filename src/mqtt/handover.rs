//! Sessions that end, and members of shared subscriptions that leave: what others may have of what
//! they were owed goes to them (MQTT 5.0 §4.8.2). Pure.

use std::sync::Arc;

use super::{
    packet::QoS,
    queue::Delivery,
    router::{Router, Wakes},
    session::Session,
};

impl Router {
    /// Ends a session: its subscriptions go, what others of its shared groups may have goes to them.
    pub(crate) fn end(&self, session: &Session, wakes: &mut Wakes) {
        let filters = std::mem::take(&mut session.lock().subscriptions);
        if !filters.is_empty() {
            let mut subscriptions = self.subscriptions.write();
            for filter in filters.keys() {
                subscriptions.remove(filter, session.key);
            }
        }
        let ended = session.end();
        let mut lost = ended.lost;
        for delivery in ended.to_others {
            lost += usize::from(self.hand_on(delivery, wakes).is_err());
        }
        if lost > 0 {
            self.counters.dropped.session_ended.increment(lost as u64);
        }
    }

    /// A member of shared groups is away: others that are there take over what waits for it.
    pub(crate) fn hand_over(&self, session: &Arc<Session>, wakes: &mut Wakes) {
        let mut shared: Vec<_> = session.lock().subscriptions.keys().cloned().collect();
        shared.retain(|filter| filter.share_name().is_some());
        if !shared.is_empty() {
            let subscriptions = self.subscriptions.read();
            shared.retain(|filter| {
                subscriptions.group(filter).is_some_and(|group| group.any(|s| s.is_present()))
            });
        }
        if shared.is_empty() {
            return;
        }
        for delivery in session.leave_to_others(&shared) {
            // Who was there a moment ago may have unsubscribed.
            if let Err(delivery) = self.hand_on(delivery, wakes) {
                self.give(session, delivery, wakes);
            }
        }
    }

    /// Gives a shared subscription's delivery to another member, or back when there is none.
    fn hand_on(&self, delivery: Delivery, wakes: &mut Wakes) -> Result<(), Delivery> {
        let Some(filter) = delivery.share.clone() else {
            return Err(delivery);
        };
        let subscriptions = self.subscriptions.read();
        let topic = delivery.publication.topic.as_str();
        let dispatch = self.limits.shared_dispatch;
        let member = subscriptions
            .group(&filter)
            .and_then(|group| group.choose(dispatch, topic, |session| session.is_present()));
        let Some(member) = member else {
            return Err(delivery);
        };
        let delivery = Delivery {
            qos: delivery.publication.qos.min(member.options.qos),
            retain: delivery.publication.retain && member.options.retain_as_published,
            identifiers: member.options.identifier.map(|identifier| Box::from([identifier])),
            ..delivery
        };
        let session = member.session.clone();
        drop(subscriptions);
        self.give(&session, delivery, wakes);
        Ok(())
    }

    fn give(&self, session: &Arc<Session>, mut delivery: Delivery, wakes: &mut Wakes) {
        if session.is_stored && delivery.qos != QoS::AtMostOnce {
            let mut changes = Vec::new();
            self.add_row(session, &mut delivery, (&mut None, &mut changes), true);
            self.trailing.extend(changes);
        }
        self.push(session, delivery, wakes);
    }
}
