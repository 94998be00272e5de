//! Accepts HTTP connections: at most so many at a time, each for no longer than it deserves.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::select_all;
use poem::{
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, sleep_until},
};

use crate::config;

/// Pause after a failed accept: the cause (no descriptors) passes when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may stay open between two requests.
const IDLE: Duration = Duration::from_secs(75);

/// The sockets of the HTTP surface. Bound: `max_connections`; full: further ones wait in the
/// system's queue.
pub struct Acceptor {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    places: Arc<Semaphore>,
    header_timeout: Duration,
    exchange_timeout: Duration,
}

impl Acceptor {
    /// # Errors
    /// When a socket has no address, which a bound one always has.
    pub fn new(sockets: Vec<TcpListener>, settings: &config::Http) -> io::Result<Self> {
        let addresses = sockets.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        Ok(Self {
            sockets,
            addresses,
            places: Arc::new(Semaphore::new(settings.max_connections)),
            header_timeout: settings.header_timeout.0,
            exchange_timeout: settings.header_timeout.0 + settings.request_timeout.0,
        })
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl poem::listener::Acceptor for Acceptor {
    type Io = Timed;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.addresses.iter().map(|address| LocalAddr((*address).into())).collect()
    }

    async fn accept(&mut self) -> io::Result<(Timed, LocalAddr, RemoteAddr, Scheme)> {
        let place = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        loop {
            let accepts = self.sockets.iter().map(|socket| Box::pin(socket.accept()));
            match select_all(accepts).await.0 {
                Ok((stream, peer)) => {
                    let local = stream.local_addr()?;
                    stream.set_nodelay(true)?;
                    let timed = Timed {
                        stream,
                        timer: Box::pin(sleep(self.header_timeout)),
                        is_receiving: false,
                        exchange_timeout: self.exchange_timeout,
                        _place: place,
                    };
                    return Ok((
                        timed,
                        LocalAddr(local.into()),
                        RemoteAddr(peer.into()),
                        Scheme::HTTP,
                    ));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that is closed when its first request does not come, a request takes too long from
/// its first byte to the first byte of its answer, or nothing happens between requests.
pub struct Timed {
    stream: TcpStream,
    timer: Pin<Box<Sleep>>,
    is_receiving: bool,
    exchange_timeout: Duration,
    _place: OwnedSemaphorePermit,
}

impl Timed {
    fn allow(&mut self, time: Duration) {
        self.timer.set(sleep_until(Instant::now() + time));
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            if !self.is_receiving {
                self.is_receiving = true;
                let time = self.exchange_timeout;
                self.allow(time);
            }
            return read;
        }
        if self.timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.is_receiving = false;
            self.allow(IDLE);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if written.is_ready() {
            self.is_receiving = false;
            self.allow(IDLE);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
