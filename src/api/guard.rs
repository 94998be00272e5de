//! Around every request: who calls, body limit, packed bodies, repetitions, time limit, errors as
//! problems, log line, metrics, and the audit log.
//!
//! What is under `/api` is closed to those that are not known, whatever the operation says; which
//! scope it needs is asked at the operation (`caller`). A change runs in a task of its own: it is
//! done to its end and noted, whether its client waits for the answer or not, and counts among the
//! requests that run until then. Uploads end with their clients, unless they carry a key to be known by.

use std::{io::Read, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures_util::FutureExt;
use metrics::{counter, histogram};
use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{Method, StatusCode, header},
};
use poem_openapi::{
    OperationId,
    error::{ParseParamError, ParsePathError},
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{
    caller::{self, Noted, unauthorized},
    front::{Front, RequestId, Running, Unread, has_body},
    idempotency::{self, Idempotency},
    imports,
    problem::{Fault, with_hints},
    stream::{self, Streams},
    uploads,
};
use crate::{
    access::{Access, Actor, AuditEntry, Principal, Scope},
    clock::Clock,
    metrics::names,
};

pub(super) struct Guard<E> {
    pub(super) inner: Arc<E>,
    pub(super) access: Arc<Access>,
    pub(super) idempotency: Idempotency,
    /// Where tickets are, which stand for credentials.
    pub(super) streams: Arc<Streams>,
    pub(super) clock: Clock,
    pub(super) front: Front,
    pub(super) max_body: usize,
    pub(super) request_timeout: Duration,
    pub(super) logs_requests: bool,
    pub(super) open_docs: bool,
    pub(super) open_metrics: bool,
    /// Changes that are being made; waited for at the stop.
    pub(super) changes: TaskTracker,
}

/// What of `/api` may be used by those who are not known.
const OPEN: [&str; 3] = ["/api/health", "/api/auth/login", "/api/auth/refresh"];
/// What is done all the time, and changes nothing that people have set.
const UNNOTED: [&str; 4] = ["upload_telemetry", "upload_data", "refresh_tokens", "stream_ticket"];
/// What has a body and changes nothing that is stored: it ends when its client goes.
const QUESTIONS: [&str; 4] = [
    "/api/alarm-rules/backtest",
    "/api/alarm-rules/validate",
    "/api/ingest/dry-run",
    stream::TICKET,
];
/// What devices send all the time, and send again. What they no longer wait for must not pile up while
/// the store does not answer.
const UPLOADS: [&str; 2] = [uploads::TELEMETRY, uploads::UPLOAD];
/// Bytes of the body of somebody who is not known: a sign-in.
const STRANGERS_BODY_MAX: usize = 16 << 10;
/// Bytes of a path in the log.
const LOGGED_PATH_MAX: usize = 512;

impl<E: Endpoint + 'static> Endpoint for Guard<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let started = self.clock.monotonic();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let asked = self.front.ask(&mut request);
        let peer = request.remote_addr().to_string();
        let peer = peer.strip_prefix("socket://").unwrap_or(&peer);
        let answered = match is_file(&request) {
            // However long it takes: each piece of the file has a limit of its own.
            true => self.answer(request).await,
            false => {
                let answered = timeout(self.request_timeout, self.answer(request)).await;
                answered.unwrap_or_else(|_| {
                    let detail = "the request took too long";
                    Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
                })
            }
        };
        let mut response = with_hints(answered);
        let headers = response.headers_mut();
        // What one may see, another may not: nothing in between keeps it.
        if path.starts_with("/api/") && !headers.contains_key(header::CACHE_CONTROL) {
            let no_store = header::HeaderValue::from_static("no-store");
            headers.insert(header::CACHE_CONTROL, no_store);
        }
        let seconds = self.clock.monotonic().saturating_sub(started).as_secs_f64();
        let operation = response.data::<OperationId>().map_or("other", |id| id.0);
        let status = response.status().as_u16();
        counter!(names::HTTP_REQUESTS, "operation" => operation, "status" => status.to_string())
            .increment(1);
        histogram!(names::HTTP_SECONDS, "operation" => operation).record(seconds);
        if self.logs_requests {
            let (path, request_id) = (clipped(&path), asked.id.as_str());
            tracing::info!(%method, path, status, seconds, peer, request_id, "request");
        }
        Ok(self.front.answer(asked, response).await)
    }
}

impl<E: Endpoint + 'static> Guard<E> {
    async fn answer(&self, mut request: Request) -> Response {
        let admitted = self.admit(&request);
        let known = admitted.as_ref().ok().and_then(Option::as_ref);
        if let Err(refusal) = self.front.enter(&mut request, known, self.clock.monotonic()) {
            return *refusal;
        }
        if let Some(response) = self.front.options(&request) {
            return response;
        }
        let principal = match admitted {
            Ok(principal) => principal,
            Err(fault) => return fault.into_response(),
        };
        if let Err(fault) = self.front.read_query(&request, principal.as_ref()) {
            return fault.into_response();
        }
        let is_file = is_file(&request);
        if has_body(&request) && !is_file {
            let of_strangers = self.max_body.min(STRANGERS_BODY_MAX);
            let max_body = if principal.is_some() { self.max_body } else { of_strangers };
            if let Err(fault) = take_in(&mut request, max_body).await {
                return fault.into_response();
            }
        }
        if let Err(refusal) = self.front.begin(&mut request) {
            return *refusal;
        }
        let key = match &principal {
            Some(known) => idempotency::key(&request, &known.identity()),
            None => Ok(None),
        };
        let key = match key {
            Ok(key) => key,
            Err(fault) => return fault.into_response(),
        };
        if ends_with_its_client(&request, key.is_some()) {
            if let Some(principal) = principal {
                request.extensions_mut().insert(principal);
            }
            return answer(&*self.inner, request).await;
        }
        let (inner, access) = (self.inner.clone(), self.access.clone());
        let change = move |request| change(inner, access, request, principal);
        if let Some(key) = key {
            return self.idempotency.answer(key, request, is_file, change).await;
        }
        match self.changes.spawn(change(request)).await {
            Ok(response) => response,
            Err(_) => Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "").into_response(),
        }
    }

    /// Who calls; `Err` where that has to be known, and is not.
    fn admit(&self, request: &Request) -> Result<Option<Principal>, Fault> {
        let path = request.uri().path();
        let is_stream = stream::is_stream(path);
        if is_stream && let Some(ticket) = stream::ticket_in(request.uri()) {
            let maker = self.streams.tickets.redeem(ticket);
            let present = maker.and_then(|known| self.access.present(&known));
            return present.map(Some).ok_or_else(|| {
                let detail = "the ticket is used up, out of date or none";
                Fault::new(StatusCode::UNAUTHORIZED, detail)
            });
        }
        let principal = self.recognise(request);
        let is_below = |folder: &str| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_open = if is_below("/metrics") {
            self.open_metrics
        } else if is_below("/docs") || is_below("/openapi.json") {
            self.open_docs
        } else {
            !(is_below("/api") || is_stream) || OPEN.contains(&path)
        };
        match &principal {
            None if !is_open => Err(unauthorized()),
            Some(known) if is_below("/metrics") && !is_open && !known.may(Scope::ServiceRead) => {
                let detail = "this needs the scope service:read";
                Err(Fault::new(StatusCode::FORBIDDEN, detail))
            }
            Some(known) if !is_open => self.front.welcome(request, known).map(|()| principal),
            _ => Ok(principal),
        }
    }

    fn recognise(&self, request: &Request) -> Option<Principal> {
        let headers = request.headers();
        let presented = headers
            .get("x-api-key")
            .or_else(|| headers.get(header::AUTHORIZATION))
            .and_then(|value| value.to_str().ok())
            .map(|text| {
                let scheme = text.get(..7).filter(|word| word.eq_ignore_ascii_case("bearer "));
                scheme.map_or(text, |_| text.get(7..).unwrap_or_default()).trim()
            });
        presented.and_then(|text| self.access.recognise(text)).or_else(|| self.access.anybody())
    }
}

/// Makes a change and notes it.
async fn change<E: Endpoint>(
    inner: Arc<E>,
    access: Arc<Access>,
    mut request: Request,
    principal: Option<Principal>,
) -> Response {
    let _place = request.data::<Running>().cloned();
    let noted = Noted::default();
    let mut entry = AuditEntry {
        actor: principal.as_ref().map_or(Actor::Anybody, |known| known.actor.clone()),
        action: String::new(),
        resource: request.uri().path().to_owned(),
        detail: None,
        address: caller::address(&request).map(|address| address.to_string()),
        request_id: request.data::<RequestId>().map(|id| id.as_str().to_owned()),
    };
    request.extensions_mut().insert(noted.clone());
    if let Some(principal) = principal {
        request.extensions_mut().insert(principal);
    }
    let response = answer(&*inner, request).await;
    let operation = response.data::<OperationId>().map(|id| id.0);
    let operation = operation.filter(|id| !UNNOTED.contains(id));
    if let Some(operation) = operation.filter(|_| response.status().is_success()) {
        let note = noted.take();
        entry.action = operation.to_owned();
        entry.actor = note.actor.unwrap_or(entry.actor);
        entry.detail = note.detail.map(|detail| detail.to_string());
        if let Err(error) = access.note(entry).await {
            tracing::error!(%error, operation, "a change is missing from the audit log");
        }
    }
    response
}

/// Whether nobody minds when it is left undone.
fn ends_with_its_client(request: &Request, has_key: bool) -> bool {
    let path = request.uri().path();
    !has_body(request) || QUESTIONS.contains(&path) || (!has_key && UPLOADS.contains(&path))
}

/// Whether the body is a file that is written to disk as it comes.
fn is_file(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == imports::PATH
}

/// Reads the body, unpacked, as far as it may go.
async fn take_in(request: &mut Request, max: usize) -> Result<(), Fault> {
    let is_gzip = imports::is_gzip(request)?;
    let body = request.take_body().into_bytes_limit(max).await;
    let mut bytes =
        body.map_err(|error| Fault::new(error.as_response_status(), error.to_string()))?;
    if is_gzip {
        bytes = unpacked(&bytes, max)?;
        request.headers_mut().remove(header::CONTENT_ENCODING);
    }
    request.set_body(bytes);
    Ok(())
}

fn unpacked(bytes: &Bytes, max: usize) -> Result<Bytes, Fault> {
    let mut unpacked = Vec::new();
    let mut reader = MultiGzDecoder::new(&bytes[..]).take(max as u64 + 1);
    reader.read_to_end(&mut unpacked).map_err(|error| {
        let detail = format!("the body can't be unpacked: {error}");
        Fault::new(StatusCode::BAD_REQUEST, detail)
    })?;
    if unpacked.len() > max {
        let detail = "payload too large, unpacked";
        return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(unpacked.into())
}

async fn answer<E: Endpoint>(inner: &E, request: Request) -> Response {
    match AssertUnwindSafe(inner.call(request)).catch_unwind().await {
        Ok(Ok(output)) => output.into_response(),
        Ok(Err(error)) => as_problem(error),
        Err(_) => {
            counter!(names::TASK_PANICS).increment(1);
            tracing::error!("a request panicked");
            Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "").into_response()
        }
    }
}

/// Enough of a path for a line of the log.
fn clipped(path: &str) -> &str {
    path.get(..path.floor_char_boundary(LOGGED_PATH_MAX)).unwrap_or_default()
}

trait BodyErrorStatus {
    fn as_response_status(&self) -> StatusCode;
}

impl BodyErrorStatus for poem::error::ReadBodyError {
    fn as_response_status(&self) -> StatusCode {
        match self {
            poem::error::ReadBodyError::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What poem says of a request that it could not read, in our form; what went wrong inside is not
/// told.
fn as_problem(error: poem::Error) -> Response {
    // Of our own making: a problem already.
    if error.is_from_response() {
        return error.into_response();
    }
    let status = error.status();
    let query = error.downcast_ref::<ParseParamError>().map(|error| error.name);
    let path = error.downcast_ref::<ParsePathError>().map(|error| error.name);
    let unread = query.or(path).map(Unread);
    let detail = if status.is_server_error() {
        tracing::error!(%error, "a request failed");
        String::new()
    } else {
        error.to_string()
    };
    let mut response = Fault::new(status, detail).into_response();
    // Of what poem-openapi says of a parameter `front` makes a sentence.
    if let Some(unread) = unread {
        response.extensions_mut().insert(unread);
    }
    response
}
