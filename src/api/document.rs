//! The OpenAPI document, with an example of each operation's request and answer, with what it needs
//! to be used, and with what the guard takes of every POST.
//!
//! The examples are from a run (`openapi/examples.json`, by operation id); poem-openapi has no place
//! for them where types are shared by many operations.

use serde_json::{Value, json};

use super::{caller::SIGNED_IN, front, idempotency};

const EXAMPLES: &str = include_str!("../../openapi/examples.json");

/// The document as it is printed; what is no JSON comes back as it was.
pub(super) fn finished(spec: &str) -> String {
    let (Ok(mut document), Ok(examples)) =
        (serde_json::from_str::<Value>(spec), serde_json::from_str::<Value>(EXAMPLES))
    else {
        return spec.to_owned();
    };
    unite_descriptions(&mut document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, operations) in paths.into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            add_examples(operation, &examples);
            add_security(operation);
            add_refusals(path, method, operation);
            if method == "post" && idempotency::is_kept(path) {
                add_repetition(operation);
            }
        }
    }
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("securitySchemes".to_owned(), security_schemes());
    }
    let printed = serde_json::to_string_pretty(&document);
    printed.map_or_else(|_| spec.to_owned(), |text| text + "\n")
}

/// A reference with a description is written as both, side by side; generators of clients take the
/// description for another type. It goes where the two are.
fn unite_descriptions(value: &mut Value) {
    match value {
        Value::Array(parts) => parts.iter_mut().for_each(unite_descriptions),
        Value::Object(object) => {
            if let Some(parts) = object.get_mut("allOf").and_then(Value::as_array_mut) {
                let says_only = |part: &Value| {
                    part.as_object().is_some_and(|part| part.keys().all(|key| key == "description"))
                };
                let said = parts.extract_if(.., |part| says_only(part)).last();
                if let Some(description) =
                    said.and_then(|mut part| Some(part.get_mut("description")?.take()))
                {
                    object.entry("description").or_insert(description);
                }
            }
            object.values_mut().for_each(unite_descriptions);
        }
        _ => {}
    }
}

/// What sends credentials, and how.
fn security_schemes() -> Value {
    json!({
        "api_key": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "A key, as POST /api/keys or `brooklet api-key add` makes it",
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token of POST /api/auth/login, or a key",
        },
    })
}

/// An operation names its scope where OpenAPI 3.0 names a scheme (`caller`): either scheme will do,
/// and the scope has its own place.
fn add_security(operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let named = operation.get("security").and_then(|named| named.get(0)).and_then(Value::as_object);
    let Some(word) = named.and_then(|named| named.keys().next().cloned()) else { return };
    operation.insert("security".to_owned(), json!([{"api_key": []}, {"bearer": []}]));
    let scopes = if word == SIGNED_IN { json!([]) } else { json!([word]) };
    operation.insert("x-scopes".to_owned(), scopes);
}

/// What is answered around every operation, where it does not say so itself: by the guard, by the limits
/// of the server, and by what reads its parameters.
fn add_refusals(path: &str, method: &str, operation: &mut Value) {
    if !path.starts_with("/api/") || path == "/api/health" {
        return;
    }
    let names_query = operation.get("parameters").and_then(Value::as_array).is_some_and(|all| {
        all.iter().any(|one| one.get("in").and_then(Value::as_str) == Some("query"))
    });
    let has_body = method != "get";
    let is_repeatable = method == "post" && idempotency::is_kept(path);
    let is_closed = operation.get("security").is_some();
    let refusals = [
        (names_query || has_body, "400", "The request can't be read"),
        (is_closed, "401", "A key or an access token is needed"),
        (is_closed, "403", "The key or the role does not allow this"),
        (is_repeatable, "409", "The same Idempotency-Key is under way"),
        (has_body, "413", "The body is too large"),
        (
            front::reads_query(path) || is_repeatable,
            "422",
            "A parameter is unknown or out of its range",
        ),
        (true, "429", "Too many requests in a second; wait as Retry-After says"),
        (true, "503", "Too many requests at a time, or the store does not answer"),
    ];
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    for (_, status, description) in refusals.iter().filter(|(is_true, ..)| *is_true) {
        responses.entry(*status).or_insert_with(|| problem(description));
    }
    responses.sort_keys();
}

fn problem(description: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": schema}},
    })
}

fn add_examples(operation: &mut Value, examples: &Value) {
    let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    let Some(example) = examples.get(id).cloned() else { return };
    let request = operation.get_mut("requestBody");
    set(request, example.get("request"));
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let success = responses
        .and_then(|responses| responses.iter_mut().find(|(status, _)| status.starts_with('2')));
    set(success.map(|(_, response)| response), example.get("response"));
}

/// The header that almost every POST may carry; the guard reads it before the operation does.
fn add_repetition(operation: &mut Value) {
    let header = json!({
        "name": "Idempotency-Key",
        "schema": {"type": "string", "maxLength": 255},
        "in": "header",
        "description": "1 to 255 characters of your choice. The request sent again with the same key \
            within a day gets its first answer; with another body 422, while it is under way 409.",
        "required": false,
        "deprecated": false,
    });
    let Some(operation) = operation.as_object_mut() else { return };
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(header);
    }
}

/// Sets the example of every media type that a body or a response has.
fn set(body: Option<&mut Value>, example: Option<&Value>) {
    let content = body.and_then(|body| body.get_mut("content")).and_then(Value::as_object_mut);
    let Some((content, example)) = content.zip(example) else { return };
    for media in content.values_mut().filter_map(Value::as_object_mut) {
        media.insert("example".to_owned(), example.clone());
    }
}
