//! Errors as RFC 9457 problem details: the one place that chooses an HTTP status.
//!
//! What a client did wrong is told with a pointer to it; what went wrong inside is logged, not told.

mod answers;

use poem::{
    IntoResponse, Response,
    http::{StatusCode, header},
};
use poem_openapi::{Object, payload::Json};

pub(super) use self::answers::{
    Answer, Changed, Created, Deleted, Done, One, Ordered, Removed, Retagged, Shown, SignedIn,
};
use crate::{
    access::AccessError,
    ingest::{Rejection, RejectionReason},
    jobs::JobError,
    store::StoreError,
};

/// What went wrong (RFC 9457)
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(super) struct Problem {
    /// `about:blank`: the title says it all
    #[oai(rename = "type")]
    pub(super) kind: String,
    /// The status in words
    pub(super) title: String,
    pub(super) status: u16,
    /// What was wrong with this request
    #[oai(skip_serializing_if_is_none)]
    pub(super) detail: Option<String>,
    /// The parts of the request that were wrong
    #[oai(skip_serializing_if_is_none)]
    pub(super) errors: Option<Vec<FieldError>>,
    /// As in the header `X-Request-Id`, and in the log
    #[oai(skip_serializing_if_is_none)]
    pub(super) request_id: Option<String>,
}

/// One wrong part of a request
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(super) struct FieldError {
    /// Where: a JSON pointer into the body, or the name of a parameter or sensor
    pub(super) pointer: String,
    /// What was wrong, and what would be right
    pub(super) detail: String,
}

/// A failure on its way to becoming a response.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    pub(super) errors: Vec<FieldError>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new() }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    pub(super) fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = FieldError { pointer: pointer.to_owned(), detail: detail.clone() };
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail, errors: vec![error] }
    }

    /// Several wrong parts of a request.
    pub(super) fn wrong(errors: Vec<FieldError>) -> Self {
        let details: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
        let detail = details.join("; ");
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail, errors }
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// A message of which nothing was taken.
    pub(super) fn refused(rejections: &[Rejection]) -> Self {
        let reason = rejections.first().map(|rejection| rejection.reason);
        let status = match reason {
            Some(RejectionReason::NotJson | RejectionReason::NotUtf8 | RejectionReason::Empty) => {
                StatusCode::BAD_REQUEST
            }
            Some(RejectionReason::UnknownDevice | RejectionReason::BlockedDevice) => {
                StatusCode::FORBIDDEN
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let errors = rejections.iter().map(FieldError::from).collect();
        let detail = rejections.first().map(ToString::to_string).unwrap_or_default();
        Self { status, detail, errors }
    }

    pub(super) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again")
    }

    fn damaged() -> Self {
        let detail =
            "what is stored of this is damaged: `brooklet verify` says where, and what helps";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    pub(super) fn problem(self) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: (!self.detail.is_empty()).then_some(self.detail),
            errors: (!self.errors.is_empty()).then_some(self.errors),
            // Set when the answer is on its way (`front`).
            request_id: None,
        }
    }
}

impl From<&Rejection> for FieldError {
    fn from(rejection: &Rejection) -> Self {
        Self {
            pointer: rejection.sensor.clone().unwrap_or_default(),
            detail: rejection.detail.clone(),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::not_found(what),
            StoreError::Exists(what) => {
                Self::new(StatusCode::CONFLICT, format!("there is {what} already"))
            }
            StoreError::Outdated => {
                let detail = "somebody else has changed it in the meantime; read it again";
                Self::new(StatusCode::PRECONDITION_FAILED, detail)
            }
            StoreError::NoRoom { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            inner => {
                metrics::counter!(
                    crate::metrics::names::STORE_ERRORS, "kind" => inner.label()
                )
                .increment(1);
                tracing::error!(error = %inner, "a request failed in the store");
                match inner {
                    StoreError::Damaged(_) => Self::damaged(),
                    _ => Self::unavailable(),
                }
            }
        }
    }
}

impl From<AccessError> for Fault {
    fn from(error: AccessError) -> Self {
        let told = |status| Self::new(status, error.to_string());
        match error {
            AccessError::Wrong | AccessError::Expired | AccessError::Reused(_) => {
                told(StatusCode::UNAUTHORIZED)
            }
            AccessError::Throttled => told(StatusCode::TOO_MANY_REQUESTS),
            AccessError::Busy => told(StatusCode::SERVICE_UNAVAILABLE),
            AccessError::Invalid { field, reason } => Self::invalid(&format!("/{field}"), reason),
            AccessError::Beyond => told(StatusCode::FORBIDDEN),
            AccessError::LastAdmin | AccessError::TooMany(_) | AccessError::Leaving => {
                told(StatusCode::CONFLICT)
            }
            AccessError::NotFound(what) => Self::not_found(what),
            AccessError::Store(error) => error.into(),
            AccessError::NoRandom
            | AccessError::Token
            | AccessError::Unreadable
            | AccessError::File { .. }
            | AccessError::ConfiguredKey { .. } => {
                tracing::error!(%error, "a request failed in the access room");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "")
            }
        }
    }
}

impl From<JobError> for Fault {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Store(error) => error.into(),
            JobError::Leaving | JobError::Ended | JobError::Underway => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            JobError::Full(..) => Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            JobError::Invalid(detail) => Self::invalid("", detail),
            JobError::File(_) | JobError::Backup(_) | JobError::Panicked | JobError::Cancelled => {
                tracing::error!(%error, "a job could not be ordered");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the file can't be kept; try again")
            }
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = self.status;
        let response = Json(self.problem())
            .with_content_type("application/problem+json")
            .with_status(status)
            .into_response();
        with_hints(response)
    }
}

/// What 401, 429 and 503 say in their headers.
pub(super) fn with_hints(mut response: Response) -> Response {
    let headers = match response.status() {
        StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"brooklet\"")),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some((header::RETRY_AFTER, "5"))
        }
        _ => None,
    };
    if let Some((name, value)) = headers
        && !response.headers().contains_key(&name)
    {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}
