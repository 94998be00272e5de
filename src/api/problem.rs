//! Errors as RFC 9457 problem details: the one place that chooses an HTTP status.
//!
//! What a client did wrong is told with a pointer to it; what went wrong inside is logged, not told.

use poem::{
    IntoResponse, Response,
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    payload::Json,
    types::{ToJSON, Type},
};

use super::etag::entity_tag;
use crate::{
    access::AccessError,
    ingest::{Rejection, RejectionReason},
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

    pub(super) fn problem(self) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: (!self.detail.is_empty()).then_some(self.detail),
            errors: (!self.errors.is_empty()).then_some(self.errors),
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
            inner => {
                metrics::counter!(
                    crate::metrics::names::STORE_ERRORS, "kind" => inner.label()
                )
                .increment(1);
                tracing::error!(error = %inner, "a request failed in the store");
                Self::unavailable()
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
            AccessError::LastAdmin | AccessError::TooMany(_) => told(StatusCode::CONFLICT),
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

macro_rules! answers {
    ($(#[$doc:meta])* $name:ident { $ok:ident = $ok_status:tt, $ok_doc:tt, $($failure:ident = $status:tt $failure_doc:tt,)* }) => {
        $(#[$doc])*
        #[derive(ApiResponse)]
        pub(super) enum $name<T: Type + ToJSON> {
            #[doc = $ok_doc]
            #[oai(status = $ok_status)]
            $ok(Json<T>),
            $(
                #[doc = $failure_doc]
                #[oai(status = $status, content_type = "application/problem+json")]
                $failure(Json<Problem>),
            )*
            /// The store does not answer, or the request took too long
            #[oai(status = 503, content_type = "application/problem+json")]
            Unavailable(Json<Problem>),
        }

        impl<T: Type + ToJSON> From<Fault> for $name<T> {
            fn from(fault: Fault) -> Self {
                match fault.status.as_u16() {
                    $($status => Self::$failure(Json(fault.problem())),)*
                    _ => Self::Unavailable(Json(fault.problem())),
                }
            }
        }

        impl<T: Type + ToJSON> From<Result<T, Fault>> for $name<T> {
            fn from(result: Result<T, Fault>) -> Self {
                match result {
                    Ok(value) => Self::$ok(Json(value)),
                    Err(fault) => fault.into(),
                }
            }
        }
    };
}

answers! {
    /// The answer to a query.
    Answer {
        Ok = 200, "What was asked for",
        BadRequest = 400 "A parameter can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Invalid = 422 "A parameter is out of its range",
    }
}

answers! {
    /// The answer to a query without parameters.
    Shown {
        Ok = 200, "As it is",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
    }
}

answers! {
    /// The answer to who signs in.
    SignedIn {
        Ok = 200, "Signed in",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "What was sent is not, or no longer, right",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
        TooMany = 429 "Too many wrong passwords",
    }
}

answers! {
    /// The answer to a change.
    Changed {
        Ok = 200, "As it is after the change",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Conflict = 409 "It can't be changed that way",
        Outdated = 412 "It was changed since it was read",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
    }
}

answers! {
    /// The answer to a creation.
    Created {
        Ok = 201, "As it was made",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "What it is to belong to is not there",
        Conflict = 409 "There is one already",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
    }
}

/// The answer to what leaves nothing to show.
#[derive(ApiResponse)]
pub(super) enum Done {
    /// Done
    #[oai(status = 204)]
    Nothing,
    /// The request can't be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// A key is needed, or the password is wrong
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The key does not allow this
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// There is no such thing
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// It can't be done that way
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// The body is too large
    #[oai(status = 413, content_type = "application/problem+json")]
    TooLarge(Json<Problem>),
    /// The body must be application/json
    #[oai(status = 415, content_type = "application/problem+json")]
    WrongType(Json<Problem>),
    /// A value is not allowed
    #[oai(status = 422, content_type = "application/problem+json")]
    Invalid(Json<Problem>),
    /// Too many wrong passwords
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(Json<Problem>),
    /// The store does not answer, or the request took too long
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl From<Result<(), Fault>> for Done {
    fn from(result: Result<(), Fault>) -> Self {
        let fault = match result {
            Ok(()) => return Self::Nothing,
            Err(fault) => fault,
        };
        match fault.status.as_u16() {
            400 => Self::BadRequest(Json(fault.problem())),
            401 => Self::Unauthorized(Json(fault.problem())),
            403 => Self::Forbidden(Json(fault.problem())),
            404 => Self::NotFound(Json(fault.problem())),
            409 => Self::Conflict(Json(fault.problem())),
            413 => Self::TooLarge(Json(fault.problem())),
            415 => Self::WrongType(Json(fault.problem())),
            422 => Self::Invalid(Json(fault.problem())),
            429 => Self::TooMany(Json(fault.problem())),
            _ => Self::Unavailable(Json(fault.problem())),
        }
    }
}

/// The answer to a deletion.
#[derive(ApiResponse)]
pub(super) enum Deleted {
    /// It is gone
    #[oai(status = 204)]
    Gone,
    /// The request can't be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// A key is needed
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The key does not allow this
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// There is no such thing
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// Somebody is deleting it already
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// The store does not answer, or the request took too long
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl From<Result<(), Fault>> for Deleted {
    fn from(result: Result<(), Fault>) -> Self {
        let fault = match result {
            Ok(()) => return Self::Gone,
            Err(fault) => fault,
        };
        match fault.status.as_u16() {
            400 => Self::BadRequest(Json(fault.problem())),
            401 => Self::Unauthorized(Json(fault.problem())),
            403 => Self::Forbidden(Json(fault.problem())),
            404 => Self::NotFound(Json(fault.problem())),
            409 => Self::Conflict(Json(fault.problem())),
            _ => Self::Unavailable(Json(fault.problem())),
        }
    }
}

/// The answer to a deletion of what has versions.
#[derive(ApiResponse)]
pub(super) enum Removed {
    /// It is gone
    #[oai(status = 204)]
    Gone,
    /// The request can't be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// A key is needed
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The key does not allow this
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// There is no such thing
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// It can't be deleted that way
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// It was changed since it was read
    #[oai(status = 412, content_type = "application/problem+json")]
    Outdated(Json<Problem>),
    /// The store does not answer, or the request took too long
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl From<Result<(), Fault>> for Removed {
    fn from(result: Result<(), Fault>) -> Self {
        let fault = match result {
            Ok(()) => return Self::Gone,
            Err(fault) => fault,
        };
        match fault.status.as_u16() {
            400 => Self::BadRequest(Json(fault.problem())),
            401 => Self::Unauthorized(Json(fault.problem())),
            403 => Self::Forbidden(Json(fault.problem())),
            404 => Self::NotFound(Json(fault.problem())),
            409 => Self::Conflict(Json(fault.problem())),
            412 => Self::Outdated(Json(fault.problem())),
            _ => Self::Unavailable(Json(fault.problem())),
        }
    }
}

/// One thing that has versions.
#[derive(ApiResponse)]
pub(super) enum One<T: Type + ToJSON> {
    /// As it is; its ETag is for If-Match
    #[oai(status = 200)]
    Ok(Json<T>, #[oai(header = "ETag")] String),
    /// A parameter can't be read
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// A key is needed
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The key does not allow this
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// There is no such thing
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// The store does not answer, or the request took too long
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl<T: Type + ToJSON> From<Result<(i64, T), Fault>> for One<T> {
    /// Of a version and what has it.
    fn from(result: Result<(i64, T), Fault>) -> Self {
        let fault = match result {
            Ok((version, it)) => return Self::Ok(Json(it), entity_tag(version)),
            Err(fault) => fault,
        };
        match fault.status.as_u16() {
            400 => Self::BadRequest(Json(fault.problem())),
            401 => Self::Unauthorized(Json(fault.problem())),
            403 => Self::Forbidden(Json(fault.problem())),
            404 => Self::NotFound(Json(fault.problem())),
            _ => Self::Unavailable(Json(fault.problem())),
        }
    }
}
