//! Which methods a path knows: for `Allow`, which 405 and the answer to OPTIONS have.

use poem::http::HeaderValue;
use serde_json::Value;

/// The paths of the OpenAPI document, and what stands beside it.
pub(super) struct Methods(Vec<(Vec<String>, HeaderValue)>);

const METHODS: [(&str, &str); 5] = [
    ("get", "GET, HEAD"),
    ("post", "POST"),
    ("put", "PUT"),
    ("patch", "PATCH"),
    ("delete", "DELETE"),
];
const BESIDE: [&str; 4] = ["/docs", "/docs/oauth-receiver.html", "/openapi.json", "/metrics"];

impl Methods {
    pub(super) fn new(document: &Value) -> Self {
        let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
        let mut known: Vec<_> = paths
            .filter_map(|(path, item)| {
                let words = METHODS.iter().filter(|(method, _)| item.get(method).is_some());
                let words: Vec<_> = words.map(|(_, word)| *word).chain(["OPTIONS"]).collect();
                Some((segments(path), HeaderValue::from_str(&words.join(", ")).ok()?))
            })
            .collect();
        let get = HeaderValue::from_static("GET, HEAD, OPTIONS");
        known.extend(BESIDE.iter().map(|path| (segments(path), get.clone())));
        // Words before parameters, as the router has it.
        known.sort_by_cached_key(|(segments, _)| {
            segments.iter().map(|segment| is_parameter(segment)).collect::<Vec<_>>()
        });
        Self(known)
    }

    /// `None`: there is no such path.
    pub(super) fn of(&self, path: &str) -> Option<&HeaderValue> {
        let asked = segments(path);
        let matches = |known: &[String]| {
            known.len() == asked.len()
                && known.iter().zip(&asked).all(|(known, asked)| {
                    known == asked || (is_parameter(known) && !asked.is_empty())
                })
        };
        self.0.iter().find(|(known, _)| matches(known)).map(|(_, methods)| methods)
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(str::to_owned).collect()
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
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
        for path in ["/api/rules", "/api/rules/", "/api/rules/7/", "//api/rules/7", ""] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
