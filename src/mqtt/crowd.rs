//! Publishers and the receivers that they crowd: one that takes what comes is waited for, so that it
//! loses nothing to the speed of others; one that does not is not waited for, so that it slows nobody.
//!
//! A publisher that finds a queue half full reads no more until the queue is down to a quarter, for
//! [`PATIENCE`] at most. A receiver that was not down by then is slow: until it is, nobody waits for
//! it, and its queue's bounds decide. Pure.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{limits::Limits, queue::Queue, session::Session};

/// What a slow receiver may cost each of its publishers, each time it becomes slow.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// Who waits for a receiver.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Bound: connections.
    waiting: Vec<Waker>,
    is_slow: bool,
}

impl Crowd {
    /// Whether publishers are to wait.
    pub(super) fn is_dense(&self, queue: &Queue, limits: &Limits) -> bool {
        let is_half_full = queue.len() * 2 >= limits.queued_messages_max
            || queue.bytes() * 2 >= limits.queued_bytes_max;
        is_half_full && !self.is_slow
    }

    fn is_thin(queue: &Queue, limits: &Limits) -> bool {
        queue.len() * 4 <= limits.queued_messages_max
            && queue.bytes() * 4 <= limits.queued_bytes_max
    }

    /// Those that may go on, should the queue be down.
    pub(super) fn disperse(&mut self, queue: &Queue, limits: &Limits) -> Vec<Waker> {
        if self.waiting.is_empty() && !self.is_slow || !Self::is_thin(queue, limits) {
            return Vec::new();
        }
        self.is_slow = false;
        std::mem::take(&mut self.waiting)
    }

    /// The receiver is gone, or was waited for long enough: everybody may go on.
    pub(super) fn give_up(&mut self, is_slow: bool) -> Vec<Waker> {
        self.is_slow = is_slow;
        std::mem::take(&mut self.waiting)
    }

    /// `Pending` while the publisher is to wait; its task is woken when it may go on.
    pub(super) fn poll(
        &mut self,
        queue: &Queue,
        limits: &Limits,
        context: &Context<'_>,
    ) -> Poll<()> {
        if self.is_slow || Self::is_thin(queue, limits) {
            return Poll::Ready(());
        }
        if !self.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            self.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// A connection that waits for a receiver.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) by: Arc<Session>,
    pub(super) until: Duration,
}
