//! Conformance to MQTT 3.1.1 and 5.0, statement by statement, through raw sockets.
//!
//! One module for each part of the specifications; what shows which statement stands in
//! docs/mqtt-conformance.md, which is held here to be complete and true. A case that both versions
//! have is run in both.

mod alias;
mod auth;
mod connack;
mod connect;
mod delivery;
mod flow;
mod malformed;
mod packets;
mod ping_disconnect;
mod properties;
mod property;
mod publish;
mod retain;
mod sessions;
mod shared;
mod subscribe;
mod topics;
mod unsubscribe;
mod wills;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Sections of each standard and the number of the last statement in each.
const STATEMENTS_3_1_1: &str = "\
    1.5.3:3 2.2.2:2 2.3.1:7 3.1.0:2 3.1.2:24 3.1.3:11 3.1.4:5 3.2.0:1 3.2.2:6 3.3.1:12 3.3.2:3 \
    3.3.4:1 3.3.5:2 3.6.1:1 3.8.1:1 3.8.3:4 3.8.4:6 3.9.3:2 3.10.1:1 3.10.3:2 3.10.4:6 \
    3.12.4:1 3.14.1:1 3.14.4:3 4.1.0:2 4.3.1:1 4.3.2:2 4.3.3:2 4.4.0:1 4.5.0:2 4.6.0:6 4.7.1:3 \
    4.7.2:1 4.7.3:4 4.8.0:2 6.0.0:4 7.0.0:2 7.1.1:1 7.1.2:1";
const STATEMENTS_5_0: &str = "\
    1.5.4:3 1.5.5:1 1.5.7:1 2.1.3:1 2.2.1:6 2.2.2:1 3.1.0:2 3.1.2:30 3.1.3:12 3.1.4:6 3.2.0:2 \
    3.2.2:22 3.3.1:13 3.3.2:20 3.3.4:10 3.4.2:3 3.5.2:3 3.6.1:1 3.6.2:3 3.7.2:3 3.8.1:1 \
    3.8.3:5 3.8.4:8 3.9.2:2 3.9.3:2 3.10.1:1 3.10.3:2 3.10.4:6 3.11.2:2 3.11.3:2 3.12.4:1 \
    3.14.0:1 3.14.1:1 3.14.2:4 3.14.4:3 3.15.1:1 3.15.2:3 4.1.0:2 4.2.0:1 4.3.1:1 4.3.2:5 \
    4.3.3:13 4.4.0:2 4.5.0:2 4.6.0:6 4.7.0:1 4.7.1:2 4.7.2:1 4.7.3:4 4.8.2:6 4.9.0:3 4.12.0:7 \
    4.12.1:2 4.13.1:1 4.13.2:1 6.0.0:4";

struct Row {
    id: String,
    binds: String,
    shown_by: String,
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mqtt-conformance.md"))
        .unwrap()
}

/// The text below a heading, up to the next.
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    rest.split("\n## ").next().unwrap()
}

fn rows(page: &str, heading: &str) -> Vec<Row> {
    let lines = below(page, heading).lines().filter(|line| line.starts_with("| MQTT-"));
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [id, _, binds, shown_by] = cells[..] else { panic!("four cells: {line}") };
            let owned = str::to_owned;
            Row { id: owned(id), binds: owned(binds), shown_by: owned(shown_by) }
        })
        .collect()
}

/// `module::test` paths in a text.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|code| code.contains("::"))
}

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite")
}

fn is_a_test(path: &str) -> bool {
    let (module, name) = path.rsplit_once("::").unwrap();
    let source = suite().join(module.replace("::", "/")).with_extension("rs");
    let Ok(source) = fs::read_to_string(source) else { return false };
    let Some((before, _)) = source.split_once(&format!("fn {name}()")) else { return false };
    before.rsplit("\n\n").next().unwrap().contains("test]")
}

#[test]
fn the_table_has_every_statement_of_both_standards() {
    let page = page();
    for (heading, statements, count) in
        [("MQTT 3.1.1", STATEMENTS_3_1_1, 141), ("MQTT 5.0", STATEMENTS_5_0, 251)]
    {
        let expected: Vec<_> = statements
            .split_whitespace()
            .flat_map(|section| {
                let (section, last) = section.split_once(':').unwrap();
                (1..=last.parse().unwrap()).map(move |n: u32| format!("MQTT-{section}-{n}"))
            })
            // The number that MQTT 5.0 leaves out.
            .filter(|id| id != "MQTT-2.2.1-1")
            .collect();
        let found: Vec<_> = rows(&page, heading).into_iter().map(|row| row.id).collect();
        assert_eq!(found, expected, "{heading}");
        assert_eq!(found.len(), count, "{heading}");
    }
}

#[test]
fn every_row_names_tests_that_exist_or_says_why_not() {
    let page = page();
    for row in rows(&page, "MQTT 3.1.1").into_iter().chain(rows(&page, "MQTT 5.0")) {
        let Row { id, binds, shown_by } = row;
        for test in tests_in(&shown_by) {
            assert!(is_a_test(test), "{id}: {test}");
        }
        let is_excused = shown_by.starts_with("optional, not done: ");
        let is_shown = tests_in(&shown_by).next().is_some();
        match binds.as_str() {
            "client" => assert!(shown_by.starts_with("client's duty"), "{id}"),
            "server" | "both" => assert!(is_shown != is_excused, "{id}: {shown_by}"),
            other => panic!("{id} binds {other}"),
        }
    }
}

#[test]
fn nothing_is_ignored() {
    for entry in fs::read_dir(suite().join("conformance")).unwrap() {
        let path = entry.unwrap().path();
        let source = fs::read_to_string(&path).unwrap();
        assert!(!source.contains(concat!("\n#[", "ignore")), "{path:?}");
    }
}
