//! Serves connections: accepts them, owns their tasks, ends them at the stop.
//!
//! Bounds: `max_connections` in all, past it one without a request makes room, or else further ones wait
//! in the system's queue; of one address `max_connections_per_address`, past it one is closed at once.
//! Proxies that are trusted speak for many and have no bound of their own.

mod connection;
mod crowd;
mod forwarded;
mod guests;
mod timed;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::select_all;
use ipnet::IpNet;
use metrics::{counter, gauge};
use poem::{Endpoint, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use self::crowd::{Crowd, Seat, subscriber};
use self::{
    connection::Connections,
    forwarded::is_trusted,
    guests::{Entry, Guests},
};
use crate::{config, metrics::names, tls::TlsServer};

/// Pause after a failed accept: the cause (no descriptors) passes when connections end, of which one is
/// asked to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks for room where there was none.
const ROOM_PAUSE: Duration = Duration::from_millis(50);
/// What a listener with TLS speaks, the better first.
pub const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A bound socket, and its TLS if it has any.
pub struct Socket {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<TlsServer>>,
}

impl Socket {
    /// # Errors
    /// When the socket has no address, which a bound one always has.
    pub fn new(listener: TcpListener, tls: Option<Arc<TlsServer>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }
}

/// What a connection takes up.
struct Place {
    _permit: OwnedSemaphorePermit,
    _seat: Option<Seat>,
    _entry: Entry,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, seat: Option<Seat>, entry: Entry) -> Self {
        gauge!(names::HTTP_CONNECTIONS).increment(1);
        Self { _permit: permit, _seat: seat, _entry: entry }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(names::HTTP_CONNECTIONS).decrement(1);
    }
}

/// Serves until `stop`, then lets requests that run end, for `drain`.
pub(super) async fn serve<E>(
    endpoint: E,
    sockets: Vec<Socket>,
    settings: &config::Http,
    stop: CancellationToken,
    drain: Duration,
) where
    E: Endpoint<Output = Response> + 'static,
{
    let trusted: Arc<[IpNet]> = settings.trusted_proxies.iter().map(|network| network.0).collect();
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let connections = Arc::new(Connections {
        builder: connection::builder(&tasks),
        endpoint: Arc::new(endpoint),
        header_timeout: settings.header_timeout.0,
        trusted: trusted.clone(),
        stop: stop.clone(),
        cut: cut.clone(),
    });
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let (crowd, guests) = (Crowd::default(), Arc::new(Guests::default()));
    let of_one_max = settings.max_connections_per_address;
    loop {
        let accepted = tokio::select! {
            accepted = accept(&sockets, &guests) => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer, tls) = accepted;
        let address = peer.ip();
        let seat = match is_trusted(address, &trusted) {
            true => None,
            false => match crowd.enter(address, of_one_max) {
                Some(seat) => Some(seat),
                None => {
                    counter!(names::HTTP_TURNED_AWAY, "reason" => "address").increment(1);
                    continue;
                }
            },
        };
        let permit = tokio::select! {
            permit = room(&places, &guests) => permit,
            () = stop.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        let (guest, entry) = guests.enter();
        let place = Place::new(permit, seat, entry);
        tasks.spawn(connections.clone().run(stream, peer, tls, guest, place));
    }
    drop(sockets);
    tasks.close();
    if timeout(drain, tasks.wait()).await.is_err() {
        tracing::info!(connections = tasks.len(), "connections cut at the stop");
        cut.cancel();
        let _ = timeout(drain, tasks.wait()).await;
    }
}

/// Room for one more, made if need be.
async fn room(
    places: &Arc<Semaphore>,
    guests: &Guests,
) -> Result<OwnedSemaphorePermit, AcquireError> {
    loop {
        if places.available_permits() == 0 && guests.dismiss_one() {
            counter!(names::HTTP_TURNED_AWAY, "reason" => "idle").increment(1);
        }
        // Who has been answered in the meantime can be asked to leave, too.
        if let Ok(permit) = timeout(ROOM_PAUSE, places.clone().acquire_owned()).await {
            return permit;
        }
    }
}

/// The next connection of any socket.
async fn accept(
    sockets: &[Socket],
    guests: &Guests,
) -> (TcpStream, SocketAddr, Option<Arc<TlsServer>>) {
    if sockets.is_empty() {
        return std::future::pending().await;
    }
    loop {
        let accepts = sockets.iter().map(|socket| Box::pin(socket.listener.accept()));
        let (accepted, at, _) = select_all(accepts).await;
        match accepted {
            Ok((stream, peer)) => {
                let tls = sockets.get(at).and_then(|socket| socket.tls.clone());
                return (stream, peer, tls);
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                guests.dismiss_one();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
