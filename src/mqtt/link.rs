//! How other tasks reach a connection: verdicts on its messages, and requests to end.
//!
//! A connection owns one; a session, the resolvers of its messages and the broker hold it too. Its
//! lock is held for moments only.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Waker},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::{hooks::Outcome, reason::ReasonCode};

#[derive(Debug)]
pub(crate) struct Link {
    /// Unique within the process.
    pub(crate) connection: u64,
    waker: AtomicWaker,
    /// The client takes no more for the moment: its socket or its window is full.
    is_blocked: AtomicBool,
    /// Entries of the connection up to this number are on disk.
    committed: AtomicU64,
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
        Self {
            connection,
            waker: AtomicWaker::new(),
            is_blocked: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            inbox: Mutex::default(),
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
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
