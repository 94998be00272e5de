//! Whose web pages may use the API from a browser (CORS): those of an allow-list, without cookies.

use poem::{
    Request, Response,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
};

use crate::config::Origin;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "X-API-Key, Authorization, Content-Type, Content-Encoding, If-Match, If-None-Match, \
     Idempotency-Key, Last-Event-ID, X-Request-Id",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Location, Retry-After, X-Request-Id, Link, Allow, Content-Disposition",
);
/// How long a browser may keep the answer to its question.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    pub(super) fn new(origins: &[Origin]) -> Self {
        Self { origins: origins.iter().map(|origin| origin.0.to_ascii_lowercase()).collect() }
    }

    /// What is told to the page that asks: its origin, or that all are welcome.
    pub(super) fn admitted(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.is_open() {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.contains(&text).then(|| origin.clone())
    }

    fn is_open(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    /// The answer to a browser that asks before it sends.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let is_question = *request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_question {
            return None;
        }
        self.admitted(request.headers())?;
        let mut response = StatusCode::NO_CONTENT.into();
        let headers = Response::headers_mut(&mut response);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(response)
    }

    /// Marks an answer for the page that `admitted` was asked for.
    pub(super) fn mark(&self, admitted: Option<HeaderValue>, headers: &mut HeaderMap) {
        if !self.origins.is_empty() && !self.is_open() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = admitted {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
