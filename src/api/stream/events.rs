//! Server-Sent Events: a feed as the body of a response.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use metrics::{Counter, counter};
use poem::{Body, IntoResponse, Response, http::header};
use poem_openapi::{
    ApiResponse,
    payload::Payload,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{clients::Place, feed::Feed, permit::Permit};
use crate::{
    access::Access,
    live::{Cursor, Event},
    metrics::names,
};

const PING: &[u8] = b": ping\n\n";
/// The server stops: come back soon, it may only be restarting.
const CLOSING: &[u8] = b": closing\nretry: 1000\n\n";

/// A `text/event-stream`.
pub(super) struct EventStream(Body);

struct Sending {
    feed: Feed,
    permit: (Permit, Arc<Access>),
    /// When it was seen last that the permit holds.
    permitted: Instant,
    ping: Interval,
    events: Vec<Arc<Event>>,
    sent: Counter,
    stage: Stage,
    _place: Place,
}

#[derive(PartialEq)]
enum Stage {
    Opening,
    Open,
    Closed,
}

impl EventStream {
    pub(super) fn new(
        feed: Feed,
        permit: (Permit, Arc<Access>),
        place: Place,
        ping: Duration,
    ) -> Self {
        let mut ping = interval_at(Instant::now() + ping, ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sending = Sending {
            feed,
            permit,
            permitted: Instant::now(),
            ping,
            events: Vec::new(),
            sent: counter!(names::STREAM_SENT, "transport" => place.transport.label()),
            stage: Stage::Opening,
            _place: place,
        };
        Self(Body::from_bytes_stream(unfold(sending, |mut sending| async {
            let chunk = sending.next().await?;
            Some((Ok::<_, io::Error>(chunk), sending))
        })))
    }
}

impl Sending {
    /// The next part of the body; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::Opening => {
                self.stage = Stage::Open;
                return Some(opening(self.feed.begun_after()));
            }
            Stage::Closed => return None,
            Stage::Open => {}
        }
        if self.permitted.elapsed() >= self.ping.period() {
            let (permit, access) = &self.permit;
            if !permit.holds(access, self.feed.filter()) {
                return None;
            }
            self.permitted = Instant::now();
        }
        let is_open = tokio::select! {
            is_open = self.feed.take(&mut self.events) => is_open,
            _ = self.ping.tick() => return Some(Bytes::from_static(PING)),
        };
        if !is_open {
            self.stage = Stage::Closed;
            return Some(Bytes::from_static(CLOSING));
        }
        self.ping.reset();
        self.sent.increment(self.events.len() as u64);
        Some(joined(&mut self.events))
    }
}

/// So that the client sees that it is connected, and knows when to come back and after which event,
/// though it may not have seen any.
fn opening(after: Cursor) -> Bytes {
    format!(": stream\nretry: 3000\nid: {after}\n\n").into()
}

fn joined(events: &mut Vec<Arc<Event>>) -> Bytes {
    if let [event] = events.as_slice() {
        let block = event.block().clone();
        events.clear();
        return block;
    }
    let mut chunk = BytesMut::with_capacity(events.iter().map(|event| event.block().len()).sum());
    events.drain(..).for_each(|event| chunk.extend_from_slice(event.block()));
    chunk.freeze()
}

impl Payload for EventStream {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")))
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(Self::CONTENT_TYPE)
            .header(header::CACHE_CONTROL, "no-cache, no-transform")
            // nginx would hold events back until it has a buffer full.
            .header("x-accel-buffering", "no")
            .body(self.0)
    }
}

impl ApiResponse for EventStream {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: Self::CONTENT_TYPE,
                    schema: Self::schema_ref(),
                }],
                headers: vec![],
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}
