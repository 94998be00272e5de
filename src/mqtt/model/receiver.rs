//! What one session may get and must get: its subscriptions, by which each delivery is judged.

use std::collections::{BTreeMap, BTreeSet};

use super::{spec::Message, wire::Incoming};
use crate::mqtt::{
    packet::{QoS, RetainHandling, SubscriptionOptions},
    topic::matches,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Subscription {
    /// Acknowledged, and nothing under way that changes it.
    pub(super) is_sure: bool,
    /// More than one while what changes it is under way.
    pub(super) options: Vec<SubscriptionOptions>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) incarnation: usize,
    pub(super) is_stored: bool,
    pub(super) is_connected: bool,
    /// The client has its CONNACK.
    pub(super) is_open: bool,
    pub(super) expiry: u32,
    /// While the client is away, when it ends: not before, and not after where that is known.
    pub(super) ends: Option<(i64, Option<i64>)>,
    /// Whether it is there only the next CONNACK tells.
    pub(super) is_doubtful: bool,
    pub(super) subscriptions: BTreeMap<&'static str, Subscription>,
    /// Every SUBSCRIBE that was sent.
    pub(super) history: Vec<(&'static str, SubscriptionOptions)>,
    /// Messages that it may get by plain subscriptions, and at which QoS.
    pub(super) live: BTreeMap<usize, BTreeSet<QoS>>,
    /// Messages that it must get, and whether that is promised yet.
    pub(super) owed: BTreeMap<usize, bool>,
    /// How often the client has taken each message.
    pub(super) taken: BTreeMap<usize, usize>,
    /// Messages that have come, taken or not.
    pub(super) seen: BTreeSet<usize>,
    /// The newest message, by publisher, topic and both QoS.
    pub(super) newest: BTreeMap<(usize, &'static str, QoS, QoS), usize>,
}

/// The filter that a shared subscription's messages match.
pub(super) fn shared(filter: &str) -> Option<&str> {
    filter.strip_prefix("$share/")?.split_once('/').map(|(_, filter)| filter)
}

fn asks_for(filter: &str, topic: &str) -> bool {
    matches(shared(filter).unwrap_or(filter), topic)
}

impl Session {
    pub(super) fn publish(
        &mut self,
        message: &Message,
        is_again: bool,
        groups: &mut BTreeMap<&'static str, bool>,
    ) {
        let is_own = message.incarnation == self.incarnation;
        let mut granted = None;
        for (filter, subscription) in &self.subscriptions {
            if !asks_for(filter, message.topic) {
                continue;
            }
            if shared(filter).is_some() {
                let is_sure = subscription.is_sure && !self.is_doubtful;
                *groups.entry(filter).or_default() |= is_sure;
                continue;
            }
            for options in &subscription.options {
                if options.no_local && is_own {
                    continue;
                }
                let qos = message.qos.min(options.qos);
                self.live.entry(message.number).or_default().insert(qos);
                if subscription.is_sure {
                    granted = granted.max(Some(options.qos));
                }
            }
        }
        let is_there = !self.is_doubtful && (self.is_stored || self.is_open);
        let may_be_known = is_again
            && (message.qos == QoS::ExactlyOnce || self.taken.contains_key(&message.number));
        let is_owed = message.expiry.is_none() && !message.is_empty && is_there && !may_be_known;
        let qos = granted.map(|granted| granted.min(message.qos));
        if is_owed && qos.is_some_and(|qos| qos != QoS::AtMostOnce) {
            self.owed.entry(message.number).or_insert(false);
        }
    }

    pub(super) fn check_delivery(
        &mut self,
        message: &Message,
        heard: &Incoming,
        now: i64,
        is_taken: bool,
    ) {
        let asked = |(filter, _): &&(&str, SubscriptionOptions)| asks_for(filter, message.topic);
        let asked: Vec<_> = self.history.iter().filter(asked).copied().collect();
        let groups: BTreeSet<_> =
            asked.iter().map(|(f, _)| *f).filter(|f| shared(f).is_some()).collect();
        let replays = asked.iter().filter(|(filter, options)| {
            shared(filter).is_none() && options.retain_handling != RetainHandling::DoNotSend
        });
        let replays = if message.retain { replays.count() } else { 0 };
        let live = self.live.get(&message.number);
        let allowed = usize::from(live.is_some()) + groups.len() + replays;
        assert!(allowed > 0, "nobody asked for {heard:?}");
        if is_taken {
            assert!(heard.dup || !message.has_expired(now), "expired: {heard:?}");
            let taken = self.taken.entry(message.number).or_default();
            *taken += 1;
            let is_once = heard.qos == QoS::ExactlyOnce;
            assert!(!is_once || *taken <= allowed, "{heard:?} {taken} times, {allowed} allowed");
        }
        let granted = asked.iter().map(|(_, options)| message.qos.min(options.qos));
        let levels: BTreeSet<QoS> = match live {
            Some(live) if groups.is_empty() && replays == 0 => live.clone(),
            _ => granted.collect(),
        };
        assert!(levels.contains(&heard.qos), "{heard:?} is not of {levels:?}");
        let may_retain =
            asked.iter().any(|(_, options)| options.retain_as_published) || replays > 0;
        assert!(!heard.retain || (message.retain && may_retain), "RETAIN: {heard:?}");
        let has = |id: &u32| asked.iter().any(|(_, options)| options.identifier == Some(*id));
        assert!(heard.identifiers.iter().all(has), "another's identifier: {heard:?}");
        self.owed.remove(&message.number);
        if groups.is_empty() && replays == 0 {
            let stream = (message.publisher, message.topic, message.qos, heard.qos);
            let newest = self.newest.entry(stream).or_default();
            let is_repeat = !self.seen.insert(message.number) || heard.dup || message.is_resent;
            assert!(is_repeat || message.number >= *newest, "{heard:?} after {newest}");
            *newest = message.number.max(*newest);
        }
    }
}
