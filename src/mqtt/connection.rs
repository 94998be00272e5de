//! One client's connection: its socket, its packets, its time-outs.
//!
//! One task, one poll function, no buffer while idle. In: bytes become packets, PUBLISH goes through
//! authorisation and the tap (`inbound`), acknowledgements leave in the order of the PUBLISHes. Out:
//! deliveries are taken from the session as the socket and the client's window allow (`outbound`).
//! Nobody waits for this task; it waits for the tap, and then does not read.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep, timeout},
};
use tokio_util::io::poll_read_buf;

use super::{
    broker::Broker,
    codec::{self, CodecError, next_frame, write_disconnect},
    crowd::Held,
    entries::Entries,
    handshake::say_last,
    hooks::{Client, Outcome, TappedMessage},
    inbound::Received,
    link::Link,
    outbound::OutgoingAliases,
    output::Output,
    pace::{Pace, Share},
    packet::{Disconnect, Incoming, Version},
    reason::ReasonCode,
    router::Wakes,
    session::Session,
    timing::Alarm,
    topic::TopicName,
};

/// Deliveries are encoded while less than this waits for the socket, in bytes.
pub(super) const HIGH_WATER: usize = 64 * 1024;
/// Nothing is read while more than this waits for a client that does not read, in bytes.
const READ_UNTIL: usize = 4 * HIGH_WATER;
const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 64 * 1024;
/// Rounds of reading and writing, and packets handled, before other tasks get their turn.
const ROUNDS: usize = 16;
const PACKETS_PER_TURN: usize = 256;
/// For how long a client that filled its turn is not read while others send too, so that a flood
/// leaves them the processor.
const REST: Duration = Duration::from_millis(1);
/// How long the last bytes may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What client and broker agreed on in CONNECT and CONNACK.
pub(crate) struct Terms {
    /// Bytes of the largest packet that the client takes.
    pub(crate) packet_size_max: usize,
    /// QoS 1 and 2 deliveries under way at a time.
    pub(crate) window: usize,
    pub(crate) wants_problem_information: bool,
    /// Topic aliases that the client understands.
    pub(crate) topic_alias_max: u16,
    /// Zero: none.
    pub(crate) keep_alive: Duration,
    /// Seconds; a session that was to end with its connection can't be prolonged by DISCONNECT.
    pub(crate) session_expiry_asked: u32,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The socket closed or failed.
    Lost,
    /// The client said DISCONNECT.
    ByClient(Disconnect),
    /// The broker ends it, and says why to those who understand.
    ByBroker(ReasonCode, Option<&'static str>),
}

impl From<CodecError> for End {
    fn from(error: CodecError) -> Self {
        let text = match error {
            CodecError::Malformed(text) | CodecError::Protocol(text) => Some(text),
            CodecError::TooLarge | CodecError::UnsupportedVersion(_) => None,
        };
        Self::ByBroker(error.reason(), text)
    }
}

pub(crate) struct Connection<S> {
    pub(super) broker: Arc<Broker>,
    stream: S,
    pub(super) client: Arc<Client>,
    pub(super) session: Arc<Session>,
    pub(super) link: Arc<Link>,
    pub(super) terms: Terms,
    read_buffer: BytesMut,
    read_size: usize,
    pub(super) output: Output,
    /// Messages whose acknowledgement is still to be written, in order of arrival. Bound: the
    /// receive maximum; full: the socket is not read.
    pub(super) received: VecDeque<Received>,
    /// The number of the first of `received`.
    pub(super) first_sequence: u64,
    /// Of these, messages that the tap passed and the store does not have yet.
    pub(super) on_their_way: usize,
    /// A message that the tap had no room for; nothing is read until it has.
    pub(super) stalled: Option<TappedMessage>,
    pub(super) entries: Entries,
    verdicts: Vec<(u64, Outcome)>,
    pub(super) wakes: Wakes,
    /// The topic published last: most devices use one or two.
    pub(super) last_topic: Option<TopicName>,
    /// Topics by alias; bound: `topic_alias_max`.
    pub(super) aliases: Vec<Option<TopicName>>,
    pub(super) outgoing_aliases: OutgoingAliases,
    /// Whether the client may receive a message is asked for each.
    pub(super) filters_deliveries: bool,
    pace: Option<Box<Pace>>,
    /// A receiver that is waited for: nothing is read meanwhile.
    pub(super) held: Option<Held>,
    /// The client has sent more than it may: nothing is read until then.
    pub(super) paused_until: Option<Duration>,
    packets_left: usize,
    share: Share,
    pub(super) timer: Pin<Box<Sleep>>,
    /// On the clock's monotonic scale, as are those below.
    pub(super) timer_at: Duration,
    pub(super) last_packet_at: Duration,
    pub(super) stalled_at: Option<Duration>,
    is_stopping: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(
        broker: Arc<Broker>,
        stream: S,
        (read_buffer, first_output): (BytesMut, BytesMut),
        (client, session, link): (Arc<Client>, Arc<Session>, Arc<Link>),
        terms: Terms,
    ) -> Box<Self> {
        let now = broker.clock.monotonic();
        let pace = Pace::new(broker.limits.inbound_rate, now);
        let filters_deliveries = broker.hooks.authorizer.filters_deliveries(&client);
        let outgoing_aliases = OutgoingAliases::new(terms.topic_alias_max);
        let mut output = Output::default();
        output.buffer().extend_from_slice(&first_output);
        let first_timer = Duration::from_secs(60 * 60);
        Box::new(Self {
            broker,
            stream,
            client,
            session,
            link,
            terms,
            read_buffer,
            read_size: READ_MIN,
            output,
            received: VecDeque::new(),
            first_sequence: 0,
            on_their_way: 0,
            stalled: None,
            entries: Entries::default(),
            verdicts: Vec::new(),
            wakes: Wakes::default(),
            last_topic: None,
            aliases: Vec::new(),
            outgoing_aliases,
            filters_deliveries,
            pace,
            held: None,
            paused_until: None,
            packets_left: PACKETS_PER_TURN,
            share: Share::default(),
            timer: Box::pin(sleep(first_timer)),
            timer_at: now + first_timer,
            last_packet_at: now,
            stalled_at: None,
            is_stopping: false,
        })
    }

    /// Serves the client until the connection ends, and cleans up after it.
    pub(crate) async fn run(mut self: Box<Self>) {
        let end = poll_fn(|context| self.poll(context)).await;
        Box::pin(self.finish(end)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.packets_left = PACKETS_PER_TURN;
        for _ in 0..ROUNDS {
            self.link.register(context);
            match self.round(context) {
                Err(end) => return Poll::Ready(end),
                Ok(true) if self.packets_left == 0 => {
                    self.rest_if_others_send();
                    break;
                }
                Ok(true) => {}
                Ok(false) => match self.poll_timer(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Alarm::Resume) => self.resume(),
                    Poll::Ready(Alarm::TimedOut) => return Poll::Ready(self.timed_out()),
                },
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn rest_if_others_send(&mut self) {
        if self.share.yields(self.broker.counters.packets_received.value()) {
            let until = self.broker.clock.monotonic() + REST;
            self.paused_until = self.paused_until.max(Some(until));
        }
    }

    /// One turn of everything; `true` when there may be more to do at once.
    fn round(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        self.obey_close_request()?;
        self.collect_verdicts();
        self.write_acks()?;
        self.entries.advance(self.link.committed(), &mut self.output);
        self.deliver();
        let flushed = self.output.poll_flush(&mut self.stream, context, &self.broker.counters);
        match flushed {
            Poll::Ready(Err(_)) => return Err(End::Lost),
            Poll::Ready(Ok(())) if self.is_stopping && self.received.is_empty() => {
                return Err(End::ByBroker(ReasonCode::SERVER_SHUTTING_DOWN, None));
            }
            _ => {}
        }
        let has_read = self.take_in(context);
        self.wakes.wake();
        has_read
    }

    fn obey_close_request(&mut self) -> Result<(), End> {
        match self.link.close_request() {
            None => Ok(()),
            Some(ReasonCode::SERVER_SHUTTING_DOWN) => {
                self.is_stopping = true;
                Ok(())
            }
            Some(reason) => Err(End::ByBroker(reason, None)),
        }
    }

    fn collect_verdicts(&mut self) {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        if let Some(session) = self.link.take_verdicts(&mut verdicts) {
            self.hold_for(session);
        }
        for (sequence, outcome) in verdicts.drain(..) {
            let at = sequence.checked_sub(self.first_sequence).and_then(|at| at.try_into().ok());
            if let Some(received) = at.and_then(|at: usize| self.received.get_mut(at)) {
                received.outcome = Some(outcome);
                self.on_their_way -= usize::from(std::mem::take(&mut received.is_on_its_way));
            }
        }
        if verdicts.capacity() <= 64 {
            self.verdicts = verdicts;
        }
    }

    /// Reads and handles packets. `true` when there may be more to do at once.
    fn take_in(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        if self.output.len() > READ_UNTIL {
            return Ok(false);
        }
        let is_held_up = self.is_held_up(context);
        if self.is_stopping {
            return Ok(false);
        }
        if is_held_up {
            if self.stalled_at.is_none() {
                self.stalled_at = Some(self.broker.clock.monotonic());
            }
            return Ok(false);
        }
        if self.stalled_at.take().is_some() {
            self.last_packet_at = self.broker.clock.monotonic();
        }
        if self.is_paused(context) {
            self.last_packet_at = self.broker.clock.monotonic();
            return Ok(false);
        }
        if self.handle_buffered()? {
            return Ok(true);
        }
        self.poll_read(context)
    }

    /// Whether tap or store have no room, or the inbound window is full.
    fn is_held_up(&mut self, context: &mut Context<'_>) -> bool {
        if self.entries.poll_offer(&self.broker, context).is_pending() {
            return true;
        }
        while self.stalled.is_some() {
            if self.broker.hooks.tap.poll_ready(context).is_pending() {
                return true;
            }
            if let Some(message) = self.stalled.take() {
                self.offer(message);
            }
        }
        !self.has_window()
    }

    fn has_window(&self) -> bool {
        let window = usize::from(self.broker.limits.receive_maximum);
        self.received.len() < window && self.entries.waiting() < window
    }

    fn handle_buffered(&mut self) -> Result<bool, End> {
        let before = self.packets_left;
        while self.stalled.is_none()
            && self.has_window()
            && self.paused_until.is_none()
            && self.held.is_none()
            && self.packets_left > 0
            && self.output.len() <= READ_UNTIL
        {
            let size_max = self.client.packet_size_max;
            let Some(frame) = next_frame(&mut self.read_buffer, size_max)? else {
                break;
            };
            let bytes = frame.len();
            let packet = codec::decode(frame, self.client.version)?;
            if let (Some(pace), Incoming::Publish(_)) = (&mut self.pace, &packet) {
                self.paused_until = pace.spend(bytes, self.broker.clock.monotonic());
            }
            self.handle(packet)?;
            if let Some(session) = self.wakes.crowded.take() {
                self.hold_for(session);
            }
            self.packets_left -= 1;
        }
        let handled = before - self.packets_left;
        if handled > 0 {
            self.share.took(handled);
            self.broker.counters.packets_received.increment(handled as u64);
        }
        Ok(handled > 0)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        if self.read_buffer.capacity() - self.read_buffer.len() < READ_MIN / 4 {
            self.read_buffer.reserve(self.read_size);
        }
        match poll_read_buf(Pin::new(&mut self.stream), context, &mut self.read_buffer) {
            Poll::Pending => {
                if self.read_buffer.is_empty() {
                    self.read_buffer = BytesMut::new();
                    self.read_size = READ_MIN;
                }
                Ok(false)
            }
            Poll::Ready(Ok(read)) if read > 0 => {
                self.broker.counters.bytes_received.increment(read as u64);
                self.last_packet_at = self.broker.clock.monotonic();
                if read >= self.read_size / 2 {
                    self.read_size = (self.read_size * 2).min(READ_MAX);
                }
                Ok(true)
            }
            Poll::Ready(_) => Err(End::Lost),
        }
    }

    fn handle(&mut self, packet: Incoming) -> Result<(), End> {
        match packet {
            Incoming::Publish(publish) => self.on_publish(publish),
            Incoming::Ack(ack) => {
                self.on_ack(ack);
                Ok(())
            }
            Incoming::Subscribe(subscribe) => self.on_subscribe(subscribe),
            Incoming::Unsubscribe(unsubscribe) => self.on_unsubscribe(unsubscribe),
            Incoming::PingReq => {
                codec::write_pingresp(self.output.buffer());
                Ok(())
            }
            Incoming::Disconnect(disconnect) => self.on_disconnect(disconnect),
            Incoming::Auth => {
                let text = "AUTH without enhanced authentication";
                Err(End::ByBroker(ReasonCode::PROTOCOL_ERROR, Some(text)))
            }
            Incoming::Connect(_) => {
                Err(End::ByBroker(ReasonCode::PROTOCOL_ERROR, Some("a second CONNECT")))
            }
        }
    }

    fn on_disconnect(&mut self, disconnect: Disconnect) -> Result<(), End> {
        if let Some(expiry) = disconnect.session_expiry {
            if self.terms.session_expiry_asked == 0 && expiry > 0 {
                let text = "a session expiry in DISCONNECT where CONNECT had none";
                return Err(End::ByBroker(ReasonCode::PROTOCOL_ERROR, Some(text)));
            }
            let mut state = self.session.lock();
            if state.is_served_by(self.client.connection) {
                state.expiry = expiry.min(self.broker.limits.session_expiry_max);
            }
        }
        Err(End::ByClient(disconnect))
    }

    async fn finish(mut self: Box<Self>, end: End) {
        let reason = match end {
            End::Lost => ReasonCode::UNSPECIFIED_ERROR,
            End::ByClient(disconnect) => disconnect.reason,
            End::ByBroker(reason, _) => reason,
        };
        tracing::debug!(client_id = %self.client.client_id, reason = reason.label(), "connection ended");
        let is_plain_goodbye = matches!(end, End::ByClient(d) if d.reason == ReasonCode::SUCCESS);
        std::mem::take(&mut self.entries).give_up(&self.broker);
        let will = self.broker.detach(&self.session, self.client.connection, is_plain_goodbye);
        if let End::ByBroker(reason, text) = end {
            self.say_goodbye(reason, text).await;
        }
        if let Some(will) = will {
            self.broker.publish_will(will).await;
        }
        self.broker.counters.disconnected(self.client.version, reason);
        self.broker.hooks.observer.disconnected(&self.client, reason);
    }

    async fn say_goodbye(&mut self, reason: ReasonCode, text: Option<&'static str>) {
        if self.client.version == Version::V5 {
            let text = text.filter(|text| text.len() + 16 <= self.terms.packet_size_max);
            write_disconnect(self.output.buffer(), reason, text);
        }
        let (output, stream) = (&mut self.output, &mut self.stream);
        let counters = &self.broker.counters;
        let flush = poll_fn(|context| output.poll_flush(stream, context, counters));
        if let Ok(Ok(())) = timeout(FAREWELL, flush).await {
            say_last(&mut self.stream, &[]).await;
        }
    }
}
