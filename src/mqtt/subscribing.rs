//! Subscriptions coming and going, and the retained messages that new ones are sent.
//!
//! Retained messages go to a subscriber part by part, as its queue has room, so that any number of
//! them reaches it. Pure.

use std::sync::Arc;

use super::{
    journal::Change,
    packet::{QoS, RetainHandling, SubscriptionOptions},
    publication::UnixMicros,
    queue::Delivery,
    router::Router,
    session::Session,
    subscriptions::Subscriber,
    topic::{TopicFilter, TopicName},
};

/// Retained messages that are queued for a subscriber at a time, and about how many bytes of them.
const REPLAY_PART: (usize, usize) = (256, 1024 * 1024);

/// Retained messages that a subscription is still to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    pub(crate) filter: TopicFilter,
    pub(crate) qos: QoS,
    pub(crate) identifier: Option<u32>,
    /// Up to this topic they are queued.
    pub(crate) after: Option<TopicName>,
}

/// Retained messages on their way to the queue, which bounds don't hold for: they come in small parts.
#[derive(Debug)]
pub(crate) struct ReplayPart {
    pub(crate) filter: TopicFilter,
    pub(crate) deliveries: Vec<Delivery>,
    /// The part's last topic; `None`: it is the last part.
    pub(crate) after: Option<TopicName>,
}

/// The session has as many subscriptions as it may have.
#[derive(Debug)]
pub(crate) struct TooMany;

pub(crate) fn replay(
    filter: &TopicFilter,
    options: SubscriptionOptions,
    after: Option<TopicName>,
) -> Replay {
    Replay { filter: filter.clone(), qos: options.qos, identifier: options.identifier, after }
}

impl Router {
    /// Makes or renews a subscription, and notes the retained messages that it asks for.
    ///
    /// `Err`: the session has as many subscriptions as it may have. Else what the store is to be told.
    pub(crate) fn subscribe(
        &self,
        session: &Arc<Session>,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> Result<Option<Change>, TooMany> {
        let replays = {
            let mut state = session.lock();
            let is_known = state.subscriptions.contains_key(filter);
            if !is_known && state.subscriptions.len() >= self.limits.subscriptions_max {
                return Err(TooMany);
            }
            state.subscriptions.insert(filter.clone(), options);
            let wants_retained = match options.retain_handling {
                RetainHandling::SendOnSubscribe => true,
                RetainHandling::SendIfNew => !is_known,
                RetainHandling::DoNotSend => false,
            };
            let replays = wants_retained && filter.share_name().is_none();
            if replays {
                state.begin_replay(replay(filter, options, None));
            }
            replays
        };
        self.enter(session, filter, options);
        let (key, filter) = (session.key, filter.clone());
        let change = Change::Subscribe { key, filter, options, replays };
        Ok(session.is_stored.then_some(change))
    }

    /// Puts a subscription into the tree.
    pub(crate) fn enter(
        &self,
        session: &Arc<Session>,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) {
        let subscriber = Subscriber { key: session.key, session: session.clone(), options };
        self.subscriptions.write().insert(filter, subscriber);
    }

    /// Takes the next part of the retained messages that a subscription is to be sent: queues it, or,
    /// where it has to be stored first, gives what the store is to be told.
    pub(crate) fn continue_replay(
        &self,
        session: &Arc<Session>,
        now: UnixMicros,
    ) -> Option<(Vec<Change>, ReplayPart)> {
        let below = self.limits.queued_messages_max.div_ceil(4).min(REPLAY_PART.0);
        let replay = session.lock().continue_replay(below)?;
        let after = replay.after.as_ref().map(TopicName::as_str);
        let found = self.retained.lock().matching(replay.filter.as_str(), after, now, REPLAY_PART);
        let last = found.messages.last().map(|message| message.topic.clone());
        let after = last.filter(|_| found.is_cut);
        let mut changes = Vec::new();
        let deliveries = found
            .messages
            .into_iter()
            .map(|publication| {
                let mut delivery = Delivery {
                    qos: publication.qos.min(replay.qos),
                    publication,
                    retain: true,
                    identifiers: replay.identifier.map(|identifier| Box::from([identifier])),
                    share: None,
                    stored: None,
                    may_be_sent: false,
                };
                if session.is_stored && delivery.qos != QoS::AtMostOnce {
                    self.add_row(session, &mut delivery, (&mut None, &mut changes), false);
                }
                delivery
            })
            .collect();
        let (key, filter) = (session.key, replay.filter.clone());
        if session.is_stored {
            changes.push(Change::Replayed { key, filter, after: after.clone() });
        }
        Some((changes, ReplayPart { filter: replay.filter, deliveries, after }))
    }

    /// `false`: there was no such subscription.
    pub(crate) fn unsubscribe(&self, session: &Session, filter: &TopicFilter) -> bool {
        {
            let mut state = session.lock();
            state.subscriptions.remove(filter);
            state.cancel_replay(filter);
        }
        self.subscriptions.write().remove(filter, session.key)
    }
}
