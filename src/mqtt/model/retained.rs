//! The retained messages as they may be: of messages that are under way at the same time any may be
//! the last one.

use std::collections::BTreeMap;

use super::spec::Message;
use crate::mqtt::packet::QoS;

/// What may be retained for one topic.
#[derive(Debug, Default)]
struct Topic {
    /// Before the messages under way; `None`: nothing.
    before: Option<Message>,
    under_way: Vec<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    message: Message,
    is_acknowledged: bool,
    /// The process has ended since it was sent, or the broker has taken it before.
    may_be_lost: bool,
    is_again: bool,
}

#[derive(Debug, Default)]
pub(super) struct Retained {
    topics: BTreeMap<&'static str, Topic>,
}

impl Retained {
    pub(super) fn publish(&mut self, message: &Message, is_again: bool) {
        let topic = self.topics.entry(message.topic).or_default();
        topic.under_way.push(UnderWay {
            message: message.clone(),
            is_acknowledged: false,
            may_be_lost: is_again,
            is_again,
        });
    }

    pub(super) fn acknowledged(&mut self, number: usize) {
        for topic in self.topics.values_mut() {
            let is_it = |u: &&mut UnderWay| u.message.number == number && !u.is_again;
            if let Some(under_way) = topic.under_way.iter_mut().find(is_it) {
                under_way.is_acknowledged = true;
            }
        }
    }

    pub(super) fn restart(&mut self) {
        let all = self.topics.values_mut().flat_map(|topic| &mut topic.under_way);
        all.for_each(|under_way| under_way.may_be_lost = true);
    }

    /// The publisher's connection is gone, and what it sent may not have been read.
    pub(super) fn lose(&mut self, publisher: usize) {
        let all = self.topics.values_mut().flat_map(|topic| &mut topic.under_way);
        let its = all.filter(|under_way| under_way.message.publisher == publisher);
        its.for_each(|under_way| under_way.may_be_lost = true);
    }

    /// Nothing is under way any more: what is retained must be one of what may be.
    pub(super) fn settle(&mut self, now: i64, actual: impl Fn(&str) -> Option<Vec<u8>>) {
        for (name, topic) in &mut self.topics {
            let found = actual(name);
            let may_be_before = !topic.under_way.iter().any(|under_way| {
                let is_sure = under_way.message.qos != QoS::AtMostOnce && under_way.is_acknowledged;
                is_sure || !under_way.may_be_lost
            });
            let mut candidates: Vec<Option<Message>> = Vec::new();
            if may_be_before {
                candidates.push(topic.before.take());
            }
            let under_way = topic.under_way.drain(..).map(|under_way| under_way.message);
            candidates.extend(under_way.map(|message| (!message.is_empty).then_some(message)));
            let is_it = |candidate: &Option<Message>| match (candidate, &found) {
                (None, found) => found.is_none(),
                (Some(message), None) => message.may_have_expired(now),
                (Some(message), Some(found)) => {
                    !message.has_expired(now) && message.payload() == *found
                }
            };
            let known = candidates.iter().rposition(is_it);
            let at = known.unwrap_or_else(|| panic!("{name}: {found:?} is not of {candidates:?}"));
            topic.before = candidates.swap_remove(at);
        }
    }
}
