//! WebSocket: a feed as text messages, and what the client says of it.
//!
//! One task a session; its queue is the feed's. It waits for its client to take what is written, for
//! `streams.write_timeout` at most; meanwhile the feed tells what is missed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use metrics::{Counter, counter};
use poem::{
    Endpoint, IntoResponse, OnUpgrade, Request, Response, Upgraded,
    http::{
        HeaderValue, StatusCode,
        header::{self, HeaderMap},
    },
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    clients::{Place, Transport},
    feed::Feed,
    permit::Permit,
    request::{Asked, Command, cursor, mistaken, subscribed},
};
use crate::{
    api::{Api, problem::Fault},
    live::{Event, Filter, Kind, Kinds, SensorRef},
    metrics::names,
    origin,
    telemetry::{DeviceKey, SensorId},
};

const READ_BUFFER: usize = 4 * 1024;
/// Outgoing messages are joined up to this before they are written.
const WRITE_BUFFER: usize = 16 * 1024;
/// Pings that may go unanswered.
const SILENT_PINGS_MAX: u32 = 2;
/// What a client may say in a second; each word costs those who publish a moment.
const COMMANDS_MAX: u32 = 20;
/// From our word that it is over to the end.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the path of a WebSocket is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Scope {
    /// What the query says, and the client's messages.
    Asked,
    Sensor,
    Device,
    Alarms,
}

/// The endpoint of one path.
pub(in crate::api) struct Socket(pub(in crate::api) Scope);

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(flatten)]
    asked: Asked,
    last_event_id: Option<String>,
}

struct Session {
    socket: WebSocketStream<Upgraded>,
    feed: Feed,
    permit: Permit,
    api: Arc<Api>,
    scope: Scope,
    sent: Counter,
    silent_pings: u32,
    /// Words of the client since then.
    commands: (Instant, u32),
    _place: Place,
}

/// Why a session ends.
enum End {
    /// The client went, or its connection did.
    Gone,
    /// We end it: what the client is told, and the metric's label.
    Told(CloseCode, &'static str, &'static str),
    /// We end it, and the client would not hear.
    Cut(&'static str),
}

impl Endpoint for Socket {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let opened = open(self.0, &request).await;
        Ok(opened.unwrap_or_else(|refused| *refused))
    }
}

async fn open(scope: Scope, request: &Request) -> Result<Response, Box<Response>> {
    let refused = |fault: Fault| Box::new(fault.into_response());
    let api = request.data::<Arc<Api>>().ok_or_else(|| refused(Fault::unavailable()))?;
    let key = handshake(request.headers()).ok_or_else(|| Box::new(upgrade_required()))?;
    check_origin(request, &api.streams.settings.allow_origins).map_err(refused)?;
    let parameters: Parameters = request
        .params()
        .map_err(|error| refused(Fault::new(StatusCode::BAD_REQUEST, error.to_string())))?;
    let permit = Permit::of(request).map_err(refused)?;
    let filter = scope.filter(api, request, &parameters.asked).map_err(refused)?;
    let is_asked = parameters.asked.kinds().is_ok_and(|kinds| kinds.is_some());
    let filter = permit.confine(filter, is_asked).map_err(refused)?;
    let last = parameters.last_event_id.as_deref().map(cursor).transpose().map_err(refused)?;
    let upgrade = request.take_upgrade().map_err(|_| Box::new(upgrade_required()))?;
    let place = api.streams.clients.enter(request, Transport::WebSocket).map_err(refused)?;
    let feed = Feed::open(api, filter, last).await.map_err(refused)?;
    api.streams.sessions.spawn(serve(api.clone(), scope, upgrade, (feed, permit), place));
    Ok(Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .finish())
}

/// The client's key, where it asks for a WebSocket as it should (RFC 6455 §4.2.1).
fn handshake(headers: &HeaderMap) -> Option<&HeaderValue> {
    let has = |name: header::HeaderName, word: &str| {
        let values = headers.get_all(name);
        let mut values = values.iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let is_asked = has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_asked)
}

fn upgrade_required() -> Response {
    let detail = "a WebSocket is spoken here (version 13); for plain HTTP use /api/stream";
    let mut response = Fault::new(StatusCode::UPGRADE_REQUIRED, detail).into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// A browser opens one for any page; only the `Origin` says whose.
fn check_origin(request: &Request, listed: &[crate::config::Origin]) -> Result<(), Fault> {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let listed: Vec<_> = listed.iter().map(|origin| origin.0.clone()).collect();
    let admits = |origin: &HeaderValue| {
        origin.to_str().is_ok_and(|origin| origin::admits(&listed, origin, host))
    };
    if headers.get_all(header::ORIGIN).iter().all(admits) {
        return Ok(());
    }
    counter!(names::STREAM_REFUSED, "reason" => "origin").increment(1);
    Err(Fault::new(StatusCode::FORBIDDEN, "pages of this origin may not connect"))
}

impl Scope {
    fn filter(self, api: &Api, request: &Request, asked: &Asked) -> Result<Filter, Fault> {
        let kinds = asked.kinds()?;
        let path = || request.path_params::<String>().unwrap_or_default();
        match self {
            Self::Asked => asked.filter(),
            Self::Alarms => {
                let filter = asked.filter()?;
                Ok(Filter { kinds: Kinds::NONE.with(Kind::Alarms), ..filter })
            }
            Self::Sensor => {
                let known = path().parse().ok().and_then(|id| api.registry.sensor(SensorId(id)));
                let sensor = known.ok_or_else(|| Fault::not_found("sensor"))?;
                let mut filter = Filter::nothing(kinds.unwrap_or(Kinds::usual()));
                filter.sensors.insert(SensorRef::Id(sensor.id));
                Ok(filter)
            }
            Self::Device => {
                let key = DeviceKey::new(&path()).map_err(|_| Fault::not_found("device"))?;
                if api.registry.get(key.as_str()).is_none() {
                    return Err(Fault::not_found("device"));
                }
                let mut filter = Filter::nothing(kinds.unwrap_or(Kinds::usual()));
                filter.devices.insert(key);
                Ok(filter)
            }
        }
    }
}

async fn serve(
    api: Arc<Api>,
    scope: Scope,
    upgrade: OnUpgrade,
    (feed, permit): (Feed, Permit),
    place: Place,
) {
    let Ok(stream) = upgrade.await else { return };
    let size_max = api.streams.settings.max_message.as_usize();
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(size_max))
        .max_frame_size(Some(size_max));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let session = Session {
        socket,
        feed,
        permit,
        scope,
        sent: counter!(names::STREAM_SENT, "transport" => place.transport.label()),
        silent_pings: 0,
        commands: (Instant::now(), 0),
        api,
        _place: place,
    };
    session.run().await;
}

impl Session {
    async fn run(mut self) {
        let end = self.exchange().await;
        let (code, reason, label) = match end {
            End::Gone => return,
            End::Cut(label) => {
                counter!(names::STREAM_CUT, "reason" => label).increment(1);
                return;
            }
            End::Told(code, reason, label) => (code, reason, label),
        };
        counter!(names::STREAM_CUT, "reason" => label).increment(1);
        let frame = CloseFrame { code, reason: reason.into() };
        // Whoever does not answer in time is not waited for.
        let _ = timeout(GOODBYE, async {
            self.socket.send(Message::Close(Some(frame))).await?;
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<_, Error>(())
        })
        .await;
    }

    async fn exchange(&mut self) -> End {
        let period = self.api.streams.ping;
        let mut ping = interval_at(Instant::now() + period, period);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        loop {
            let done = tokio::select! {
                is_open = self.feed.take(&mut events) => {
                    if !is_open {
                        return End::Told(CloseCode::Away, "Brooklet stops", "stop");
                    }
                    self.send_events(&mut events).await
                }
                message = self.socket.next() => match message {
                    Some(Ok(message)) => self.hear(message).await,
                    Some(Err(Error::Capacity(_))) => {
                        Err(End::Told(CloseCode::Size, "the message is too large", "size"))
                    }
                    Some(Err(_)) | None => Err(End::Gone),
                },
                _ = ping.tick() => self.ping().await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn send_events(&mut self, events: &mut Vec<Arc<Event>>) -> Result<(), End> {
        let count = events.len() as u64;
        let texts = events.drain(..).map(|event| event.json().clone());
        let written = write(&mut self.socket, texts);
        within(self.api.streams.settings.write_timeout.0, written).await?;
        self.sent.increment(count);
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), End> {
        if !self.permit.holds(&self.api.access, self.feed.filter()) {
            return Err(End::Told(CloseCode::Policy, "no longer allowed", "revoked"));
        }
        if self.silent_pings >= SILENT_PINGS_MAX {
            return Err(End::Cut("silence"));
        }
        self.silent_pings += 1;
        let ping = self.socket.send(Message::Ping(Bytes::new()));
        within(self.api.streams.settings.write_timeout.0, ping).await
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        self.silent_pings = 0;
        match message {
            Message::Text(text) => self.obey(&text).await,
            Message::Binary(_) => Err(End::Told(CloseCode::Unsupported, "text only", "binary")),
            // Answered underneath; after a Close the stream ends by itself.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(()),
        }
    }

    async fn obey(&mut self, text: &str) -> Result<(), End> {
        let (since, count) = &mut self.commands;
        if since.elapsed() > Duration::from_secs(1) {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count > COMMANDS_MAX {
            return Err(End::Told(CloseCode::Policy, "too many messages", "commands"));
        }
        let changed = if self.scope == Scope::Asked {
            Command::read(text)
                .and_then(|command| command.apply(self.feed.filter()))
                .and_then(|filter| self.permit.confine(filter, true))
        } else {
            let detail = "this path says what is listened to; use /ws";
            Err(Fault::invalid("", detail))
        };
        let answer = match changed {
            Ok(filter) => {
                let since = self.feed.change(filter);
                subscribed(self.feed.filter(), since)
            }
            Err(fault) => mistaken(fault),
        };
        self.answer(&answer).await
    }

    async fn answer(&mut self, answer: &Value) -> Result<(), End> {
        let text = Bytes::from(answer.to_string());
        let written = write(&mut self.socket, std::iter::once(text));
        within(self.api.streams.settings.write_timeout.0, written).await
    }
}

async fn write(
    socket: &mut WebSocketStream<Upgraded>,
    texts: impl Iterator<Item = Bytes>,
) -> Result<(), Error> {
    for text in texts {
        let text = Utf8Bytes::try_from(text).map_err(|error| Error::Utf8(error.to_string()))?;
        socket.feed(Message::Text(text)).await?;
    }
    socket.flush().await
}

async fn within(
    time: Duration,
    written: impl Future<Output = Result<(), Error>>,
) -> Result<(), End> {
    match timeout(time, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Cut("slow")),
    }
}
