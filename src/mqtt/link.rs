//! How other tasks reach a connection: verdicts on its messages, and requests to end.
//!
//! A connection owns one; a session, the resolvers of its messages and the broker hold it too. Its
//! lock is held for moments only.

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Waker},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::{hooks::Outcome, reason::ReasonCode, session::Session};

#[derive(Debug)]
pub(crate) struct Link {
    /// Unique within the process.
    pub(crate) connection: u64,
    waker: AtomicWaker,
    /// Entries of the connection up to this number are on disk.
    committed: AtomicU64,
    inbox: Mutex<Inbox>,
}

/// Bound of `verdicts`: the connection's inbound window.
#[derive(Debug, Default)]
struct Inbox {
    verdicts: Vec<(u64, Outcome)>,
    close: Option<ReasonCode>,
    /// A receiver of the connection's messages that is to be waited for.
    crowded: Option<Arc<Session>>,
}

impl Link {
    pub(crate) fn new(connection: u64) -> Self {
        Self {
            connection,
            waker: AtomicWaker::new(),
            committed: AtomicU64::new(0),
            inbox: Mutex::default(),
        }
    }

    /// Entries up to `number` are on disk.
    pub(crate) fn advance(&self, number: u64) -> Option<Waker> {
        self.committed.fetch_max(number, Ordering::Release);
        self.waker.take()
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
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

    /// Moves the verdicts out, reusing `into`, and the receiver that is to be waited for.
    pub(crate) fn take_verdicts(&self, into: &mut Vec<(u64, Outcome)>) -> Option<Arc<Session>> {
        let mut inbox = self.inbox.lock();
        std::mem::swap(&mut inbox.verdicts, into);
        inbox.crowded.take()
    }

    /// The connection is to wait for that receiver of its messages.
    pub(crate) fn hold_for(&self, session: Arc<Session>) {
        self.inbox.lock().crowded = Some(session);
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
