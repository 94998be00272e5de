//! What the MQTT broker had kept, read back at start. Rows that hang on nothing any more go.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder};

use super::{
    Store, StoreError,
    broker_changes::{RECEIVED, SENT},
};
use crate::mqtt::{
    Client, ClientId, DeliveryFacts, Identity, PacketId, Publication, QoS, RetainHandling,
    SavedDelivery, SavedReplay, SavedSession, SavedState, SavedSubscription, SessionWill,
    SubscriptionOptions, Version,
    topic::{TopicFilter, TopicLimits, TopicName},
};

/// What was legal when it was kept is legal now.
const ANY: TopicLimits = TopicLimits { levels_max: usize::MAX, bytes_max: usize::MAX };

/// What is left of sessions that ended, or of writes that came after their end.
const LEFTOVERS: [&str; 5] = [
    "DELETE FROM mqtt_session WHERE id NOT IN (SELECT max(id) FROM mqtt_session GROUP BY client_id)",
    "DELETE FROM mqtt_subscription WHERE session_id NOT IN (SELECT id FROM mqtt_session)",
    "DELETE FROM mqtt_queue WHERE session_id NOT IN (SELECT id FROM mqtt_session)",
    "DELETE FROM mqtt_unreleased WHERE session_id NOT IN (SELECT id FROM mqtt_session)",
    "DELETE FROM mqtt_message WHERE id NOT IN (SELECT message_id FROM mqtt_queue)",
];

impl Store {
    /// What the broker had kept when the process ended.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn broker_state(&self) -> Result<SavedState, StoreError> {
        let write = self.begin().await?;
        for sql in LEFTOVERS {
            write.transaction.execute_unprepared(sql).await?;
        }
        write.commit().await?;
        let mut state = SavedState {
            sessions: self.saved_sessions().await?,
            messages: self.saved_messages().await?,
            retained: self.saved_retained().await?,
            wills: self.saved_wills().await?,
            next_key: 1,
            next_message: 1,
        };
        let keys = state.sessions.iter().map(|session| session.key);
        let keys = keys.chain(state.wills.iter().flat_map(|will| [will.key, will.session]));
        state.next_key = keys.max().map_or(1, |key| key + 1);
        state.next_message = state.messages.keys().max().map_or(1, |id| id + 1);
        Ok(state)
    }

    async fn saved_sessions(&self) -> Result<Vec<SavedSession>, StoreError> {
        use entity::{mqtt_queue, mqtt_session, mqtt_subscription, mqtt_unreleased};
        let sessions = mqtt_session::Entity::find().all(&self.readers).await?;
        let mut sessions: HashMap<i64, SavedSession> =
            sessions.into_iter().map(|row| (row.id, session(row))).collect();
        for row in mqtt_subscription::Entity::find().all(&self.readers).await? {
            if let Some(session) = sessions.get_mut(&row.session_id) {
                session.subscriptions.extend(subscription(row));
            }
        }
        let queue = mqtt_queue::Entity::find()
            .order_by_asc(mqtt_queue::Column::SessionId)
            .order_by_asc(mqtt_queue::Column::Position);
        for row in queue.all(&self.readers).await? {
            if let Some(session) = sessions.get_mut(&row.session_id) {
                session.deliveries.extend(delivery(row));
            }
        }
        for row in mqtt_unreleased::Entity::find().all(&self.readers).await? {
            if let Some(session) = sessions.get_mut(&row.session_id) {
                session.unreleased.extend(packet_id(row.packet_id));
            }
        }
        Ok(sessions.into_values().collect())
    }

    async fn saved_messages(&self) -> Result<HashMap<u64, Arc<Publication>>, StoreError> {
        let rows = entity::mqtt_message::Entity::find().all(&self.readers).await?;
        let message = |row: entity::mqtt_message::Model| {
            let publication = Publication {
                topic: TopicName::new(&row.topic, ANY).ok()?,
                payload: row.payload.into(),
                qos: qos(row.qos),
                retain: row.retain,
                forwarded: row.properties.into(),
                is_utf8: row.is_utf8,
                received_at: row.received_at,
                expires_at: row.expires_at,
                publisher: 0,
            };
            Some((row.id.unsigned_abs(), Arc::new(publication)))
        };
        Ok(rows.into_iter().filter_map(message).collect())
    }

    async fn saved_retained(&self) -> Result<Vec<Arc<Publication>>, StoreError> {
        let rows = entity::mqtt_retained::Entity::find().all(&self.readers).await?;
        let message = |row: entity::mqtt_retained::Model| {
            Some(Arc::new(Publication {
                topic: TopicName::new(&row.topic, ANY).ok()?,
                payload: row.payload.into(),
                qos: qos(row.qos),
                retain: row.retain,
                forwarded: row.properties.into(),
                is_utf8: row.is_utf8,
                received_at: row.received_at,
                expires_at: row.expires_at,
                publisher: 0,
            }))
        };
        Ok(rows.into_iter().filter_map(message).collect())
    }

    async fn saved_wills(&self) -> Result<Vec<SessionWill>, StoreError> {
        let rows = entity::mqtt_will::Entity::find()
            .order_by_asc(entity::mqtt_will::Column::Id)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().filter_map(will).collect())
    }
}

fn session(row: entity::mqtt_session::Model) -> SavedSession {
    SavedSession {
        key: row.id.unsigned_abs(),
        client_id: row.client_id.into(),
        owner: Identity(row.user_name.map(Into::into)),
        expiry: seconds(row.expiry),
        expires_at: row.expires_at,
        sent_to: row.sent_to.unsigned_abs(),
        subscriptions: Vec::new(),
        deliveries: Vec::new(),
        unreleased: Vec::new(),
    }
}

fn subscription(row: entity::mqtt_subscription::Model) -> Option<SavedSubscription> {
    let options = SubscriptionOptions {
        qos: qos(row.options & 0b11),
        no_local: row.options & 0b100 != 0,
        retain_as_published: row.options & 0b1000 != 0,
        retain_handling: match row.options >> 4 {
            0 => RetainHandling::SendOnSubscribe,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        },
        identifier: row.identifier.map(seconds),
    };
    let replay = match (row.replays, row.replayed_to) {
        (false, _) => SavedReplay::Complete,
        (true, None) => SavedReplay::After(None),
        (true, Some(topic)) => SavedReplay::After(TopicName::new(&topic, ANY).ok()),
    };
    Some(SavedSubscription { filter: TopicFilter::new(&row.filter, ANY).ok()?, options, replay })
}

fn delivery(row: entity::mqtt_queue::Model) -> Option<SavedDelivery> {
    let identifiers = row.identifiers.map(|text| {
        text.split(',').filter_map(|number| number.parse().ok()).collect::<Box<[u32]>>()
    });
    let facts = DeliveryFacts {
        qos: qos(row.qos),
        retain: row.retain,
        identifiers,
        share: row.share.and_then(|filter| TopicFilter::new(&filter, ANY).ok()),
        is_sent: row.stage == SENT,
    };
    Some(SavedDelivery {
        position: row.position.unsigned_abs(),
        packet_id: packet_id(row.packet_id)?,
        message: row.message_id.unsigned_abs(),
        facts,
        is_received: row.stage == RECEIVED,
    })
}

fn will(row: entity::mqtt_will::Model) -> Option<SessionWill> {
    let client_id: ClientId = row.client_id.into();
    let client = Client {
        connection: 0,
        client_id,
        identity: Identity(row.user_name.map(Into::into)),
        version: Version::V5,
        peer: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
        packet_size_max: 0,
        clean_start: true,
        session_is_persistent: false,
    };
    let publication = Publication {
        topic: TopicName::new(&row.topic, ANY).ok()?,
        payload: row.payload.into(),
        qos: qos(row.qos),
        retain: row.retain,
        forwarded: row.properties.into(),
        is_utf8: row.is_utf8,
        received_at: 0,
        expires_at: None,
        publisher: 0,
    };
    Some(SessionWill {
        key: row.id.unsigned_abs(),
        session: row.session_id.unsigned_abs(),
        client: Arc::new(client),
        publication: Arc::new(publication),
        delay: seconds(row.delay),
        message_expiry: row.message_expiry.map(seconds),
        due_at: row.due_at,
    })
}

fn qos(code: i32) -> QoS {
    match code {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn packet_id(number: i32) -> Option<PacketId> {
    PacketId::new(u16::try_from(number).ok()?)
}

fn seconds(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
