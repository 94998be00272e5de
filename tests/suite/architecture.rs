//! The rooms' order (docs/ARCHITECTURE.md): a room uses only rooms on floors below its own, and
//! some words stand in some rooms only. Parses the source, so that inline paths count too.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};

const FLOORS: &[(&str, u8)] = &[
    ("main", 12),
    ("cli", 11),
    ("app", 10),
    ("api", 9),
    ("jobs", 8),
    ("ingest", 7),
    ("alarm", 6),
    ("access", 5),
    ("registry", 4),
    ("store", 3),
    ("live", 3),
    ("chart", 3),
    ("mqtt", 2),
    ("telemetry", 1),
    ("routes", 1),
    ("config", 1),
    ("metrics", 1),
    ("clock", 1),
    ("tls", 0),
    ("origin", 0),
    ("dashboard", 0),
];

/// A word, and where alone it may stand (path prefixes below `src/`).
const WORD_ONLY_IN: &[(&str, &[&str])] = &[
    ("sea_orm", &["store"]),
    ("entity", &["store"]),
    ("migration", &["store"]),
    ("rusqlite", &["store"]),
    ("poem", &["api", "app"]),
    ("poem_openapi", &["api", "app"]),
    ("rumqttd", &["mqtt/codec"]),
    ("tokio_rustls", &["tls", "mqtt/transport", "api/server"]),
    ("tokio_tungstenite", &["mqtt/websocket", "api/stream/socket"]),
    ("x509_cert", &["tls"]),
    ("argon2", &["access", "config/access"]),
    ("plotters", &["chart"]),
    ("plotters_svg", &["chart"]),
    ("rust_embed", &["dashboard"]),
];

/// Files that must stay pure, and the words that would make them otherwise.
const PURE: &[&str] = &[
    "mqtt/session",
    "mqtt/inflight",
    "mqtt/router",
    "mqtt/crowd",
    "mqtt/handover",
    "mqtt/pace",
    "mqtt/plan",
    "mqtt/queue",
    "mqtt/replays",
    "mqtt/sessions",
    "mqtt/subscribing",
    "mqtt/subscriptions",
    "mqtt/shared",
    "mqtt/retained",
    "mqtt/topic",
    "mqtt/will",
    "live",
    "chart",
    "alarm/rule",
    "alarm/lifecycle",
    "ingest/decode",
    "store/chunks/bits",
    "store/chunks/chunk",
    "store/chunks/column",
    "store/chunks/rollup",
    "store/chunks/sketch",
    "store/chunks/tail",
];
const IMPURE_WORDS: &[&str] = &["tokio", "async", "await"];

fn source_files() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn below_src(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(src).unwrap().with_extension("").to_str().unwrap().replace('\\', "/")
}

fn room_of(below_src: &str) -> &str {
    below_src.split('/').next().unwrap()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Every identifier of a file in order, `::` kept as a marker, attributes and macro bodies included,
/// `#[cfg(test)]` modules left out.
fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    file.items.retain(|item| match item {
        syn::Item::Mod(module) => !module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
        }),
        _ => true,
    });
    let mut words = Vec::new();
    for item in file.items {
        collect(quote_tokens(&item), &mut words);
    }
    words
}

fn quote_tokens(item: &syn::Item) -> TokenStream {
    use quote::ToTokens;
    item.to_token_stream()
}

fn collect(tokens: TokenStream, words: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                words.push("(".to_owned());
                collect(group.stream(), words);
                words.push(")".to_owned());
            }
            TokenTree::Ident(word) => words.push(word.to_string()),
            TokenTree::Punct(punct) => words.push(punct.as_char().to_string()),
            TokenTree::Literal(_) => {}
        }
    }
}

/// Rooms that a file names as `crate::room` or in `use crate::{room, …}`.
fn rooms_used(words: &[String]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        let follows_path = words.get(at + 1).is_some_and(|w| w == ":")
            && words.get(at + 2).is_some_and(|w| w == ":");
        if (word != "crate" && word != "brooklet") || !follows_path {
            continue;
        }
        match words.get(at + 3).map(String::as_str) {
            Some("(") => {
                let mut depth = 1;
                let mut starts_path = true;
                for word in &words[at + 4..] {
                    match word.as_str() {
                        "(" => depth += 1,
                        ")" => depth -= 1,
                        "," => starts_path = true,
                        name if depth == 1 && starts_path => {
                            used.insert(name.to_owned());
                            starts_path = false;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            Some(room) => {
                used.insert(room.to_owned());
            }
            None => {}
        }
    }
    used
}

#[test]
fn every_room_has_a_floor() {
    for path in source_files() {
        let below = below_src(&path);
        if below != "lib" {
            assert!(floor(room_of(&below)).is_some(), "src/{below}.rs stands in no room");
        }
    }
}

#[test]
fn arrows_run_down() {
    let mut wrong = Vec::new();
    for path in source_files() {
        let below = below_src(&path);
        let room = room_of(&below);
        let Some(own_floor) = floor(room) else {
            continue;
        };
        for used in rooms_used(&words(&path)) {
            if let Some(used_floor) = floor(&used)
                && used != room
                && used_floor >= own_floor
            {
                wrong.push(format!(
                    "src/{below}.rs uses {used} (floor {used_floor} from {own_floor})"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn words_stand_where_they_belong() {
    let mut wrong = Vec::new();
    for path in source_files() {
        let below = below_src(&path);
        let words = words(&path);
        for (word, homes) in WORD_ONLY_IN {
            let is_home = homes.iter().any(|home| below.starts_with(home));
            let is_path = |at: usize| words.get(at + 1).is_some_and(|next| next == ":");
            let stands = words.iter().enumerate().any(|(at, found)| found == word && is_path(at));
            if !is_home && stands {
                wrong.push(format!("src/{below}.rs mentions {word}"));
            }
        }
        if room_of(&below) == "mqtt" && words.iter().any(|word| word == "telemetry") {
            wrong.push(format!("src/{below}.rs mentions telemetry"));
        }
        if PURE.iter().any(|pure| below.starts_with(pure)) {
            for word in IMPURE_WORDS {
                if words.iter().any(|found| found == word) {
                    wrong.push(format!("src/{below}.rs mentions {word}"));
                }
            }
            let joined = words.join("");
            for call in ["::now(", "std::fs"] {
                if joined.contains(call) {
                    wrong.push(format!("src/{below}.rs mentions {call}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lengths that a reader can hold (longest file and p90, by line).
#[test]
fn files_stay_readable() {
    let mut lengths: Vec<(usize, String)> = source_files()
        .iter()
        .map(|path| (fs::read_to_string(path).unwrap().lines().count(), below_src(path)))
        .collect();
    lengths.sort();
    let too_long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > 500).collect();
    assert!(too_long.is_empty(), "{too_long:?}");
    let p90 = lengths[lengths.len() * 9 / 10].0;
    assert!(p90 <= 400, "the 90th percentile of file lengths is {p90}");
}
