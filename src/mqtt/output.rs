//! Bytes on their way to a socket.
//!
//! Small packets are joined in one buffer, large payloads are sent from where they are. Empty, it
//! owns no memory. Bound: the connection stops filling it past its high-water mark.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::counters::Counters;

/// From this many bytes on a payload is not copied.
const SHARED_FROM: usize = 8 * 1024;
/// Slices handed to one vectored write.
const SLICES_MAX: usize = 16;
const FIRST_CAPACITY: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Output {
    chunks: VecDeque<Bytes>,
    chunks_len: usize,
    tail: BytesMut,
    /// Packets written since the last flush.
    packets: u64,
    /// Something written may still be held by the stream: TLS and WebSocket have buffers.
    is_unflushed: bool,
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        self.chunks_len + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where one packet, or the head of one, is written.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        if self.tail.capacity() == 0 {
            self.tail.reserve(FIRST_CAPACITY);
        }
        self.packets += 1;
        &mut self.tail
    }

    pub(crate) fn push_payload(&mut self, payload: &Bytes) {
        if payload.len() < SHARED_FROM {
            self.tail.extend_from_slice(payload);
            return;
        }
        if !self.tail.is_empty() {
            let joined = self.tail.split().freeze();
            self.push_chunk(joined);
        }
        self.push_chunk(payload.clone());
    }

    fn push_chunk(&mut self, chunk: Bytes) {
        self.chunks_len += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Writes until all is written or the socket takes no more; what is sent is counted.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        counters: &Counters,
    ) -> Poll<io::Result<()>> {
        if self.is_empty() && !self.is_unflushed {
            return Poll::Ready(Ok(()));
        }
        counters.packets_sent.increment(std::mem::take(&mut self.packets));
        while !self.is_empty() {
            let written = if self.chunks.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(context, &self.tail))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let parts = self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]);
                for (slice, part) in slices.iter_mut().zip(parts) {
                    *slice = IoSlice::new(part);
                }
                ready!(Pin::new(&mut *stream).poll_write_vectored(context, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            counters.bytes_sent.increment(written as u64);
            self.is_unflushed = true;
            self.advance(written);
        }
        self.tail = BytesMut::new();
        self.chunks = VecDeque::new();
        ready!(Pin::new(stream).poll_flush(context))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.chunks.front_mut() {
            let from_chunk = written.min(chunk.len());
            chunk.advance(from_chunk);
            self.chunks_len -= from_chunk;
            written -= from_chunk;
            if !chunk.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        self.tail.advance(written.min(self.tail.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes everything and passes it on only when it is flushed, at the second attempt.
    #[derive(Default)]
    struct Buffered {
        held: usize,
        passed: usize,
        attempts: usize,
    }

    impl AsyncWrite for Buffered {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.attempts += 1;
            if self.attempts < 2 {
                return Poll::Pending;
            }
            self.passed += std::mem::take(&mut self.held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_flush_that_did_not_end_is_taken_up_again() {
        let (mut stream, mut output) = (Buffered::default(), Output::default());
        let counters = Counters::default();
        let mut context = Context::from_waker(Waker::noop());
        output.buffer().extend_from_slice(b"PINGRESP");
        assert!(output.poll_flush(&mut stream, &mut context, &counters).is_pending());
        assert!(output.is_empty() && stream.passed == 0);
        assert!(output.poll_flush(&mut stream, &mut context, &counters).is_ready());
        assert_eq!(stream.passed, 8);
        assert!(output.poll_flush(&mut stream, &mut context, &counters).is_ready());
        assert_eq!(stream.attempts, 2);
    }
}
