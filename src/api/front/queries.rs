//! Which query parameters an operation knows. A misspelt filter would otherwise filter nothing, and give,
//! or delete, everything.
//!
//! Of one that can't be read it is told what was expected, in the document's words.
//!
//! Only those who may use an operation are told what it knows: whether a caller may is asked there, so
//! that a request of somebody who may not goes on to its refusal.

use poem::{
    Request,
    http::{Method, StatusCode},
};
use serde_json::Value;

use super::{
    super::problem::{Fault, FieldError},
    paths::{Paths, segments},
};
use crate::access::{Principal, Scope};

/// What devices, dashboards and probes that are not ours call, with whatever they append (a time against
/// caches, a key's name): there it is read over. None of them filters, and none deletes.
const LENIENT: [&str; 6] = [
    "/api/telemetry",
    "/api/devices/data/upload",
    "/api/device_status",
    "/api/telemetry_recent",
    "/api/database/status",
    "/api/health",
];
/// The WebSockets, which the document can't describe.
const BESIDE: [(&str, &[&str]); 4] = [
    ("/ws", &["devices", "sensors", "events", "last_event_id", "ticket"]),
    ("/ws/sensors/{id}", &["events", "last_event_id", "ticket"]),
    ("/ws/devices/{device}", &["events", "last_event_id", "ticket"]),
    ("/ws/alarms", &["events", "last_event_id", "ticket"]),
];
/// Unknown parameters that one answer tells of.
const TOLD_MAX: usize = 8;
/// Bytes of an unknown parameter's name that are repeated.
const NAME_MAX: usize = 64;

/// Whether parameters that the operations of a path do not know are refused.
pub(in crate::api) fn reads_query(path: &str) -> bool {
    path.starts_with("/api/") && !LENIENT.contains(&path)
}

pub(super) struct Queries(Paths<Vec<Known>>);

/// What one operation knows.
struct Known {
    method: Method,
    /// `None`: whoever is here may.
    scope: Option<Scope>,
    names: Vec<String>,
    /// Those of the path, in their order.
    path: Vec<String>,
    /// What is expected of each parameter, those of the path included.
    expected: Vec<(String, String)>,
}

/// The name of a parameter that an operation could not read: the mark of its answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Unread(pub(in crate::api) &'static str);

impl Queries {
    /// `document`: the OpenAPI document.
    pub(super) fn new(document: &Value) -> Self {
        let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
        let strict = paths.filter(|(path, _)| reads_query(path));
        let known = strict.map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            let known = operations
                .filter_map(|(method, operation)| Known::read(method, operation, document));
            (segments(path), known.collect())
        });
        let beside = BESIDE.iter().map(|(path, names)| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let (path_names, expected) = (Vec::new(), Vec::new());
            let known =
                Known { method: Method::GET, scope: None, names, path: path_names, expected };
            (segments(path), vec![known])
        });
        Self(known.chain(beside).collect())
    }

    /// # Errors
    /// What is told of parameters that the operation does not know.
    pub(super) fn check(
        &self,
        request: &Request,
        principal: Option<&Principal>,
    ) -> Result<(), Fault> {
        if request.uri().query().is_none_or(str::is_empty) {
            return Ok(());
        }
        let Some(known) = self.of(request.method(), request.uri().path()) else { return Ok(()) };
        if known.scope.is_some_and(|scope| !principal.is_some_and(|who| who.may(scope))) {
            return Ok(());
        }
        // What can't be read at all is told by the operation.
        let given: Vec<(String, String)> = request.params().unwrap_or_default();
        known.check(given.into_iter().map(|(name, _)| name))
    }

    /// What is told of a parameter that could not be read.
    pub(super) fn unread(&self, method: &Method, path: &str, Unread(name): &Unread) -> Fault {
        let known = self.of(method, path);
        // poem-openapi numbers the parameters of a path.
        let place = name.strip_prefix("param").and_then(|place| place.parse::<usize>().ok());
        let named = place.and_then(|place| known?.path.get(place)).map_or(*name, String::as_str);
        let mut expected = known.into_iter().flat_map(|known| &known.expected);
        let detail = match expected.find(|(known, _)| known == named) {
            Some((_, expected)) => format!("{named} can't be read: expected {expected}"),
            None => format!("{named} can't be read"),
        };
        let errors = vec![FieldError { pointer: named.to_owned(), detail: detail.clone() }];
        Fault { errors, ..Fault::new(StatusCode::BAD_REQUEST, detail) }
    }

    fn of(&self, method: &Method, path: &str) -> Option<&Known> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.0.of(path)?.iter().find(|known| known.method == *method)
    }
}

impl Known {
    fn read(method: &str, operation: &Value, document: &Value) -> Option<Self> {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
        let word = operation.get("x-scopes").and_then(|scopes| scopes.get(0)?.as_str());
        let scope = word.and_then(|word| Scope::ALL.iter().find(|scope| scope.as_str() == word));
        let parameters = operation.get("parameters").and_then(Value::as_array);
        let (mut names, mut path, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for parameter in parameters.into_iter().flatten() {
            let name = parameter.get("name")?.as_str()?.to_owned();
            if let Some(told) = parameter.get("schema").and_then(|it| in_words(it, document)) {
                expected.push((name.clone(), told));
            }
            match parameter.get("in")?.as_str()? {
                "query" => names.push(name),
                "path" => path.push(name),
                _ => {}
            }
        }
        Some(Self { method, scope: scope.copied(), names, path, expected })
    }

    fn check(&self, given: impl Iterator<Item = String>) -> Result<(), Fault> {
        let mut unknown: Vec<String> = given.filter(|name| !self.names.contains(name)).collect();
        unknown.sort();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        let known = match self.names.as_slice() {
            [] => "this operation has none".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let errors = unknown.iter().take(TOLD_MAX).map(|name| {
            let shown = name.get(..name.floor_char_boundary(NAME_MAX)).unwrap_or_default();
            let hint = nearest(shown, &self.names);
            let hint = hint.map_or(String::new(), |known| format!("; did you mean {known}?"));
            let detail = format!("there is no query parameter {shown:?}{hint} ({known})");
            FieldError { pointer: shown.to_owned(), detail }
        });
        Err(Fault::wrong(errors.collect()))
    }
}

/// What a schema expects, in words; `None` for what any text can be.
fn in_words(schema: &Value, document: &Value) -> Option<String> {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    if let Some(named) = text("$ref").and_then(|named| named.strip_prefix('#')) {
        return in_words(document.pointer(named)?, document);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
        return Some(format!("one of {}", words.join(", ")));
    }
    let words = match (text("type")?, text("format")) {
        ("array", _) => return in_words(schema.get("items")?, document),
        ("boolean", _) => "true or false",
        ("integer", Some(format)) if format.starts_with("uint") => "a whole number, 0 or more",
        ("integer", _) => "a whole number",
        ("number", _) => "a number",
        ("string", Some("date-time")) => "a time such as 2025-12-19T06:30:00Z",
        _ => return None,
    };
    Some(words.to_owned())
}

/// The known name that was probably meant.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let given = plain(name);
    let distance = |known: &str| {
        let known = plain(known);
        // A word left out or added: `device`, `device_id`, `device_ids`.
        let is_part = given.len() > 2
            && (known.starts_with(&given) || (known.len() > 2 && given.starts_with(&known)));
        match strsim::damerau_levenshtein(&given, &known) {
            0 => Some(0),
            _ if is_part => Some(1),
            distance if distance * 3 <= known.len().max(given.len()) => Some(distance + 1),
            _ => None,
        }
    };
    let candidates = known.iter().filter_map(|known| Some((distance(known)?, known)));
    candidates.min_by_key(|(distance, _)| *distance).map(|(_, known)| known.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let known: Vec<String> =
            ["device_id", "sensor_id", "sensor", "from", "to", "limit"].map(str::to_owned).into();
        for (given, meant) in [
            ("device", Some("device_id")),
            ("deviceId", Some("device_id")),
            ("device_ids", Some("device_id")),
            ("sensors", Some("sensor")),
            ("sensorid", Some("sensor_id")),
            ("form", Some("from")),
            ("limt", Some("limit")),
            ("_", None),
            ("", None),
            ("t", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(given, &known), meant, "{given}");
        }
    }

    #[test]
    fn many_unknown_ones_make_a_short_answer() {
        let known = Known::read("get", &Value::Null, &Value::Null).unwrap();
        let fault =
            known.check((0..1_000).map(|at| format!("{at}{}", "é".repeat(500)))).unwrap_err();
        assert_eq!(fault.errors.len(), TOLD_MAX);
        assert!(fault.detail.len() < 4_000, "{}", fault.detail.len());
        assert!(fault.detail.contains("this operation has none"));
        assert!(known.check(std::iter::empty()).is_ok());
    }
}
