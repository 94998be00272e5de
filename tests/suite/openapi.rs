//! The checked-in OpenAPI document is what the binary prints and serves.
//!
//! `BROOKLET_BLESS=1 cargo test` writes it anew.

use std::{fs, path::Path};

use serde_json::Value;

use crate::harness::{Brooklet, command};

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json")
}

fn printed() -> String {
    let output = command(Path::new(".")).arg("openapi").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_document_is_checked_in() {
    let printed = printed();
    if std::env::var_os("BROOKLET_BLESS").is_some() {
        fs::write(path(), &printed).unwrap();
    }
    assert!(
        fs::read_to_string(path()).unwrap() == printed,
        "run BROOKLET_BLESS=1 cargo test openapi"
    );
}

#[tokio::test]
async fn the_document_is_served() {
    let brooklet = Brooklet::start().await;
    let served = brooklet.request(reqwest::Method::GET, "/openapi.json", None).await;
    assert_eq!(served.text, printed());
}

#[test]
fn every_operation_has_a_summary_a_tag_an_id_and_examples() {
    let document: Value = serde_json::from_str(&printed()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for part in ["summary", "tags", "operationId"] {
                assert!(!operation[part].is_null(), "{method} {path} has no {part}");
            }
            let answers = operation["responses"].as_object().unwrap();
            let (_, success) = answers.iter().find(|(status, _)| status.starts_with('2')).unwrap();
            for body in [success, &operation["requestBody"]] {
                for media in body["content"].as_object().into_iter().flat_map(|c| c.values()) {
                    assert!(!media["example"].is_null(), "{method} {path} has no example");
                }
            }
        }
    }
}
