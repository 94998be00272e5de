//! One connection, in a task of its own: TLS handshake, HTTP/1.1 or HTTP/2, the goodbye at the stop.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use ipnet::IpNet;
use metrics::counter;
use poem::{
    Endpoint, Response,
    http::{StatusCode, Version, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Place, forwarded,
    guests::Guest,
    timed::{Beat, Pulse, Timed},
};
use crate::{metrics::names, tls::TlsServer};

/// The head of a request over HTTP/1.1; a longer one is answered 431. The same is kept of an answer
/// before it is sent.
const BUFFER_MAX: usize = 64 << 10;
/// The headers of a request over HTTP/2.
const HEADERS_MAX: u32 = 16 << 10;
/// Requests at a time on a connection over HTTP/2.
const STREAMS_MAX: u32 = 100;
/// Requests that were cancelled before they were looked at; past it the connection ends.
const RESETS_MAX: usize = 20;
/// Between two pings of a connection over HTTP/2, and how long each waits for its answer.
const PING: Duration = Duration::from_secs(20);

/// What all connections share.
pub(super) struct Connections<E> {
    pub(super) builder: auto::Builder<Tracked>,
    pub(super) endpoint: Arc<E>,
    pub(super) header_timeout: Duration,
    pub(super) trusted: Arc<[IpNet]>,
    /// Cancelled when each is to say goodbye.
    pub(super) stop: CancellationToken,
    /// Cancelled when each is to end.
    pub(super) cut: CancellationToken,
}

/// Runs the requests of HTTP/2 among the connections' tasks.
#[derive(Clone)]
pub(super) struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

pub(super) fn builder(tasks: &TaskTracker) -> auto::Builder<Tracked> {
    let mut builder = auto::Builder::new(Tracked(tasks.clone()));
    // The time of a head is kept by `Timed`, which knows a slow one from an idle connection.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

impl<E: Endpoint<Output = Response> + 'static> Connections<E> {
    pub(super) async fn run(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<TlsServer>>,
        guest: Guest,
        place: Place,
    ) {
        let run = AssertUnwindSafe(self.shake_hands(stream, peer, tls, guest.pulse, place));
        let ended = tokio::select! {
            ended = run.catch_unwind() => ended,
            () = guest.leave.cancelled() => Ok(()),
        };
        if ended.is_err() {
            counter!(names::TASK_PANICS).increment(1);
            tracing::error!(%peer, "an HTTP connection panicked");
        }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<TlsServer>>,
        pulse: Arc<Pulse>,
        place: Place,
    ) {
        let Ok(local) = stream.local_addr() else { return };
        let _ = stream.set_nodelay(true);
        let ends = Ends { local, peer, scheme: Scheme::HTTP };
        let Some(tls) = tls else {
            let timed = Timed::new(stream, place, pulse, self.header_timeout, self.header_timeout);
            return self.serve(timed, ends).await;
        };
        let deadline = Instant::now() + self.header_timeout;
        let shaken = tokio::select! {
            shaken = timeout_at(deadline, tls.acceptor().accept(stream)) => shaken,
            () = self.stop.cancelled() => return,
        };
        let Ok(Ok(stream)) = shaken else {
            counter!(names::HTTP_HANDSHAKES_FAILED).increment(1);
            return tracing::debug!(%peer, "no TLS handshake");
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let timed = Timed::new(stream, place, pulse, self.header_timeout, left);
        self.serve(timed, Ends { scheme: Scheme::HTTPS, ..ends }).await;
    }

    async fn serve<S>(&self, stream: Timed<S, Place>, ends: Ends)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (pulse, peer) = (stream.pulse(), ends.peer);
        let (endpoint, trusted) = (self.endpoint.clone(), self.trusted.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let beat = pulse.begin(request.version() == Version::HTTP_2);
            let lines = request.headers().get_all("x-forwarded-for");
            let lines: Vec<_> = lines.iter().map(poem::http::HeaderValue::as_bytes).collect();
            let client = forwarded::client(ends.peer.ip(), &trusted, lines.into_iter());
            let request = (request, ends.local(), ends.remote(client), ends.scheme.clone()).into();
            let (endpoint, pulse) = (endpoint.clone(), pulse.clone());
            async move { Ok::<_, Infallible>(answer(&*endpoint, request, &pulse, beat).await) }
        });
        let io = TokioIo::new(stream);
        let connection = self.builder.serve_connection_with_upgrades(io, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "an HTTP connection ended");
        }
    }
}

async fn answer<E: Endpoint<Output = Response>>(
    endpoint: &E,
    request: poem::Request,
    pulse: &Arc<Pulse>,
    beat: Beat,
) -> hyper::Response<Answer> {
    let response: hyper::Response<BoxBody<Bytes, io::Error>> =
        endpoint.get_response(request).await.into();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        pulse.upgrade();
    }
    response.map(|body| Answer { body, _beat: beat })
}

/// Both ends of a connection.
struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
    scheme: Scheme,
}

impl Ends {
    fn local(&self) -> LocalAddr {
        LocalAddr(self.local.into())
    }

    /// The port of who came through a proxy is not known.
    fn remote(&self, client: IpAddr) -> RemoteAddr {
        let is_peer = client == self.peer.ip().to_canonical();
        RemoteAddr(if is_peer { self.peer } else { SocketAddr::new(client, 0) }.into())
    }
}

/// An answer's body, which counts until it is sent or given up.
struct Answer {
    body: BoxBody<Bytes, io::Error>,
    _beat: Beat,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
