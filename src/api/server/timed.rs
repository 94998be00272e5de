//! A connection that is given no more time than it deserves.
//!
//! Reading: `header` from the first byte of a request, or from the accept, to its complete head; `IDLE`
//! between requests. While a request is being answered time is the guard's business. Writing: `STALL`
//! without one byte taken by the other side, streams included. An upgraded connection has only the
//! latter. HTTP/2 talks between requests, so what it reads there starts no time of its own.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How long a connection may stay open between two requests; longer than proxies keep theirs.
const IDLE: Duration = Duration::from_secs(75);
/// How long the other side may take nothing of what is sent.
const STALL: Duration = Duration::from_secs(60);

/// What the requests of a connection tell its clock.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    running: AtomicUsize,
    /// Counts requests, so that one that came and went between two looks is seen.
    begun: AtomicUsize,
    is_http2: AtomicBool,
    is_upgraded: AtomicBool,
}

/// A request that is being answered, to the last byte of the answer.
#[derive(Debug)]
pub(super) struct Beat(Arc<Pulse>);

impl Pulse {
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> Beat {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.is_http2.store(is_http2, Ordering::Release);
        Beat(self.clone())
    }

    /// Whether it is nothing but open.
    pub(super) fn is_idle(&self) -> bool {
        let is_upgraded = self.is_upgraded.load(Ordering::Acquire);
        self.running.load(Ordering::Acquire) == 0 && !is_upgraded
    }

    /// Other words than HTTP follow.
    pub(super) fn upgrade(&self) {
        self.is_upgraded.store(true, Ordering::Release);
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream with its clock. `place` is what it takes up, given back when it is closed.
pub(super) struct Timed<S, P> {
    stream: S,
    pulse: Arc<Pulse>,
    header: Duration,
    /// Until when what is read has to come.
    patience: Pin<Box<Sleep>>,
    /// Requests begun when `patience` was set.
    begun: usize,
    is_receiving: bool,
    was_running: bool,
    /// Since when nothing could be written.
    stall: Option<Pin<Box<Sleep>>>,
    _place: P,
}

impl<S, P> Timed<S, P> {
    /// `left`: of the time for the first head.
    pub(super) fn new(
        stream: S,
        place: P,
        pulse: Arc<Pulse>,
        header: Duration,
        left: Duration,
    ) -> Self {
        Self {
            stream,
            pulse,
            header,
            patience: Box::pin(sleep(left)),
            begun: 0,
            is_receiving: true,
            was_running: false,
            stall: None,
            _place: place,
        }
    }

    pub(super) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    fn allow(&mut self, time: Duration) {
        self.patience.as_mut().reset(Instant::now() + time);
    }

    /// Whether the time is up.
    fn poll_patience(&mut self, context: &mut Context<'_>, has_read: bool) -> Poll<()> {
        if self.pulse.is_upgraded.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let begun = self.pulse.begun.load(Ordering::Acquire);
        if self.pulse.running.load(Ordering::Acquire) > 0 {
            (self.was_running, self.begun) = (true, begun);
            return Poll::Pending;
        }
        if self.was_running || self.begun != begun {
            (self.was_running, self.begun) = (false, begun);
            self.is_receiving = false;
            self.allow(IDLE);
        }
        if has_read && !self.is_receiving && !self.pulse.is_http2.load(Ordering::Acquire) {
            self.is_receiving = true;
            let header = self.header;
            self.allow(header);
        }
        self.patience.as_mut().poll(context)
    }

    /// Passes on what came of a write; one that waits too long is an error.
    fn timed<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Timed<S, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        // Even where something came: who drips bytes gets no more time for it.
        let is_up = self.poll_patience(context, read.is_ready()).is_ready();
        if is_up && read.is_pending() {
            return match self.is_receiving {
                true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                false => Poll::Ready(Ok(())),
            };
        }
        read
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Timed<S, P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.timed(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.timed(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.timed(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    fn pair() -> (Timed<DuplexStream, ()>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Timed::new(ours, (), Arc::default(), SHORT, SHORT), theirs)
    }

    /// Whether a read waits beyond the time of a head.
    async fn is_patient(timed: &mut Timed<DuplexStream, ()>) -> bool {
        tokio::time::timeout(4 * SHORT, timed.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn a_head_has_its_time_and_an_answer_another() {
        let (mut timed, _theirs) = pair();
        assert!(!is_patient(&mut timed).await);

        let (mut timed, mut theirs) = pair();
        let beat = timed.pulse().begin(false);
        assert!(is_patient(&mut timed).await);
        drop(beat);
        // Between requests, up to the first byte of the next.
        assert!(is_patient(&mut timed).await);
        theirs.write_u8(7).await.unwrap();
        assert_eq!(timed.read_u8().await.unwrap(), 7);
        assert!(!is_patient(&mut timed).await);
    }

    #[tokio::test]
    async fn http2_and_other_protocols_talk_when_they_like() {
        for is_upgraded in [false, true] {
            let (mut timed, mut theirs) = pair();
            drop(timed.pulse().begin(!is_upgraded));
            if is_upgraded {
                timed.pulse().upgrade();
            }
            theirs.write_u8(7).await.unwrap();
            assert_eq!(timed.read_u8().await.unwrap(), 7);
            assert!(is_patient(&mut timed).await);
        }
    }
}
