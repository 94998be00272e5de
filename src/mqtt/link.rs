//! How other tasks reach a connection: verdicts on its messages, and requests to end.
//!
//! A connection owns one; a session, the resolvers of its messages and the broker hold it too. Its
//! lock is held for moments only.

use std::task::{Context, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::{hooks::Outcome, reason::ReasonCode};

#[derive(Debug)]
pub(crate) struct Link {
    /// Unique within the process.
    pub(crate) connection: u64,
    waker: AtomicWaker,
    inbox: Mutex<Inbox>,
}

/// Bound of `verdicts`: the connection's inbound window.
#[derive(Debug, Default)]
struct Inbox {
    verdicts: Vec<(u64, Outcome)>,
    close: Option<ReasonCode>,
}

impl Link {
    pub(crate) fn new(connection: u64) -> Self {
        Self { connection, waker: AtomicWaker::new(), inbox: Mutex::default() }
    }

    /// Makes the task of `context` the one to be woken. To be called before looking for work.
    pub(crate) fn register(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// `None` when somebody has already taken it, who wakes the task.
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.waker.take()
    }

    /// Leaves the verdict on the connection's message number `sequence`.
    pub(crate) fn push_verdict(&self, sequence: u64, outcome: Outcome) -> Option<Waker> {
        self.inbox.lock().verdicts.push((sequence, outcome));
        self.waker.take()
    }

    /// Moves the verdicts out, reusing `into`.
    pub(crate) fn take_verdicts(&self, into: &mut Vec<(u64, Outcome)>) {
        std::mem::swap(&mut self.inbox.lock().verdicts, into);
    }

    /// Asks the connection to end; the first reason given stands.
    pub(crate) fn request_close(&self, reason: ReasonCode) -> Option<Waker> {
        self.inbox.lock().close.get_or_insert(reason);
        self.waker.take()
    }

    pub(crate) fn close_request(&self) -> Option<ReasonCode> {
        self.inbox.lock().close
    }
}
