//! Around every request: key, body limit, time limit, errors as problems, log line and metrics.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use metrics::{counter, histogram};
use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{Method, StatusCode, header},
};
use poem_openapi::OperationId;
use tokio::time::timeout;

use super::problem::{Fault, with_hints};
use crate::{
    access::{ApiKeys, Grant},
    clock::Clock,
    metrics::names,
};

pub(super) struct Guard<E> {
    pub(super) inner: E,
    pub(super) keys: ApiKeys,
    pub(super) clock: Clock,
    pub(super) max_body: usize,
    pub(super) request_timeout: Duration,
    pub(super) logs_requests: bool,
}

/// Where a key that is bound to a device may go.
const UPLOADS: [&str; 2] = ["/api/telemetry", "/api/devices/data/upload"];

impl<E: Endpoint> Endpoint for Guard<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let started = self.clock.monotonic();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let peer = request.remote_addr().to_string();
        let peer = peer.strip_prefix("socket://").unwrap_or(&peer);
        let answered = match timeout(self.request_timeout, self.answer(request)).await {
            Ok(response) => response,
            Err(_) => {
                let detail = "the request took too long";
                Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
            }
        };
        let mut response = with_hints(answered);
        let nosniff = header::HeaderValue::from_static("nosniff");
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        let seconds = self.clock.monotonic().saturating_sub(started).as_secs_f64();
        let operation = response.data::<OperationId>().map_or("other", |id| id.0);
        let status = response.status().as_u16();
        counter!(names::HTTP_REQUESTS, "operation" => operation, "status" => status.to_string())
            .increment(1);
        histogram!(names::HTTP_SECONDS, "operation" => operation).record(seconds);
        if self.logs_requests {
            tracing::info!(%method, path, status, seconds, peer, "request");
        }
        Ok(response)
    }
}

impl<E: Endpoint> Guard<E> {
    async fn answer(&self, mut request: Request) -> Response {
        if let Err(fault) = self.authorise(&mut request) {
            return fault.into_response();
        }
        let has_body = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if has_body {
            match request.take_body().into_bytes_limit(self.max_body).await {
                Ok(bytes) => request.set_body(bytes),
                Err(error) => {
                    let status = error.as_response_status();
                    return Fault::new(status, error.to_string()).into_response();
                }
            }
        }
        match AssertUnwindSafe(self.inner.call(request)).catch_unwind().await {
            Ok(Ok(output)) => output.into_response(),
            Ok(Err(error)) => as_problem(error),
            Err(_) => {
                counter!(names::TASK_PANICS).increment(1);
                tracing::error!("a request panicked");
                Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "").into_response()
            }
        }
    }

    fn authorise(&self, request: &mut Request) -> Result<(), Fault> {
        let path = request.uri().path();
        if !path.starts_with("/api/") || path == "/api/health" {
            return Ok(());
        }
        let presented = request
            .headers()
            .get("x-api-key")
            .or_else(|| request.headers().get(header::AUTHORIZATION))
            .and_then(|value| value.to_str().ok())
            .map(|text| text.strip_prefix("Bearer ").unwrap_or(text).trim());
        let Some(caller) = self.keys.caller(presented) else {
            let detail = "send a key as X-API-Key or Authorization: Bearer";
            return Err(Fault::new(StatusCode::UNAUTHORIZED, detail));
        };
        if matches!(caller.grant, Grant::DeviceUploads(_)) && !UPLOADS.contains(&path) {
            let detail = "the key is bound to a device: it may upload readings only";
            return Err(Fault::new(StatusCode::FORBIDDEN, detail));
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }
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
    let status = error.status();
    let detail = if status.is_server_error() {
        tracing::error!(%error, "a request failed");
        String::new()
    } else {
        // poem numbers the parts of a path instead of naming them.
        match error.to_string() {
            text if text.starts_with("failed to parse path") => text
                .split_once("`: ")
                .map_or(text.clone(), |(_, reason)| format!("the path: {reason}")),
            text => text,
        }
    };
    Fault::new(status, detail).into_response()
}
