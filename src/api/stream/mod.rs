//! Live streams: what was committed, as it is committed, over Server-Sent Events and WebSocket.
//!
//! A stream is a subscription of the hub (`feed`), begun where the client left off if it says so, and
//! written out by `events` or `socket`. `request` reads what a client wants, `clients` counts who is
//! there, `tickets` lets in those who can't send headers.

mod clients;
mod events;
mod feed;
mod missed;
mod permit;
mod request;
mod socket;
mod tickets;

use std::{sync::Arc, time::Duration};

use poem::{Request, http::StatusCode};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Query},
    payload::Json,
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::{
    clients::{Clients, Transport},
    events::EventStream,
    feed::Feed,
    permit::{Permit, may_listen},
    request::{Asked, cursor},
    tickets::Tickets,
};
pub(super) use self::{
    socket::{Scope, Socket},
    tickets::{is_stream, ticket_in},
};
use super::{
    Api, State, Tag,
    caller::{Caller, Known},
    problem::{Created, Fault, Problem},
};
use crate::{
    clock::Clock,
    config::{self, Settings},
    live::Hub,
};

/// Where tickets are made.
pub(super) const TICKET: &str = "/api/stream/ticket";
/// Clients that are read for in the store at a time; others wait.
const RESUMES_MAX: usize = 2;

/// What all streams share.
pub struct Streams {
    pub(super) hub: Arc<Hub>,
    pub(super) tickets: Tickets,
    /// WebSocket sessions; Server-Sent Events end with their requests.
    pub(super) sessions: TaskTracker,
    clients: Arc<Clients>,
    settings: config::Streams,
    ping: Duration,
    resumes: Semaphore,
}

impl Streams {
    pub fn new(hub: Arc<Hub>, settings: &Settings, clock: Clock) -> Self {
        let (http, settings) = (&settings.http, settings.streams.clone());
        // A connection is given so long from a client's word, such as a pong, to our next.
        let exchange = http.header_timeout.0 + http.request_timeout.0;
        Self {
            hub,
            tickets: Tickets::new(clock),
            sessions: TaskTracker::new(),
            clients: Clients::new(settings.max_clients, settings.max_clients_per_address),
            ping: settings.ping.0.min(exchange / 2).max(Duration::from_millis(100)),
            resumes: Semaphore::new(RESUMES_MAX),
            settings,
        }
    }
}

pub(super) struct Stream;

/// Lets a client in once that can't send headers
#[derive(Debug, Clone, Object)]
struct Ticket {
    /// To be given as `?ticket=` to a stream
    ticket: String,
    /// Seconds
    expires_in: u64,
}

#[derive(ApiResponse)]
enum StreamAnswer {
    /// Events as they happen, until the client or the server ends it
    #[oai(status = 200)]
    Streaming(EventStream),
    /// A parameter can't be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// A key or a ticket is needed
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The key does not allow this
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// A parameter is out of its range
    #[oai(status = 422, content_type = "application/problem+json")]
    Invalid(Json<Problem>),
    /// There are too many streams from this address
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(Json<Problem>),
    /// There are too many streams, or the store does not answer
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

#[OpenApi]
impl Stream {
    /// Live events (Server-Sent Events)
    ///
    /// `sensor_data` (a stored reading), `presence`, `alarm` (what happened, and the alarm), and, only where `events` asks for it,
    /// `message` (a device's message as it came, with its outcome). Readings of a sensor come in the
    /// order in which they were stored. `gap` stands where events are missing because the client was
    /// too slow. A client that comes back with the id of the last event that it saw is sent what it
    /// missed: readings and what happened to alarms from the store, the presence of devices as it is.
    /// Readings need the scope `data:read`, presence `devices:read`, alarms `alarms:read`, messages
    /// `mqtt:read`; the stream ends when its caller may no longer listen. The same over WebSocket:
    /// `/ws`.
    #[oai(path = "/api/stream", method = "get", tag = "Tag::Streams", operation_id = "stream")]
    #[expect(clippy::too_many_arguments, reason = "one argument a query parameter")]
    async fn stream(
        &self,
        _caller: Caller<Known>,
        api: State<'_>,
        request: &Request,
        /// Device ids, with commas between them; without devices and sensors: all
        devices: Query<Option<String>>,
        /// Sensors, by number or as `device/sensor`, with commas between them
        sensors: Query<Option<String>>,
        /// Of `readings`, `presence`, `alarms`, `messages`; without it the first three
        events: Query<Option<String>>,
        /// Goes on after this event
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The same, for clients that can't send headers
        #[oai(name = "last_event_id")]
        resume_after: Query<Option<String>>,
        /// In place of a key: one of `POST /api/stream/ticket`
        ticket: Query<Option<String>>,
    ) -> StreamAnswer {
        // The guard has looked at it.
        drop(ticket);
        let asked = Asked { devices: devices.0, sensors: sensors.0, events: events.0 };
        let last = last_event_id.0.or(resume_after.0);
        match open(&api, request, asked, last).await {
            Ok(stream) => StreamAnswer::Streaming(stream),
            Err(fault) => fault.into(),
        }
    }

    /// A ticket for a stream
    ///
    /// For browsers, whose `EventSource` and `WebSocket` send no headers of ours. It is good for one
    /// request within 30 seconds, and allows what its maker's key allows by then. One caller has 100 at a
    /// time.
    #[oai(
        path = "/api/stream/ticket",
        method = "post",
        tag = "Tag::Streams",
        operation_id = "stream_ticket"
    )]
    async fn ticket(&self, caller: Caller<Known>, api: State<'_>) -> Created<Ticket> {
        if !may_listen(&caller.principal) {
            let detail = "nothing of a stream is allowed to you";
            return Err(Fault::new(StatusCode::FORBIDDEN, detail)).into();
        }
        let issued = api.streams.tickets.issue(caller.principal);
        issued.map(|ticket| Ticket { ticket, expires_in: tickets::LIFETIME.as_secs() }).into()
    }
}

async fn open(
    api: &Arc<Api>,
    request: &Request,
    asked: Asked,
    last: Option<String>,
) -> Result<EventStream, Fault> {
    let permit = Permit::of(request)?;
    let filter = permit.confine(asked.filter()?, asked.kinds()?.is_some())?;
    let last = last.as_deref().map(cursor).transpose()?;
    let place = api.streams.clients.enter(request, Transport::Events)?;
    let feed = Feed::open(api, filter, last).await?;
    Ok(EventStream::new(feed, (permit, api.access.clone()), place, api.streams.ping))
}

impl From<Fault> for StreamAnswer {
    fn from(fault: Fault) -> Self {
        let status = fault.status.as_u16();
        let problem = Json(fault.problem());
        match status {
            400 => Self::BadRequest(problem),
            401 => Self::Unauthorized(problem),
            403 => Self::Forbidden(problem),
            422 => Self::Invalid(problem),
            429 => Self::TooMany(problem),
            _ => Self::Unavailable(problem),
        }
    }
}
