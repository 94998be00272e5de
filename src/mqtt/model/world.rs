//! A broker without sockets: each connection is served by the broker's own code over a pipe in memory,
//! and runs when it is woken, in the order of the wake-ups, until nothing is left to do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    runtime::Runtime,
    time::Instant,
};

use super::store::{Store, Tables};
use crate::{
    clock::Clock,
    mqtt::{
        Authorizer, Broker, Client, ConnectAttempt, Hooks, Identity, InboundRate, Limits,
        ListenerSettings, Offer, PublishTap, Publisher, ReasonCode, SessionObserver,
        SharedDispatch, TappedMessage, handshake, topic::TopicLimits, transport::Peer,
    },
};

/// Lets everybody do everything, and takes no message.
struct Open;

impl Authorizer for Open {
    fn connect(&self, _: ConnectAttempt) -> BoxFuture<'_, Result<Identity, ReasonCode>> {
        Box::pin(async { Ok(Identity::default()) })
    }

    fn may_publish(&self, _: &Client, _: &str) -> bool {
        true
    }

    fn may_subscribe(&self, _: &Client, _: &str) -> bool {
        true
    }

    fn filters_deliveries(&self, _: &Client) -> bool {
        false
    }

    fn may_receive(&self, _: &Client, _: &str) -> bool {
        true
    }
}

impl PublishTap for Open {
    fn offer(&self, message: TappedMessage) -> Offer {
        Offer::Pass(message)
    }

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl SessionObserver for Open {
    fn connected(&self, _: &Arc<Client>, _: bool) {}
    fn disconnected(&self, _: &Arc<Client>, _: ReasonCode) {}
}

pub(super) const PACKET_SIZE_MAX: usize = 64 * 1024;
pub(super) const TOPICS: TopicLimits = TopicLimits { levels_max: 16, bytes_max: 1024 };

fn limits() -> Limits {
    Limits {
        connections_max: 1000,
        connect_timeout: Duration::from_secs(3600),
        packet_size_max: PACKET_SIZE_MAX,
        receive_maximum: 1000,
        inflight_max: 3,
        queued_messages_max: 10_000,
        queued_bytes_max: 100 << 20,
        queued_bytes_total_max: 100 << 20,
        queued_age_max: Duration::ZERO,
        inbound_rate: InboundRate::default(),
        sessions_max: 1000,
        shared_dispatch: SharedDispatch::RoundRobin,
        session_expiry_max: u32::MAX,
        keep_alive_max: 0,
        topic_alias_max: 10,
        subscriptions_max: 1000,
        topics: TOPICS,
        retained_messages_max: 1000,
        retained_bytes_max: 1 << 20,
        stall_timeout: Duration::from_secs(3600),
    }
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    bell: Arc<Bell>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// A broker, its store, and the tasks that serve its clients.
pub(super) struct World {
    runtime: Runtime,
    pub(super) clock: Clock,
    pub(super) broker: Arc<Broker>,
    pub(super) publisher: Publisher,
    pub(super) store: Arc<Store>,
    tasks: Vec<Task>,
}

fn build(clock: &Clock, store: &Arc<Store>) -> (Arc<Broker>, Publisher) {
    let publisher = Publisher::new(limits(), clock.clone());
    let hooks = Hooks {
        authorizer: Arc::new(Open),
        tap: Arc::new(Open),
        observer: Arc::new(Open),
        store: store.clone(),
    };
    (Broker::new(&publisher, hooks), publisher)
}

impl World {
    pub(super) fn new() -> Self {
        // Its timers never fire, for nobody turns it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let clock = Clock::manual(1_000_000_000);
        let store = Arc::new(Store::new(Tables::default(), usize::MAX));
        let (broker, publisher) = build(&clock, &store);
        let runtime = runtime.expect("a runtime");
        Self { runtime, clock, broker, publisher, store, tasks: Vec::new() }
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.unix_micros()
    }

    /// Opens a connection; the client's end of it.
    pub(super) fn open(&mut self) -> DuplexStream {
        let _guard = self.runtime.enter();
        let (ours, theirs) = duplex(1 << 20);
        let listener = ListenerSettings {
            tls: None,
            web_socket: None,
            allow_from: Vec::new(),
            connections_max: 1000,
            packet_size_max: PACKET_SIZE_MAX,
            allow_anonymous: true,
        };
        let peer = Peer {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            certificate: None,
            listener: Arc::new(listener),
            deadline: Instant::now() + Duration::from_secs(3600),
            is_over_limit: false,
        };
        let broker = self.broker.clone();
        self.start(async move { handshake::serve(&broker, theirs, peer).await });
        ours
    }

    fn start(&mut self, future: impl Future<Output = ()> + 'static) {
        let bell = Arc::new(Bell(AtomicBool::new(true)));
        self.tasks.push(Task { bell, future: Box::pin(future) });
    }

    /// Runs what is woken until nothing is.
    pub(super) fn run(&mut self) {
        let _guard = self.runtime.enter();
        let mut turns = 0;
        loop {
            let mut was_idle = true;
            self.tasks.retain_mut(|task| {
                if !task.bell.0.swap(false, Ordering::Relaxed) {
                    return true;
                }
                was_idle = false;
                let waker = Waker::from(task.bell.clone());
                task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            if was_idle {
                return;
            }
            turns += 1;
            assert!(turns < 10_000, "the tasks never come to rest");
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.sweep();
    }

    fn sweep(&mut self) {
        let broker = self.broker.clone();
        self.start(async move { broker.sweep().await });
        self.run();
    }

    pub(super) fn commit(&mut self, count: usize) -> bool {
        let has_committed = self.store.commit(&self.publisher, count);
        self.run();
        has_committed
    }

    /// The process ends without a word, and another takes over what was committed.
    pub(super) fn restart(&mut self, room: usize) {
        {
            let _guard = self.runtime.enter();
            self.tasks.clear();
        }
        let (tables, saved) = self.store.tables().into_saved();
        self.store = Arc::new(Store::new(tables, room));
        (self.broker, self.publisher) = build(&self.clock, &self.store);
        self.broker.restore(saved);
        self.sweep();
    }
}

pub(super) fn write(pipe: &mut DuplexStream, bytes: &[u8]) {
    let mut context = Context::from_waker(Waker::noop());
    // The broker may have closed the connection: the client finds out when it reads.
    let _ = Pin::new(pipe).poll_write(&mut context, bytes);
}

/// What has come; `false`: the broker has closed the connection.
pub(super) fn read(pipe: &mut DuplexStream, into: &mut Vec<u8>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let mut space = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *pipe).poll_read(&mut context, &mut buffer) {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return false,
            Poll::Ready(Ok(())) => into.extend_from_slice(buffer.filled()),
            Poll::Ready(Err(_)) => return false,
        }
    }
}
