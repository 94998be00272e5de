//! A connection's entries on their way to disk, and what it says once they are there.
//!
//! What a stored session is answered (SUBACK, UNSUBACK, PUBREL, PUBCOMP) waits for its entry, in the
//! order of the requests.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    broker::Broker,
    journal::{Change, Entry, Then},
    output::Output,
};

#[derive(Debug, Default)]
pub(super) struct Entries {
    last_number: u64,
    /// What is to be sent once the entry of that number is on disk. Bound: the receive maximum;
    /// full: the socket is not read.
    awaiting: VecDeque<(u64, Bytes)>,
    /// Entries that the store had no room for, in order; nothing is read while there are any.
    refused: VecDeque<Box<Entry>>,
}

impl Entries {
    /// Answers `bytes` once `changes` are on disk; what follows then is told by their number.
    pub(super) fn answer(
        &mut self,
        broker: &Broker,
        changes: Vec<Change>,
        bytes: Bytes,
        then: impl FnOnce(u64) -> Then,
    ) {
        self.last_number += 1;
        let number = self.last_number;
        self.awaiting.push_back((number, bytes));
        self.offer(broker, Entry::new(changes, then(number)));
    }

    pub(super) fn offer(&mut self, broker: &Broker, entry: Box<Entry>) {
        if !self.refused.is_empty() {
            self.refused.push_back(entry);
        } else if let Err(entry) = broker.hooks.store.offer(entry) {
            self.refused.push_back(entry);
        }
    }

    /// Offers again what was refused; `Pending` while there is no room.
    pub(super) fn poll_offer(&mut self, broker: &Broker, context: &mut Context<'_>) -> Poll<()> {
        while let Some(entry) = self.refused.pop_front() {
            if let Err(entry) = broker.hooks.store.offer(entry) {
                self.refused.push_front(entry);
                if broker.hooks.store.poll_ready(context).is_pending() {
                    return Poll::Pending;
                }
            }
        }
        if self.refused.capacity() > 0 {
            self.refused = VecDeque::new();
        }
        Poll::Ready(())
    }

    /// Answers that wait.
    pub(super) fn waiting(&self) -> usize {
        self.awaiting.len()
    }

    /// Sends what has waited for entries up to the one of that number.
    pub(super) fn advance(&mut self, committed: u64, output: &mut Output) {
        while self.awaiting.front().is_some_and(|(number, _)| *number <= committed)
            && let Some((_, bytes)) = self.awaiting.pop_front()
        {
            output.buffer().extend_from_slice(&bytes);
        }
        if self.awaiting.is_empty() && self.awaiting.capacity() > 0 {
            self.awaiting = VecDeque::new();
        }
    }

    /// The connection is over: what the store has not taken yet is no less true.
    pub(super) fn give_up(self, broker: &Broker) {
        for entry in self.refused {
            broker.save(entry.into_changes());
        }
    }
}
