//! When a connection does something without being told: it has not heard from its client for too long,
//! the store keeps it waiting, or it goes on after a pause.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{
    connection::{Connection, End},
    crowd::{Held, PATIENCE},
    reason::ReasonCode,
    session::Session,
};

/// Why the timer fired.
pub(super) enum Alarm {
    /// The client may be read again.
    Resume,
    TimedOut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Reads no more until `session` has taken what waits for it, or has had time enough.
    pub(super) fn hold_for(&mut self, session: Arc<Session>) {
        if session.key != self.session.key {
            let until = self.broker.clock.monotonic() + PATIENCE;
            self.held = Some(Held { by: session, until });
        }
    }

    /// Whether the client sent too much, or a receiver is waited for.
    pub(super) fn is_paused(&mut self, context: &Context<'_>) -> bool {
        if let Some(held) = &self.held
            && held.by.lock().poll_crowd(&self.broker.limits, context).is_ready()
        {
            self.held = None;
        }
        self.held.is_some() || self.paused_until.is_some()
    }

    /// The time is over that reading paused for.
    pub(super) fn resume(&mut self) {
        match self.held.take() {
            Some(held) => {
                let waiting = held.by.lock().give_up_crowd(true);
                waiting.into_iter().for_each(Waker::wake);
            }
            None => self.paused_until = None,
        }
    }

    /// Half as long again as the keep-alive without a packet, or half of it without reading; or when
    /// reading is to go on.
    pub(super) fn deadline(&self) -> Option<Duration> {
        if let Some(at) = self.held.as_ref().map(|held| held.until).or(self.paused_until) {
            return Some(at);
        }
        let keep_alive = self.terms.keep_alive;
        match self.stalled_at {
            Some(since) if keep_alive.is_zero() => Some(since + self.broker.limits.stall_timeout),
            Some(since) => Some(since + keep_alive / 2),
            None if keep_alive.is_zero() => None,
            None => Some(self.last_packet_at + keep_alive + keep_alive / 2),
        }
    }

    /// Ready when the deadline has passed. The timer is set anew only when it fires too early or
    /// the deadline came nearer, not at each packet.
    pub(super) fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Alarm> {
        let Some(deadline) = self.deadline() else {
            return Poll::Pending;
        };
        let is_later = self.timer_at > deadline;
        if is_later {
            self.set_timer(deadline);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if self.broker.clock.monotonic() >= deadline {
                let is_pause = self.held.is_some() || self.paused_until.is_some();
                return Poll::Ready(if is_pause { Alarm::Resume } else { Alarm::TimedOut });
            }
            self.set_timer(deadline);
        }
        Poll::Pending
    }

    pub(super) fn set_timer(&mut self, deadline: Duration) {
        let wait = deadline.saturating_sub(self.broker.clock.monotonic());
        self.timer.set(sleep(wait));
        self.timer_at = deadline;
    }

    pub(super) fn timed_out(&self) -> End {
        match self.stalled_at {
            Some(_) => End::ByBroker(ReasonCode::SERVER_BUSY, Some("the store does not answer")),
            None => End::ByBroker(ReasonCode::KEEP_ALIVE_TIMEOUT, None),
        }
    }
}
