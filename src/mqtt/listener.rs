//! Accepts sockets and owns the tasks that serve them.
//!
//! A socket that can't be accepted (no file descriptors left) costs a pause, not the listener; a
//! connection's panic is seen, counted and ends that connection only.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    broker::Broker,
    transport::{self, ListenerSettings, Peer, Transport},
};

/// Pause after a failed accept: the cause (no descriptors) passes when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub struct Listener {
    socket: TcpListener,
    broker: Arc<Broker>,
    settings: Arc<ListenerSettings>,
    /// Bound: the listener's `connections_max`, and as many again while they are being refused.
    connections: JoinSet<()>,
}

impl Listener {
    pub fn new(socket: TcpListener, broker: Arc<Broker>, settings: ListenerSettings) -> Self {
        let settings = Arc::new(settings);
        Self { socket, broker, settings, connections: JoinSet::new() }
    }

    pub fn transport(&self) -> Transport {
        self.settings.transport()
    }

    /// # Errors
    /// When the socket has no address, which a bound one always has.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop`, then waits at most `grace` for the connections to end by themselves.
    ///
    /// Whoever cancels `stop` also calls [`Broker::begin_stop`], which makes them end.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => self.on_accept(accepted).await,
                Some(ended) = self.connections.join_next() => seen(ended),
            }
        }
        let Self { socket, mut connections, .. } = self;
        drop(socket);
        let drained = timeout(grace, async {
            while let Some(ended) = connections.join_next().await {
                seen(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections cut at the stop's deadline"
            );
        }
        connections.shutdown().await;
    }

    async fn on_accept(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, address)) => self.take_in(stream, address),
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Everything that may take time happens in the connection's own task.
    fn take_in(&mut self, stream: TcpStream, address: SocketAddr) {
        if !self.settings.admits(address) {
            self.broker.counters.turned_away("address");
            tracing::debug!(peer = %address, "not among those who may connect here");
            return;
        }
        while let Some(ended) = self.connections.try_join_next() {
            seen(ended);
        }
        let (open, max) = (self.connections.len(), self.settings.connections_max);
        if open >= max.saturating_mul(2) {
            return self.broker.counters.turned_away("crowd");
        }
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let peer = Peer {
            address,
            certificate: None,
            listener: self.settings.clone(),
            deadline: Instant::now() + self.broker.limits.connect_timeout,
            is_over_limit: open >= max,
        };
        self.connections.spawn(transport::serve(self.broker.clone(), stream, peer));
    }
}

fn seen(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        metrics::counter!(crate::metrics::names::TASK_PANICS).increment(1);
        tracing::error!(%error, "a connection's task panicked");
    }
}
