//! What every answer tells browsers, so that nothing here runs, is framed or leaks there.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::api::pages;

const CONSTANT: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// Swagger UI has its script and its style in the page, and sends requests to this server only.
const DOCS: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// The dashboard's pages: what comes from here, no inline script, no inline style.
const PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'",
);

/// `hsts`: what is told where the connection is encrypted; `None`: nothing.
pub(super) fn mark(headers: &mut HeaderMap, path: &str, hsts: Option<HeaderValue>) {
    for (name, value) in CONSTANT {
        headers.insert(name, value);
    }
    let is_docs = path == "/docs" || path.starts_with("/docs/");
    let policy = match (is_docs, pages::is_page(path)) {
        (true, _) => DOCS,
        (_, true) => PAGES,
        _ => NOTHING,
    };
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    if let Some(hsts) = hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
}

/// What `http.hsts` says; `None`: off.
pub(super) fn hsts(age: Duration) -> Option<HeaderValue> {
    let text = format!("max-age={}", age.as_secs());
    (age.as_secs() > 0).then(|| HeaderValue::from_str(&text).ok()).flatten()
}
