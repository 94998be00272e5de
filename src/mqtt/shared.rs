//! Shared subscriptions (MQTT 5.0 §4.8.2): a group of sessions of which one gets each message.
//!
//! An absent member is chosen only when no other is there. Pure.

use std::{
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicUsize, Ordering},
};

use foldhash::fast::FixedState;

use super::{
    subscriptions::{Subscriber, insert_or_replace},
    topic::TopicFilter,
};

/// Who of a group gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedDispatch {
    /// One member after the other.
    RoundRobin,
    /// Always the same member for a topic, as long as it is there: each topic stays in order.
    ByTopic,
}

#[derive(Debug)]
pub struct SharedGroup<S> {
    pub(crate) filter: TopicFilter,
    members: Vec<Subscriber<S>>,
    next: AtomicUsize,
}

impl<S> SharedGroup<S> {
    /// The member that gets a message on `topic`, preferring those of which `is_present` is true.
    pub(crate) fn choose(
        &self,
        dispatch: SharedDispatch,
        topic: &str,
        is_present: impl Fn(&S) -> bool,
    ) -> Option<&Subscriber<S>> {
        match dispatch {
            SharedDispatch::RoundRobin => self.in_turn(is_present),
            SharedDispatch::ByTopic => self.by_topic(topic, is_present),
        }
    }

    /// Whether a member is as `is_wanted` says.
    pub(crate) fn any(&self, is_wanted: impl Fn(&S) -> bool) -> bool {
        self.members.iter().any(|member| is_wanted(&member.session))
    }

    fn in_turn(&self, is_present: impl Fn(&S) -> bool) -> Option<&Subscriber<S>> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = start.checked_rem(self.members.len())?;
        let (before, after) = self.members.split_at_checked(turn)?;
        let in_turn = || after.iter().chain(before);
        in_turn().find(|member| is_present(&member.session)).or_else(|| in_turn().next())
    }

    /// Highest random weight: when a member comes or goes, only its own topics move.
    fn by_topic(&self, topic: &str, is_present: impl Fn(&S) -> bool) -> Option<&Subscriber<S>> {
        let weight = |member: &&Subscriber<S>| {
            let mut hasher = FixedState::with_seed(member.key).build_hasher();
            hasher.write(topic.as_bytes());
            hasher.finish()
        };
        let present = self.members.iter().filter(|member| is_present(&member.session));
        present.max_by_key(weight).or_else(|| self.members.iter().max_by_key(weight))
    }
}

/// Adds a session to the group of that filter, or replaces its options; `true` when it was added.
pub(crate) fn insert_member<S>(
    groups: &mut Vec<SharedGroup<S>>,
    filter: &TopicFilter,
    subscriber: Subscriber<S>,
) -> bool {
    match groups.iter_mut().find(|group| group.filter.share_name() == filter.share_name()) {
        Some(group) => insert_or_replace(&mut group.members, subscriber),
        None => {
            let (filter, members) = (filter.clone(), vec![subscriber]);
            groups.push(SharedGroup { filter, members, next: AtomicUsize::new(0) });
            true
        }
    }
}

/// Removes a session from the group; `false` when it was not in it.
pub(crate) fn remove_member<S>(
    groups: &mut Vec<SharedGroup<S>>,
    filter: &TopicFilter,
    key: u64,
) -> bool {
    let is_same = |group: &&mut SharedGroup<S>| group.filter.share_name() == filter.share_name();
    let Some(group) = groups.iter_mut().find(is_same) else {
        return false;
    };
    let before = group.members.len();
    group.members.retain(|member| member.key != key);
    let removed = group.members.len() < before;
    groups.retain(|group| !group.members.is_empty());
    removed
}
