//! Which methods a path knows: for `Allow`, which 405 and the answer to OPTIONS have.

use poem::http::HeaderValue;
use serde_json::Value;

use super::paths::{Paths, segments};
use crate::api::pages;

/// The paths of the OpenAPI document, and what stands beside it.
pub(super) struct Methods(Paths<HeaderValue>);

const METHODS: [(&str, &str); 5] = [
    ("get", "GET, HEAD"),
    ("post", "POST"),
    ("put", "PUT"),
    ("patch", "PATCH"),
    ("delete", "DELETE"),
];
const BESIDE: [&str; 5] = ["/", "/docs", "/docs/oauth-receiver.html", "/openapi.json", "/metrics"];

impl Methods {
    pub(super) fn new(document: &Value) -> Self {
        let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
        let known = paths.filter_map(|(path, item)| {
            let words = METHODS.iter().filter(|(method, _)| item.get(method).is_some());
            let words: Vec<_> = words.map(|(_, word)| *word).chain(["OPTIONS"]).collect();
            Some((segments(path), HeaderValue::from_str(&words.join(", ")).ok()?))
        });
        let get = HeaderValue::from_static("GET, HEAD, OPTIONS");
        let beside = BESIDE.iter().map(|path| (segments(path), get.clone()));
        Self(known.chain(beside).collect())
    }

    /// `None`: there is no such path.
    pub(super) fn of(&self, path: &str) -> Option<&HeaderValue> {
        // What the dashboard's files are called is not known here.
        self.0.of(if pages::is_page(path) { pages::PAGE } else { path })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_come_before_parameters() {
        let methods = Methods::new(&json!({"paths": {
            "/api/rules/{id}": {"get": {}, "put": {}, "delete": {}},
            "/api/rules/check": {"post": {}},
        }}));
        let of = |path| methods.of(path).map(|value| value.to_str().unwrap());
        assert_eq!(of("/api/rules/7"), Some("GET, HEAD, PUT, DELETE, OPTIONS"));
        assert_eq!(of("/api/rules/check"), Some("POST, OPTIONS"));
        assert_eq!(of("/metrics"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(of("/assets/any/file.js"), Some("GET, HEAD, OPTIONS"));
        for path in ["/api/rules", "/api/rules/", "/api/rules/7/", "//api/rules/7", ""] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
