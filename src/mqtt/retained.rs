//! Retained messages (MQTT 5.0 §3.3.1.3): the last one of each topic, for those who subscribe later.
//!
//! Bounded by count and bytes; a message past a bound is not retained. One node per topic level, in
//! order, so that a wildcard subscription walks only what can match and can go on where it stopped.
//! Topics whose message the store does not have yet are noted. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet},
    ops::Bound,
    str::Split,
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    journal::Change,
    publication::{Publication, UnixMicros},
    topic::TopicName,
};

/// Topics below this are of the process, not of the store.
const VOLATILE_PREFIX: &str = "$SYS/";

#[derive(Debug)]
pub(super) struct Retained {
    root: Node,
    messages: usize,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    /// When messages expire; what no longer holds is skipped. Bound: twice the messages.
    expiries: BinaryHeap<Reverse<(UnixMicros, TopicName)>>,
    /// Topics whose message has changed since the store was told. Bound: those that were ever used
    /// between two batches.
    unsaved: HashSet<TopicName, RandomState>,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Box<str>, Node>,
    message: Option<Arc<Publication>>,
}

/// What became of a message that asked to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    Kept,
    Deleted,
    /// One of the bounds is reached.
    Full,
}

/// A part of the messages that match a filter.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) messages: Vec<Arc<Publication>>,
    bytes: usize,
    /// There are more.
    pub(super) is_cut: bool,
}

impl Part {
    /// `false`: there was no room.
    fn add(&mut self, message: &Arc<Publication>, (count_max, bytes_max): (usize, usize)) -> bool {
        if self.messages.len() >= count_max || self.bytes >= bytes_max {
            self.is_cut = true;
            return false;
        }
        self.bytes += message.weight();
        self.messages.push(message.clone());
        true
    }
}

impl Retained {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            root: Node::default(),
            messages: 0,
            bytes: 0,
            messages_max,
            bytes_max,
            expiries: BinaryHeap::new(),
            unsaved: HashSet::with_hasher(RandomState::default()),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.messages
    }

    /// Topics, properties and payloads, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, topic: &str) -> Option<&Arc<Publication>> {
        self.root.get(topic.split('/'))
    }

    /// Whether the bounds let the message be kept.
    pub(super) fn has_room_for(&self, publication: &Publication) -> bool {
        let replaced = self.get(publication.topic.as_str()).map(|old| old.weight());
        let messages = self.messages + usize::from(replaced.is_none());
        let bytes = self.bytes - replaced.unwrap_or(0) + publication.weight();
        messages <= self.messages_max && bytes <= self.bytes_max
    }

    /// Keeps the message for its topic, or, when its payload is empty, forgets the one kept.
    pub(super) fn set(&mut self, publication: &Arc<Publication>) -> Retention {
        if publication.payload.is_empty() {
            self.remove(publication.topic.as_str());
            return Retention::Deleted;
        }
        if !self.has_room_for(publication) {
            return Retention::Full;
        }
        self.remove(publication.topic.as_str());
        let levels = publication.topic.as_str().split('/');
        let node = levels
            .fold(&mut self.root, |node, level| node.children.entry(level.into()).or_default());
        node.message = Some(publication.clone());
        self.messages += 1;
        self.bytes += publication.weight();
        if let Some(end) = publication.expires_at {
            self.note_expiry(end, &publication.topic);
        }
        Retention::Kept
    }

    fn remove(&mut self, topic: &str) -> Option<Arc<Publication>> {
        let old = self.root.take(topic.split('/'))?;
        self.messages -= 1;
        self.bytes -= old.weight();
        Some(old)
    }

    fn note_expiry(&mut self, end: UnixMicros, topic: &TopicName) {
        if self.expiries.len() > 2 * self.messages + 64 {
            let expiries = std::mem::take(&mut self.expiries);
            let is_true = |Reverse((end, topic)): &Reverse<(UnixMicros, TopicName)>| {
                self.get(topic.as_str()).is_some_and(|message| message.expires_at == Some(*end))
            };
            self.expiries = expiries.into_iter().filter(is_true).collect();
        }
        self.expiries.push(Reverse((end, topic.clone())));
    }

    /// Forgets what has expired; how many messages those were.
    pub(super) fn expire(&mut self, now: UnixMicros) -> usize {
        let mut expired = 0;
        while let Some(Reverse((end, _))) = self.expiries.peek()
            && *end <= now
            && let Some(Reverse((_, topic))) = self.expiries.pop()
        {
            let end = self.get(topic.as_str()).and_then(|message| message.expires_at);
            if end.is_some_and(|end| end <= now) {
                self.remove(topic.as_str());
                self.mark_unsaved(&topic);
                expired += 1;
            }
        }
        expired
    }

    /// The store is to be told what the topic has.
    pub(super) fn mark_unsaved(&mut self, topic: &TopicName) {
        if !topic.as_str().starts_with(VOLATILE_PREFIX) {
            self.unsaved.insert(topic.clone());
        }
    }

    /// What the store is to be told.
    pub(super) fn take_unsaved(&mut self) -> Vec<Change> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let change = |topic: TopicName| match self.get(topic.as_str()) {
            Some(message) => Change::Retain(message.clone()),
            None => Change::ForgetRetained(topic),
        };
        unsaved.into_iter().map(change).collect()
    }

    /// Retained messages that `filter` matches and that have not expired, in order, from the one
    /// after the topic `after` on; at most so many messages, and about so many bytes.
    pub(super) fn matching(
        &self,
        filter: &str,
        after: Option<&str>,
        now: UnixMicros,
        limits: (usize, usize),
    ) -> Part {
        let mut part = Part::default();
        let after = after.map(|topic| topic.split('/'));
        self.root.collect(filter.split('/'), true, after, &mut |message| {
            let is_alive = message.expires_at.is_none_or(|end| end > now);
            !is_alive || part.add(message, limits)
        });
        part
    }
}

impl Node {
    fn get(&self, mut levels: Split<'_, char>) -> Option<&Arc<Publication>> {
        levels.try_fold(self, |node, level| node.children.get(level))?.message.as_ref()
    }

    fn take(&mut self, mut levels: Split<'_, char>) -> Option<Arc<Publication>> {
        let Some(level) = levels.next() else {
            return self.message.take();
        };
        let child = self.children.get_mut(level)?;
        let taken = child.take(levels);
        if child.children.is_empty() && child.message.is_none() {
            self.children.remove(level);
        }
        taken
    }

    /// Walks what matches, a node before its children. `after` is the rest of the topic to go on
    /// after, where it leads through this node. `false`: `found` wants no more.
    fn collect(
        &self,
        mut levels: Split<'_, char>,
        is_first: bool,
        mut after: Option<Split<'_, char>>,
        found: &mut impl FnMut(&Arc<Publication>) -> bool,
    ) -> bool {
        // A topic to go on after that ends here has been seen; one that goes on, this node too.
        let is_behind = after.is_some();
        let next = after.as_mut().and_then(Iterator::next);
        if next.is_none() {
            after = None;
        }
        let own = |found: &mut dyn FnMut(&Arc<Publication>) -> bool| {
            is_behind || self.message.as_ref().is_none_or(found)
        };
        match levels.next() {
            None => own(found),
            Some("#") => {
                own(found)
                    && self.each_child(is_first, next, |child, is_next| {
                        let after = after.clone().filter(|_| is_next);
                        child.collect("#".split('/'), false, after, found)
                    })
            }
            Some("+") => self.each_child(is_first, next, |child, is_next| {
                let after = after.clone().filter(|_| is_next);
                child.collect(levels.clone(), false, after, found)
            }),
            Some(name) => {
                let is_past = next.is_some_and(|next| name < next);
                match self.children.get(name) {
                    Some(child) if !is_past => {
                        let after = after.filter(|_| next == Some(name));
                        child.collect(levels, false, after, found)
                    }
                    _ => true,
                }
            }
        }
    }

    /// Visits the children from `next` on, saying of each whether it is that one. Names that begin
    /// with `$` are hidden from a wildcard in the first level (§4.7.2).
    fn each_child(
        &self,
        is_first: bool,
        next: Option<&str>,
        mut visit: impl FnMut(&Self, bool) -> bool,
    ) -> bool {
        let from = next.map_or(Bound::Unbounded, Bound::Included);
        self.children
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(name, _)| !(is_first && name.starts_with('$')))
            .all(|(name, child)| visit(child, next == Some(&**name)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::{
        packet::{PublishProperties, QoS},
        topic::{TopicLimits, matches},
    };

    const LIMITS: TopicLimits = TopicLimits { levels_max: 16, bytes_max: 256 };

    fn message(topic: &str, payload: &'static str, expiry: Option<u32>) -> Arc<Publication> {
        let topic = TopicName::new(topic, LIMITS).unwrap();
        let properties = PublishProperties { message_expiry: expiry, ..Default::default() };
        let flags = (QoS::AtLeastOnce, true);
        Arc::new(Publication::new(topic, Bytes::from(payload), flags, properties, 0, 0))
    }

    fn topic() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "温", "$x"]);
        prop::collection::vec(level, 1..4)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("not empty", |topic| !topic.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "+", "+", "$x"]);
        (prop::collection::vec(level, 0..4), any::<bool>())
            .prop_map(|(mut levels, hash)| {
                if hash || levels.is_empty() {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("not empty", |filter| !filter.is_empty())
    }

    proptest! {
        #[test]
        fn finds_in_parts_what_the_naive_matcher_finds(
            topics in prop::collection::btree_set(topic(), 0..30),
            deleted in prop::collection::vec(topic(), 0..5),
            filter in filter(),
            part_size in 1usize..5,
        ) {
            let mut retained = Retained::new(1000, 1_000_000);
            for topic in &topics {
                prop_assert_eq!(retained.set(&message(topic, "x", None)), Retention::Kept);
            }
            for topic in &deleted {
                retained.set(&message(topic, "", None));
            }
            let expected: std::collections::BTreeSet<&String> =
                topics.iter().filter(|t| !deleted.contains(t) && matches(&filter, t)).collect();
            prop_assert_eq!(
                retained.count(), topics.iter().filter(|t| !deleted.contains(t)).count());
            let mut found = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let part = retained.matching(&filter, after.as_deref(), 0, (part_size, 1_000));
                found.extend(part.messages.iter().map(|m| m.topic.to_string()));
                if !part.is_cut {
                    break;
                }
                after = found.last().cloned();
            }
            let unique: std::collections::BTreeSet<&String> = found.iter().collect();
            prop_assert_eq!(unique.len(), found.len());
            prop_assert_eq!(unique, expected);
        }
    }

    #[test]
    fn what_expires_goes_and_the_store_is_told() {
        let mut retained = Retained::new(10, 1000);
        retained.set(&message("a", "1", Some(1)));
        retained.set(&message("b", "1", Some(1)));
        retained.set(&message("b", "2", Some(5)));
        assert_eq!(retained.matching("#", None, 2_000_000, (9, 999)).messages.len(), 1);
        assert_eq!(retained.expire(2_000_000), 1);
        assert_eq!(retained.count(), 1);
        let told = retained.take_unsaved();
        assert!(matches!(&told[..], [Change::ForgetRetained(topic)] if topic.as_str() == "a"));
    }

    #[test]
    fn past_a_bound_nothing_is_kept_but_what_replaces() {
        let mut retained = Retained::new(1, 8);
        assert_eq!(retained.set(&message("a", "1", None)), Retention::Kept);
        assert_eq!(retained.set(&message("b", "1", None)), Retention::Full);
        assert_eq!(retained.set(&message("a", "2", None)), Retention::Kept);
        assert_eq!(retained.set(&message("a", "12345678", None)), Retention::Full);
        assert_eq!(retained.get("a").unwrap().payload, "2");
        retained.mark_unsaved(&TopicName::new("$SYS/x", LIMITS).unwrap());
        assert!(retained.take_unsaved().is_empty());
    }
}
