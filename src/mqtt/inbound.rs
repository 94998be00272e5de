//! What a client sends: PUBLISH with its topic, authorisation and tap; SUBSCRIBE and UNSUBSCRIBE; and
//! the acknowledgements, written in the order of the PUBLISHes ([MQTT-4.6.0-2], [MQTT-4.6.0-3]).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    codec::{write_ack, write_suback, write_unsuback},
    connection::{Connection, End},
    hooks::{Explanation, Offer, Outcome, TappedMessage},
    journal::{Change, Entry, Then},
    packet::{
        AckKind, PacketId, Publish, QoS, Subscribe, SubscriptionOptions, Unsubscribe, Version,
    },
    publication::Publication,
    reason::ReasonCode,
    resolver::{Pending, Reply, Resolver},
    topic::{InvalidTopic, TopicFilter, TopicName},
};

/// A message whose acknowledgement is still to be written.
pub(crate) struct Received {
    packet_id: Option<PacketId>,
    qos: QoS,
    /// `None` while the tap or the store has it.
    pub(super) outcome: Option<Outcome>,
    /// The tap passed it, and the store does not have it yet.
    pub(super) is_on_its_way: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn on_publish(&mut self, publish: Publish) -> Result<(), End> {
        self.broker.counters.received(publish.qos, publish.payload.len());
        let topic = self.topic_of(&publish)?;
        if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.packet_id)
            && !self.take_exactly_once(id)?
        {
            return Ok(());
        }
        let received = Received {
            packet_id: publish.packet_id,
            qos: publish.qos,
            outcome: None,
            is_on_its_way: false,
        };
        let sequence = self.first_sequence + self.received.len() as u64;
        self.received.push_back(received);
        if !self.broker.hooks.authorizer.may_publish(&self.client, topic.as_str()) {
            self.broker.counters.dropped.not_authorized.increment(1);
            let outcome = Outcome::Refused(ReasonCode::NOT_AUTHORIZED, Explanation::default());
            self.settle_last(outcome);
            return Ok(());
        }
        let now = self.broker.clock.unix_micros();
        let publication = Arc::new(Publication::new(
            topic,
            publish.payload,
            (publish.qos, publish.retain),
            publish.properties,
            now,
            self.session.key,
        ));
        let reply = Reply {
            link: self.link.clone(),
            session: self.session.clone(),
            packet_id: publish.packet_id,
            sequence,
        };
        let pending = Pending { publication: publication.clone(), reply: Some(reply), will: None };
        self.offer(TappedMessage {
            publication,
            client: self.client.clone(),
            packet_id: publish.packet_id,
            dup: publish.dup,
            resolver: Resolver::new(self.broker.router.clone(), pending),
        });
        Ok(())
    }

    /// Offers the newest of `received` to the tap.
    pub(super) fn offer(&mut self, message: TappedMessage) {
        match self.broker.hooks.tap.offer(message) {
            Offer::Taken => {}
            Offer::Full(message) => self.stalled = Some(message),
            Offer::Pass(message) => self.route(message),
        }
    }

    /// Routes the newest of `received` at once, or, where something of it has to be stored or what
    /// came before it waits for that, by way of the store.
    fn route(&mut self, message: TappedMessage) {
        let is_behind = self.on_their_way > 0 && message.qos() != QoS::AtMostOnce;
        let waits = match is_behind {
            true => Some(message.resolver),
            false => message.resolver.pass(&mut self.wakes),
        };
        let Some(resolver) = waits else {
            return self.settle_last(Outcome::Accepted);
        };
        if let Some(last) = self.received.back_mut() {
            last.is_on_its_way = true;
            self.on_their_way += 1;
        }
        self.entries.offer(&self.broker, Entry::of_message(resolver));
    }

    fn settle_last(&mut self, outcome: Outcome) {
        let is_first = self.received.len() == 1;
        let Some(last) = self.received.back_mut() else {
            return;
        };
        if let (Outcome::Refused(..), QoS::ExactlyOnce, Some(id)) =
            (&outcome, last.qos, last.packet_id)
        {
            self.session.lock().release(id);
        }
        if is_first && last.qos == QoS::AtMostOnce {
            self.received.pop_back();
            return;
        }
        last.outcome = Some(outcome);
    }

    /// `false`: the message is here already, and its PUBREC is or will be sent.
    fn take_exactly_once(&mut self, id: PacketId) -> Result<bool, End> {
        let mut state = self.session.lock();
        if state.receive(id) {
            if state.unreleased() > usize::from(self.broker.limits.receive_maximum) {
                let text = "more QoS 2 messages unreleased than the receive maximum";
                return Err(End::ByBroker(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, Some(text)));
            }
            return Ok(true);
        }
        drop(state);
        let is_waiting = |r: &Received| r.packet_id == Some(id) && r.qos == QoS::ExactlyOnce;
        if !self.received.iter().any(is_waiting) {
            let outcome = Some(Outcome::Accepted);
            self.received.push_back(Received {
                packet_id: Some(id),
                qos: QoS::ExactlyOnce,
                outcome,
                is_on_its_way: false,
            });
        }
        Ok(false)
    }

    fn topic_of(&mut self, publish: &Publish) -> Result<TopicName, End> {
        let alias = publish.properties.topic_alias;
        let topic = if publish.topic.is_empty() {
            let known = alias
                .and_then(|alias| self.aliases.get(usize::from(alias).checked_sub(1)?)?.clone());
            return known.ok_or(match alias {
                Some(_) => End::ByBroker(ReasonCode::TOPIC_ALIAS_INVALID, None),
                None => {
                    let text = "a PUBLISH without a topic and without an alias";
                    End::ByBroker(ReasonCode::PROTOCOL_ERROR, Some(text))
                }
            });
        } else {
            self.named_topic(&publish.topic)?
        };
        if let Some(alias) = alias {
            if alias == 0 || alias > self.broker.limits.topic_alias_max {
                return Err(End::ByBroker(ReasonCode::TOPIC_ALIAS_INVALID, None));
            }
            let at = usize::from(alias) - 1;
            if self.aliases.len() <= at {
                self.aliases.resize(at + 1, None);
            }
            if let Some(slot) = self.aliases.get_mut(at) {
                *slot = Some(topic.clone());
            }
        }
        Ok(topic)
    }

    fn named_topic(&mut self, bytes: &Bytes) -> Result<TopicName, End> {
        if let Some(last) = &self.last_topic
            && last.as_str().as_bytes() == &bytes[..]
        {
            return Ok(last.clone());
        }
        let topic = std::str::from_utf8(bytes)
            .map_err(|_| InvalidTopic::NotUtf8)
            .and_then(|text| TopicName::new(text, self.broker.limits.topics))
            .map_err(|error| {
                let reason = match error {
                    InvalidTopic::NotUtf8 | InvalidTopic::Nul => ReasonCode::MALFORMED_PACKET,
                    _ => ReasonCode::TOPIC_NAME_INVALID,
                };
                End::ByBroker(reason, Some("the topic is not a legal topic name"))
            })?;
        self.last_topic = Some(topic.clone());
        Ok(topic)
    }

    /// Writes the acknowledgements that are due, up to the first message still undecided.
    pub(super) fn write_acks(&mut self) -> Result<(), End> {
        while let Some(received) = self.received.front() {
            let Some(outcome) = &received.outcome else {
                return Ok(());
            };
            if *outcome == Outcome::Unavailable {
                self.broker.counters.dropped.unavailable.increment(1);
                let text = Some("the message could not be stored");
                return Err(End::ByBroker(ReasonCode::SERVER_BUSY, text));
            }
            let (reason, explanation) = match outcome {
                Outcome::Partial(explanation) => (ReasonCode::SUCCESS, Some(explanation)),
                Outcome::Refused(reason, explanation) => (*reason, Some(explanation)),
                Outcome::Accepted | Outcome::Unavailable => (ReasonCode::SUCCESS, None),
            };
            let explanation = explanation.filter(|explanation| {
                self.terms.wants_problem_information && **explanation != Explanation::default()
            });
            let kind = match received.qos {
                QoS::AtLeastOnce => AckKind::PubAck,
                _ => AckKind::PubRec,
            };
            if let Some(id) = received.packet_id {
                let size_max = self.terms.packet_size_max;
                let version = self.client.version;
                let buffer = self.output.buffer();
                write_ack(buffer, version, kind, id, reason, explanation, size_max);
            }
            self.received.pop_front();
            self.first_sequence += 1;
        }
        Ok(())
    }

    pub(super) fn on_subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let mut changes = Vec::new();
        let granted: Vec<_> = subscribe
            .filters
            .into_iter()
            .map(|(filter, options)| self.subscribe(&filter, options, &mut changes))
            .collect();
        let mut bytes = BytesMut::new();
        write_suback(&mut bytes, self.client.version, subscribe.packet_id, &granted);
        self.answer(changes, &bytes)
    }

    /// Answers once the changes are on disk, where there are any. An answer that is larger than the
    /// client takes can't be sent: the connection ends instead.
    pub(super) fn answer(&mut self, changes: Vec<Change>, bytes: &[u8]) -> Result<(), End> {
        if bytes.len() > self.terms.packet_size_max {
            let text = "the answer is larger than the client's maximum packet size";
            self.broker.save(changes);
            return Err(End::ByBroker(ReasonCode::PACKET_TOO_LARGE, Some(text)));
        }
        self.say(changes, bytes);
        Ok(())
    }

    /// As `answer`, for packets that fit any client.
    pub(super) fn say(&mut self, changes: Vec<Change>, bytes: &[u8]) {
        if changes.is_empty() {
            self.output.buffer().extend_from_slice(bytes);
            return;
        }
        let bytes = Bytes::copy_from_slice(bytes);
        let link = self.link.clone();
        let then = |number| Then::Advance { link, number };
        self.entries.answer(&self.broker, changes, bytes, then);
    }

    fn subscribe(
        &self,
        filter: &str,
        options: SubscriptionOptions,
        changes: &mut Vec<Change>,
    ) -> Result<QoS, ReasonCode> {
        let filter = TopicFilter::new(filter, self.broker.limits.topics)
            .map_err(|_| ReasonCode::TOPIC_FILTER_INVALID)?;
        if !self.broker.hooks.authorizer.may_subscribe(&self.client, filter.as_str()) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let subscribed = self.broker.router.subscribe(&self.session, &filter, options);
        changes.extend(subscribed.map_err(|_| ReasonCode::QUOTA_EXCEEDED)?);
        Ok(options.qos)
    }

    pub(super) fn on_unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Result<(), End> {
        let limits = self.broker.limits.topics;
        let mut changes = Vec::new();
        let existed: Vec<_> = unsubscribe
            .filters
            .iter()
            .map(|filter| {
                let Ok(filter) = TopicFilter::new(filter, limits) else {
                    return false;
                };
                let existed = self.broker.router.unsubscribe(&self.session, &filter);
                if existed && self.session.is_stored {
                    changes.push(Change::Unsubscribe { key: self.session.key, filter });
                }
                existed
            })
            .collect();
        let mut bytes = BytesMut::new();
        let version: Version = self.client.version;
        write_unsuback(&mut bytes, version, unsubscribe.packet_id, &existed);
        self.answer(changes, &bytes)
    }
}
