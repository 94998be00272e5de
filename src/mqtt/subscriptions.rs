//! The subscription tree: who wants a topic.
//!
//! One node per topic level, so a match costs by the topic's depth and by what matches, not by how
//! many filters exist. A filter's nodes are freed with its last subscription. Pure.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    packet::SubscriptionOptions,
    shared::{SharedGroup, insert_member, remove_member},
    topic::TopicFilter,
};

/// One subscription: whose it is, and what was asked for.
#[derive(Debug, Clone)]
pub struct Subscriber<S> {
    /// Tells sessions apart.
    pub key: u64,
    pub session: S,
    pub options: SubscriptionOptions,
}

#[derive(Debug)]
pub struct SubscriptionTree<S> {
    root: Node<S>,
    filters: usize,
}

#[derive(Debug)]
struct Node<S> {
    children: HashMap<Box<str>, Node<S>, RandomState>,
    /// The child of a `+` level.
    any: Option<Box<Node<S>>>,
    /// Filters that end here.
    exact: Leaf<S>,
    /// Filters that end in `#` here.
    below: Leaf<S>,
}

/// The subscriptions with one and the same filter.
#[derive(Debug)]
pub struct Leaf<S> {
    pub plain: Vec<Subscriber<S>>,
    pub groups: Vec<SharedGroup<S>>,
}

/// `true` when the session was not among them before.
pub(crate) fn insert_or_replace<S>(
    members: &mut Vec<Subscriber<S>>,
    subscriber: Subscriber<S>,
) -> bool {
    match members.iter_mut().find(|member| member.key == subscriber.key) {
        Some(member) => {
            *member = subscriber;
            false
        }
        None => {
            members.push(subscriber);
            true
        }
    }
}

impl<S> Default for Leaf<S> {
    fn default() -> Self {
        Self { plain: Vec::new(), groups: Vec::new() }
    }
}

impl<S> Leaf<S> {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self {
            children: HashMap::with_hasher(RandomState::default()),
            any: None,
            exact: Leaf::default(),
            below: Leaf::default(),
        }
    }
}

impl<S> Node<S> {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.any.is_none()
            && self.exact.is_empty()
            && self.below.is_empty()
    }

    fn leaf_mut(&mut self, filter: &str) -> &mut Leaf<S> {
        let mut node = self;
        for level in filter.split('/') {
            node = match level {
                "#" => return &mut node.below,
                "+" => node.any.get_or_insert_default(),
                name => node.children.entry(name.into()).or_default(),
            };
        }
        &mut node.exact
    }

    /// Lets `edit` work on the filter's leaf, and frees the nodes that are empty afterwards.
    fn prune(&mut self, mut levels: std::str::Split<'_, char>, edit: impl FnOnce(&mut Leaf<S>)) {
        match levels.next() {
            None => edit(&mut self.exact),
            Some("#") => edit(&mut self.below),
            Some("+") => {
                if let Some(child) = &mut self.any {
                    child.prune(levels, edit);
                    if child.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(name) => {
                if let Some(child) = self.children.get_mut(name) {
                    child.prune(levels, edit);
                    if child.is_empty() {
                        self.children.remove(name);
                        if self.children.is_empty() {
                            self.children.shrink_to_fit();
                        }
                    }
                }
            }
        }
    }

    fn visit<'a>(
        &'a self,
        mut levels: std::str::Split<'_, char>,
        wildcards: bool,
        found: &mut impl FnMut(&'a Leaf<S>),
    ) {
        if wildcards && !self.below.is_empty() {
            found(&self.below);
        }
        let Some(level) = levels.next() else {
            if !self.exact.is_empty() {
                found(&self.exact);
            }
            return;
        };
        if wildcards && let Some(child) = &self.any {
            child.visit(levels.clone(), true, found);
        }
        if let Some(child) = self.children.get(level) {
            child.visit(levels, true, found);
        }
    }
}

impl<S> Default for SubscriptionTree<S> {
    fn default() -> Self {
        Self { root: Node::default(), filters: 0 }
    }
}

impl<S> SubscriptionTree<S> {
    /// Subscriptions in all.
    pub fn len(&self) -> usize {
        self.filters
    }

    pub fn is_empty(&self) -> bool {
        self.filters == 0
    }

    /// Adds a subscription, or replaces the same session's options for the same filter.
    pub fn insert(&mut self, filter: &TopicFilter, subscriber: Subscriber<S>) {
        let leaf = self.root.leaf_mut(filter.as_str());
        let added = match filter.share_name() {
            None => insert_or_replace(&mut leaf.plain, subscriber),
            Some(_) => insert_member(&mut leaf.groups, filter, subscriber),
        };
        self.filters += usize::from(added);
    }

    /// Removes a session's subscription; `false` when there was none.
    pub fn remove(&mut self, filter: &TopicFilter, key: u64) -> bool {
        let mut removed = false;
        self.root.prune(filter.as_str().split('/'), |leaf| match filter.share_name() {
            None => {
                if let Some(at) = leaf.plain.iter().position(|member| member.key == key) {
                    leaf.plain.swap_remove(at);
                    removed = true;
                }
            }
            Some(_) => removed = remove_member(&mut leaf.groups, filter, key),
        });
        self.filters -= usize::from(removed);
        removed
    }

    /// The group of a shared subscription.
    pub(crate) fn group(&self, filter: &TopicFilter) -> Option<&SharedGroup<S>> {
        let mut levels = filter.as_str().split('/');
        let mut node = &self.root;
        let leaf = loop {
            match levels.next() {
                None => break &node.exact,
                Some("#") => break &node.below,
                Some("+") => node = node.any.as_deref()?,
                Some(name) => node = node.children.get(name)?,
            }
        };
        leaf.groups.iter().find(|group| group.filter == *filter)
    }

    /// Hands each matching filter's subscriptions to `found`. Topics that begin with `$` are not
    /// matched by a wildcard in the first level (§4.7.2).
    pub fn for_each_match<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a Leaf<S>)) {
        self.root.visit(topic.split('/'), !topic.starts_with('$'), &mut found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::{
        packet::{QoS, RetainHandling},
        topic::{TopicLimits, matches},
    };

    const LIMITS: TopicLimits = TopicLimits { levels_max: 16, bytes_max: 256 };

    fn subscriber(key: u64) -> Subscriber<()> {
        let options = SubscriptionOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendOnSubscribe,
            identifier: None,
        };
        Subscriber { key, session: (), options }
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "", "温", "$x"])
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("not empty", |topic| !topic.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![4 => level(), 2 => Just("+")];
        (prop::collection::vec(level, 1..5), any::<bool>())
            .prop_map(|(mut levels, hash)| {
                if hash {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("not empty", |filter| !filter.is_empty())
    }

    proptest! {
        #[test]
        fn finds_what_the_naive_matcher_finds(
            filters in prop::collection::vec(filter(), 0..20),
            removed in prop::collection::vec(any::<bool>(), 20),
            topic in topic(),
        ) {
            let mut tree = SubscriptionTree::default();
            let parsed: Vec<_> =
                filters.iter().map(|text| TopicFilter::new(text, LIMITS).unwrap()).collect();
            for (key, filter) in parsed.iter().enumerate() {
                tree.insert(filter, subscriber(key as u64));
            }
            let mut expected = Vec::new();
            for (key, filter) in parsed.iter().enumerate() {
                if removed[key] {
                    prop_assert!(tree.remove(filter, key as u64));
                } else if matches(filter.as_str(), &topic) {
                    expected.push(key as u64);
                }
            }
            let mut found = Vec::new();
            tree.for_each_match(&topic, |leaf| found.extend(leaf.plain.iter().map(|s| s.key)));
            found.sort_unstable();
            prop_assert_eq!(found, expected);
            for (key, filter) in parsed.iter().enumerate() {
                tree.remove(filter, key as u64);
            }
            prop_assert!(tree.is_empty() && tree.root.is_empty());
        }
    }
}
