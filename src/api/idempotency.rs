//! `Idempotency-Key`: a POST that comes again gets the answer that it got first, for a day.
//!
//! The first answer is kept under who asked, what for and the key; the same key with another body is
//! refused (422), and while the first is under way (409). Answers that say "try again", those of no
//! operation and those that are very long are not kept; nothing is of those who are not known.
//! Such a request is carried out though its sender goes away meanwhile. What it did is committed
//! before its answer is kept: a crash in between lets a repetition do it again.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use parking_lot::Mutex;
use poem::{
    Body, IntoResponse, Request, Response,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};
use poem_openapi::OperationId;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio_util::task::TaskTracker;

use super::{front::Running, problem::Fault, stream};
use crate::{
    clock::Clock,
    store::{CALLER_BYTES, HttpAnswer, Store, StoreError},
    telemetry::Timestamp,
};

const HEADER: &str = "idempotency-key";
const KEY_MAX: usize = 255;
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(86_400);
/// A longer answer is not kept.
const ANSWER_MAX: usize = 1 << 20;
/// Bytes kept between two looks at the bounds; an answer counts as so many beyond its body.
const TRIM_EVERY: usize = 4 << 20;
const OVERHEAD: usize = 16 << 10;
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

type Sum = [u8; 32];

#[derive(Clone)]
pub(super) struct Idempotency {
    store: Store,
    clock: Clock,
    /// Keys of requests that are under way. Bound: the requests there are.
    under_way: Arc<Mutex<HashSet<Sum>>>,
    /// Owns these requests, which outlive their connections; of the server, which waits for them.
    requests: TaskTracker,
    /// Bytes kept since the last trim.
    untrimmed: Arc<AtomicUsize>,
}

/// A request's right to its key; ends with the request.
struct Claim {
    key: Sum,
    under_way: Arc<Mutex<HashSet<Sum>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

/// Whether the answers of `path` are kept: not those that carry secrets.
pub(super) fn is_kept(path: &str) -> bool {
    let carries_secrets = path.starts_with("/api/auth/")
        || ["/api/keys", stream::TICKET].contains(&path)
        || path.ends_with("/credentials");
    !carries_secrets
}

/// The digest of a request of `caller` that carries a key; `None`: it carries none.
///
/// # Errors
/// 400 where the key is none.
pub(super) fn key(request: &Request, caller: &str) -> Result<Option<Sum>, Fault> {
    let path = request.uri().path();
    let is_for = *request.method() == Method::POST && is_kept(path);
    let Some(given) = request.headers().get(HEADER).filter(|_| is_for) else { return Ok(None) };
    let text = given.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_MAX {
        let detail = format!("Idempotency-Key is 1 to {KEY_MAX} printable characters of ASCII");
        return Err(Fault::new(StatusCode::BAD_REQUEST, detail));
    }
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let mut sum = Sha256::new();
    for part in [caller, target, text] {
        sum.update((part.len() as u64).to_le_bytes());
        sum.update(part);
    }
    let mut key: Sum = sum.finalize().into();
    // What one caller has stands together.
    let caller: Sum = Sha256::digest(caller).into();
    key.iter_mut().zip(caller).take(CALLER_BYTES).for_each(|(byte, of_caller)| *byte = of_caller);
    Ok(Some(key))
}

impl Idempotency {
    pub(super) fn new(store: Store, clock: Clock, requests: TaskTracker) -> Self {
        let untrimmed = Arc::new(AtomicUsize::new(TRIM_EVERY));
        Self { store, clock, under_way: Arc::default(), requests, untrimmed }
    }

    /// Answers as before, or by `run`. `is_file`: the body is long, and is not held.
    pub(super) async fn answer<F: Future<Output = Response> + Send + 'static>(
        &self,
        key: Sum,
        request: Request,
        is_file: bool,
        run: impl FnOnce(Request) -> F + Send + 'static,
    ) -> Response {
        let Some(claim) = self.claim(key) else {
            let detail = "a request with this Idempotency-Key is under way";
            return Fault::new(StatusCode::CONFLICT, detail).into_response();
        };
        let own = self.clone();
        let place = request.data::<Running>().cloned();
        let work = async move {
            let response = own.answer_claimed(key, request, is_file, run).await;
            drop((claim, place));
            response
        };
        let answered = self.requests.spawn(work).await;
        answered.unwrap_or_else(|_| Fault::unavailable().into_response())
    }

    async fn answer_claimed<F: Future<Output = Response>>(
        &self,
        key: Sum,
        mut request: Request,
        is_file: bool,
        run: impl FnOnce(Request) -> F,
    ) -> Response {
        match self.store.http_answer(&key, self.since()).await {
            Ok(None) => {}
            Ok(Some(kept)) => return repeated(kept, request.take_body()).await,
            Err(error) => return Fault::from(error).into_response(),
        }
        let sum = Arc::new(Mutex::new(Sha256::new()));
        let body = request.take_body();
        let body = if is_file { summed(body, sum.clone()) } else { whole(body, &sum).await };
        request.set_body(body);
        let response = run(request).await;
        // What was left of a file is not in its sum.
        let is_final = match response.status() {
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::TOO_MANY_REQUESTS => false,
            status if is_file => status.is_success(),
            status => !status.is_server_error(),
        };
        if !is_final || response.data::<OperationId>().is_none() {
            return response;
        }
        let request_sum = sum.lock().clone().finalize().into();
        self.keep(key, request_sum, response).await
    }

    fn claim(&self, key: Sum) -> Option<Claim> {
        let is_first = self.under_way.lock().insert(key);
        is_first.then(|| Claim { key, under_way: self.under_way.clone() })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    fn since(&self) -> Timestamp {
        self.now().plus_micros(-i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX))
    }

    async fn keep(&self, key: Sum, request: Sum, mut response: Response) -> Response {
        let body = match response.take_body().into_bytes().await {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "an answer could not be read");
                return Fault::unavailable().into_response();
            }
        };
        // What was asked for is done: the answer is given, kept or not.
        if body.len() > ANSWER_MAX {
            response.set_body(body);
            return response;
        }
        let answer = HttpAnswer {
            key,
            request,
            status: response.status().as_u16(),
            headers: headers_text(response.headers()),
            body: body.to_vec(),
            created_at: self.now(),
        };
        if let Err(error) = self.put(answer).await {
            tracing::warn!(%error, "an answer could not be kept");
        }
        response.set_body(body);
        response
    }

    async fn put(&self, answer: HttpAnswer) -> Result<(), StoreError> {
        let bytes = answer.body.len() + OVERHEAD;
        self.store.keep_http_answer(answer, self.since()).await?;
        let before = self.untrimmed.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes < TRIM_EVERY {
            return Ok(());
        }
        self.untrimmed.store(0, Ordering::Relaxed);
        self.store.trim_http_answers().await
    }
}

fn headers_text(headers: &HeaderMap) -> String {
    let kept = KEPT_HEADERS.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), Value::from(value)))
    });
    Value::Object(kept.collect()).to_string()
}

/// The answer that was given before, where it was the same request.
async fn repeated(kept: HttpAnswer, body: Body) -> Response {
    let mut sum = Sha256::new();
    let mut chunks = Box::pin(body.into_bytes_stream());
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => sum.update(&chunk),
            Err(_) => {
                let detail = "the body was cut short";
                return Fault::new(StatusCode::BAD_REQUEST, detail).into_response();
            }
        }
    }
    if <Sum>::from(sum.finalize()) != kept.request {
        let detail = "this Idempotency-Key was sent with another body before";
        return Fault::new(StatusCode::UNPROCESSABLE_ENTITY, detail).into_response();
    }
    let mut response = Response::builder()
        .status(StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .body(kept.body);
    let headers: Map<String, Value> = serde_json::from_str(&kept.headers).unwrap_or_default();
    for (name, value) in headers {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// A body that is in memory already, and its sum.
async fn whole(body: Body, sum: &Mutex<Sha256>) -> Body {
    let bytes = body.into_bytes().await.unwrap_or_default();
    sum.lock().update(&bytes);
    Body::from_bytes(bytes)
}

/// The body, and its sum as far as it was read.
fn summed(body: Body, sum: Arc<Mutex<Sha256>>) -> Body {
    Body::from_bytes_stream(body.into_bytes_stream().inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            sum.lock().update(chunk);
        }
    }))
}
