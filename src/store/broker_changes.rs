//! What the MQTT broker wants kept, written in the committer's transaction.
//!
//! Sessions, subscriptions and queues are keyed by numbers that are never used again, so a change
//! that comes late for a session that has ended finds nothing and does nothing.

use super::{
    StoreError, Transaction,
    engine::{Bind, binds},
};
use crate::mqtt::{
    Change, DeliveryFacts, Publication, RetainHandling, SessionWill, StoredDelivery,
    SubscriptionOptions, topic::TopicFilter,
};

/// How far a queued delivery is, as it stands in the column `stage`.
pub(super) const WAITING: i32 = 0;
pub(super) const SENT: i32 = 1;
pub(super) const RECEIVED: i32 = 2;

impl Transaction<'_> {
    /// Writes one change.
    ///
    /// # Errors
    /// As for [`super::Writer::transaction`].
    pub fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::OpenSession { key, client_id, owner, expiry } => self.run(
                "INSERT INTO mqtt_session (id, client_id, user_name, expiry, sent_to) \
                 VALUES (?1, ?2, ?3, ?4, 0)",
                &binds![number(*key), &**client_id, owner.0.as_deref(), *expiry],
            ),
            Change::UpdateSession { key, expiry, expires_at } => self.run(
                "UPDATE mqtt_session SET expiry = ?2, expires_at = ?3 WHERE id = ?1",
                &binds![number(*key), *expiry, *expires_at],
            ),
            Change::EndSession { key } => self.end_session(number(*key)),
            Change::Subscribe { key, filter, options, replays } => {
                self.subscribe(number(*key), filter, *options, *replays)
            }
            Change::Unsubscribe { key, filter } => self.run(
                "DELETE FROM mqtt_subscription WHERE session_id = ?1 AND filter = ?2",
                &binds![number(*key), &filter.to_string()],
            ),
            Change::Replayed { key, filter, after } => self.run(
                "UPDATE mqtt_subscription SET replayed_to = ?3, replays = ?3 IS NOT NULL \
                 WHERE session_id = ?1 AND filter = ?2",
                &binds![number(*key), &filter.to_string(), after.as_ref().map(|t| t.as_str())],
            ),
            Change::Retain(message) => self.retain(message),
            Change::ForgetRetained(topic) => {
                self.run("DELETE FROM mqtt_retained WHERE topic = ?1", &binds![topic.as_str()])
            }
            Change::KeepWill(will) => self.keep_will(will),
            Change::ForgetWill { key } => {
                self.run("DELETE FROM mqtt_will WHERE id = ?1", &binds![number(*key)])
            }
            queue => self.apply_to_queue(queue),
        }
    }

    /// What becomes of a message on its way to a session.
    fn apply_to_queue(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::KeepMessage(message) => self.keep_message(message.id, &message.publication),
            Change::ForgetMessage { id } => {
                self.run("DELETE FROM mqtt_message WHERE id = ?1", &binds![number(*id)])
            }
            Change::Enqueue { row, delivery } => self.enqueue(row, delivery),
            Change::MarkSent { key, position } => self.run(
                "UPDATE mqtt_session SET sent_to = ?2 WHERE id = ?1 AND sent_to < ?2",
                &binds![number(*key), number(*position)],
            ),
            Change::MarkReceived { key, position } => self.run(
                "UPDATE mqtt_queue SET stage = ?3 WHERE session_id = ?1 AND position = ?2",
                &binds![number(*key), number(*position), RECEIVED],
            ),
            Change::Dequeue { key, position } => self.run(
                "DELETE FROM mqtt_queue WHERE session_id = ?1 AND position = ?2",
                &binds![number(*key), number(*position)],
            ),
            Change::HoldPacketId { key, packet_id } => self.run(
                "INSERT INTO mqtt_unreleased (session_id, packet_id) VALUES (?1, ?2) \
                 ON CONFLICT (session_id, packet_id) DO NOTHING",
                &binds![number(*key), packet_id.get()],
            ),
            Change::ReleasePacketId { key, packet_id } => self.run(
                "DELETE FROM mqtt_unreleased WHERE session_id = ?1 AND packet_id = ?2",
                &binds![number(*key), packet_id.get()],
            ),
            _ => Ok(()),
        }
    }

    fn run(&self, sql: &'static str, values: &[Bind<'_>]) -> Result<(), StoreError> {
        self.execute(sql, values).map(drop)
    }

    fn end_session(&self, key: i64) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM mqtt_session WHERE id = ?1",
            "DELETE FROM mqtt_subscription WHERE session_id = ?1",
            "DELETE FROM mqtt_queue WHERE session_id = ?1",
            "DELETE FROM mqtt_unreleased WHERE session_id = ?1",
        ] {
            self.run(sql, &binds![key])?;
        }
        Ok(())
    }

    fn subscribe(
        &self,
        key: i64,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        replays: bool,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO mqtt_subscription (session_id, filter, options, identifier, replays) \
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM mqtt_session WHERE id = ?1) \
             ON CONFLICT (session_id, filter) DO UPDATE SET options = excluded.options, \
             identifier = excluded.identifier, replays = excluded.replays OR mqtt_subscription.replays, \
             replayed_to = CASE WHEN excluded.replays THEN NULL \
             ELSE mqtt_subscription.replayed_to END",
            &binds![key, &filter.to_string(), code(options), options.identifier, replays],
        )
    }

    fn keep_message(&self, id: u64, message: &Publication) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO mqtt_message (id, topic, payload, properties, qos, retain, is_utf8, \
             received_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            &binds![
                number(id),
                message.topic.as_str(),
                &message.payload[..],
                &message.forwarded[..],
                message.qos as u8,
                message.retain,
                message.is_utf8,
                message.received_at,
                message.expires_at
            ],
        )
    }

    fn enqueue(&self, row: &StoredDelivery, facts: &DeliveryFacts) -> Result<(), StoreError> {
        let identifiers = facts.identifiers.as_ref().map(|identifiers| {
            identifiers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        });
        let share = facts.share.as_ref().map(ToString::to_string);
        self.run(
            "INSERT INTO mqtt_queue (session_id, position, message_id, packet_id, qos, retain, \
             stage, identifiers, share) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 \
             WHERE EXISTS (SELECT 1 FROM mqtt_session WHERE id = ?1)",
            &binds![
                number(row.key),
                number(row.position),
                number(row.message.id),
                row.packet_id.get(),
                facts.qos as u8,
                facts.retain,
                if facts.is_sent { SENT } else { WAITING },
                identifiers.as_deref(),
                share.as_deref()
            ],
        )
    }

    fn retain(&self, message: &Publication) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO mqtt_retained (topic, payload, properties, qos, retain, is_utf8, \
             received_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (topic) DO UPDATE SET payload = excluded.payload, \
             properties = excluded.properties, qos = excluded.qos, retain = excluded.retain, \
             is_utf8 = excluded.is_utf8, received_at = excluded.received_at, \
             expires_at = excluded.expires_at",
            &binds![
                message.topic.as_str(),
                &message.payload[..],
                &message.forwarded[..],
                message.qos as u8,
                message.retain,
                message.is_utf8,
                message.received_at,
                message.expires_at
            ],
        )
    }

    fn keep_will(&self, will: &SessionWill) -> Result<(), StoreError> {
        let message = &will.publication;
        self.run(
            "INSERT INTO mqtt_will (id, session_id, client_id, user_name, topic, \
             payload, properties, qos, retain, is_utf8, delay, message_expiry, due_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
             ON CONFLICT (id) DO UPDATE SET session_id = excluded.session_id, \
             client_id = excluded.client_id, user_name = excluded.user_name, \
             topic = excluded.topic, payload = excluded.payload, \
             properties = excluded.properties, qos = excluded.qos, retain = excluded.retain, \
             is_utf8 = excluded.is_utf8, delay = excluded.delay, \
             message_expiry = excluded.message_expiry, due_at = excluded.due_at",
            &binds![
                number(will.key),
                number(will.session),
                &*will.client.client_id,
                will.client.identity.0.as_deref(),
                message.topic.as_str(),
                &message.payload[..],
                &message.forwarded[..],
                message.qos as u8,
                message.retain,
                message.is_utf8,
                will.delay,
                will.message_expiry,
                will.due_at
            ],
        )
    }
}

/// Keys and positions count up from 1: they never get near the sign.
fn number(key: u64) -> i64 {
    i64::try_from(key).unwrap_or(i64::MAX)
}

/// A subscription's options in one number: the byte of the SUBSCRIBE packet (MQTT 5.0 §3.8.3.1).
fn code(options: SubscriptionOptions) -> u8 {
    let handling = match options.retain_handling {
        RetainHandling::SendOnSubscribe => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    options.qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | handling << 4
}
