//! Retained messages (MQTT 5.0 §3.3.1.3): the last one of each topic, for those who subscribe later.
//!
//! Bounded by count and bytes; a message past a bound is not retained. One node per topic level, so
//! a wildcard subscription walks only what can match. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::publication::{Publication, UnixMicros};

#[derive(Debug)]
pub(super) struct Retained {
    root: Node,
    messages: usize,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
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

impl Retained {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { root: Node::default(), messages: 0, bytes: 0, messages_max, bytes_max }
    }

    pub(super) fn count(&self) -> usize {
        self.messages
    }

    /// Topics, properties and payloads, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the message for its topic, or, when its payload is empty, forgets the one kept.
    pub(super) fn set(&mut self, publication: &Arc<Publication>) -> Retention {
        let levels = publication.topic.as_str().split('/');
        if publication.payload.is_empty() {
            if let Some(old) = self.root.take(levels) {
                self.messages -= 1;
                self.bytes -= old.weight();
            }
            return Retention::Deleted;
        }
        let replaced = self.root.get(levels.clone()).map(|old| old.weight());
        let weight = publication.weight();
        let messages = self.messages + usize::from(replaced.is_none());
        let bytes = self.bytes - replaced.unwrap_or(0) + weight;
        if messages > self.messages_max || bytes > self.bytes_max {
            return Retention::Full;
        }
        let node = levels
            .fold(&mut self.root, |node, level| node.children.entry(level.into()).or_default());
        node.message = Some(publication.clone());
        (self.messages, self.bytes) = (messages, bytes);
        Retention::Kept
    }

    /// Every retained message that `filter` matches and that has not expired.
    pub(super) fn matching(&self, filter: &str, now: UnixMicros) -> Vec<Arc<Publication>> {
        let mut found = Vec::new();
        self.root.collect(filter.split('/'), true, &mut |message| {
            if message.expires_at.is_none_or(|end| end > now) {
                found.push(message.clone());
            }
        });
        found
    }
}

impl Node {
    fn get(&self, mut levels: std::str::Split<'_, char>) -> Option<&Arc<Publication>> {
        levels.try_fold(self, |node, level| node.children.get(level))?.message.as_ref()
    }

    fn take(&mut self, mut levels: std::str::Split<'_, char>) -> Option<Arc<Publication>> {
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

    fn collect(
        &self,
        mut levels: std::str::Split<'_, char>,
        is_first: bool,
        found: &mut impl FnMut(&Arc<Publication>),
    ) {
        let hidden = |name: &str| is_first && name.starts_with('$');
        match levels.next() {
            None => self.message.iter().for_each(found),
            Some("#") => {
                self.message.iter().for_each(&mut *found);
                for (_, child) in self.children.iter().filter(|(name, _)| !hidden(name)) {
                    child.collect("#".split('/'), false, found);
                }
            }
            Some("+") => {
                for (_, child) in self.children.iter().filter(|(name, _)| !hidden(name)) {
                    child.collect(levels.clone(), false, found);
                }
            }
            Some(name) => {
                if let Some(child) = self.children.get(name) {
                    child.collect(levels, false, found);
                }
            }
        }
    }
}
