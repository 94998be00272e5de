//! Retained messages that a session's subscriptions are still to be sent, part by part. Pure.

use std::collections::VecDeque;

use super::{
    packet::QoS,
    queue::Delivery,
    topic::{TopicFilter, TopicName},
};

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

/// Bound: two for each subscription.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    pending: VecDeque<Replay>,
    /// A part of the first is on its way to the queue.
    is_running: bool,
}

impl Replays {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Notes that a subscription is to be sent the retained messages. Of one that is made again and
    /// again the first and the last time count while they wait.
    pub(crate) fn begin(&mut self, replay: Replay) {
        let mut same = self.pending.iter_mut().filter(|known| known.filter == replay.filter);
        match (same.next(), same.next()) {
            (Some(_), Some(second)) => *second = replay,
            _ => self.pending.push_back(replay),
        }
    }

    pub(crate) fn cancel(&mut self, filter: &TopicFilter) {
        self.pending.retain(|replay| replay.filter != *filter);
    }

    /// The replay whose next part is to be queued; `None` while one is on its way.
    pub(crate) fn begin_part(&mut self) -> Option<Replay> {
        if self.is_running {
            return None;
        }
        let replay = self.pending.front()?.clone();
        self.is_running = true;
        Some(replay)
    }

    /// A part is queued, up to the topic `after`; `None`: it was the last.
    pub(crate) fn end_part(&mut self, filter: &TopicFilter, after: Option<TopicName>) {
        self.is_running = false;
        let Some(at) = self.pending.iter().position(|replay| replay.filter == *filter) else {
            return;
        };
        match (after, self.pending.get_mut(at)) {
            (Some(after), Some(replay)) => replay.after = Some(after),
            _ => drop(self.pending.remove(at)),
        }
    }

    /// The part on its way is not coming.
    pub(crate) fn give_up_part(&mut self) {
        self.is_running = false;
    }
}
