//! Shared subscriptions (MQTT 5.0 §4.8.2): a group of sessions of which one gets each message.
//!
//! Round robin over the members that can take the message; an absent member is chosen only when no
//! other is there. Pure.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::subscriptions::{Subscriber, insert_or_replace};

#[derive(Debug)]
pub struct SharedGroup<S> {
    name: Arc<str>,
    members: Vec<Subscriber<S>>,
    next: AtomicUsize,
}

impl<S> SharedGroup<S> {
    /// The member whose turn it is, preferring those of which `is_present` is true.
    pub(crate) fn choose(&self, is_present: impl Fn(&S) -> bool) -> Option<&Subscriber<S>> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = start.checked_rem(self.members.len())?;
        let (before, after) = self.members.split_at_checked(turn)?;
        let in_turn = || after.iter().chain(before);
        in_turn().find(|member| is_present(&member.session)).or_else(|| in_turn().next())
    }
}

/// Adds a session to the group of that name, or replaces its options; `true` when it was added.
pub(crate) fn insert_member<S>(
    groups: &mut Vec<SharedGroup<S>>,
    name: &Arc<str>,
    subscriber: Subscriber<S>,
) -> bool {
    match groups.iter_mut().find(|group| group.name == *name) {
        Some(group) => insert_or_replace(&mut group.members, subscriber),
        None => {
            let members = vec![subscriber];
            groups.push(SharedGroup { name: name.clone(), members, next: AtomicUsize::new(0) });
            true
        }
    }
}

/// Removes a session from the group; `false` when it was not in it.
pub(crate) fn remove_member<S>(groups: &mut Vec<SharedGroup<S>>, name: &str, key: u64) -> bool {
    let Some(group) = groups.iter_mut().find(|group| &*group.name == name) else {
        return false;
    };
    let before = group.members.len();
    group.members.retain(|member| member.key != key);
    let removed = group.members.len() < before;
    groups.retain(|group| !group.members.is_empty());
    removed
}
