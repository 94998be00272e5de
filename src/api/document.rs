//! The OpenAPI document, with an example of each operation's request and answer.
//!
//! The examples are from a run (`openapi/examples.json`, by operation id); poem-openapi has no place
//! for them where types are shared by many operations.

use serde_json::Value;

const EXAMPLES: &str = include_str!("../../openapi/examples.json");

/// The document as it is printed; what is no JSON comes back as it was.
pub(super) fn with_examples(spec: &str) -> String {
    let (Ok(mut document), Ok(examples)) =
        (serde_json::from_str::<Value>(spec), serde_json::from_str::<Value>(EXAMPLES))
    else {
        return spec.to_owned();
    };
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operations in paths.into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in operations.as_object_mut().into_iter().flat_map(|o| o.values_mut()) {
            add_examples(operation, &examples);
        }
    }
    let printed = serde_json::to_string_pretty(&document);
    printed.map_or_else(|_| spec.to_owned(), |text| text + "\n")
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

/// Sets the example of every media type that a body or a response has.
fn set(body: Option<&mut Value>, example: Option<&Value>) {
    let content = body.and_then(|body| body.get_mut("content")).and_then(Value::as_object_mut);
    let Some((content, example)) = content.zip(example) else { return };
    for media in content.values_mut().filter_map(Value::as_object_mut) {
        media.insert("example".to_owned(), example.clone());
    }
}
