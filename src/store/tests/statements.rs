//! Every statement that stands in the store as a text is understood by the engine under test: names of tables
//! and columns, types, forms. What is put together at run time is left to the tests that run it.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr};

use super::*;
use crate::store::engine::Dialect;

const BEGINNINGS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];
/// Rooms that speak to SQLite alone, and to servers alone.
const OF_SQLITE: [&str; 7] =
    ["chunks/", "backup/", "verify", "room", "readings/file", "moving/from_file", "moving/to_file"];
const OF_SERVERS: [&str; 3] = ["readings/rollups", "writer/server", "open_server"];
/// Constants for one engine, or for all but one, whose name does not say so.
const ONLY: [(&str, Engine); 3] = [
    ("readings/months PARTITIONS", Engine::Postgres),
    ("engine/bulk INSERT_READINGS", Engine::Postgres),
    ("readings/append NOTE_LATE", Engine::MariaDb),
];
const NOT: (&str, Engine) = ("readings/removal DELETE_CLAIMED", Engine::MariaDb);

struct Found {
    place: String,
    /// Of the constant that it stands in, or the last before.
    name: String,
    sql: String,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if !path.to_str().unwrap().contains("test") {
            found.push(path);
        }
    }
}

fn statements() -> Vec<Found> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    let mut found = Vec::new();
    for path in paths {
        let place = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        // Tests stand last.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let mut name = String::new();
        collect(text.parse().unwrap(), &place, &mut name, &mut found);
    }
    found
}

fn collect(tokens: TokenStream, place: &str, name: &mut String, found: &mut Vec<Found>) {
    let mut is_const = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), place, name, found),
            TokenTree::Ident(word) if is_const => *name = word.to_string(),
            TokenTree::Literal(literal) => {
                let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else {
                    continue;
                };
                let sql = text.value();
                if BEGINNINGS.iter().any(|begin| sql.starts_with(begin)) && !sql.contains('{') {
                    found.push(Found { place: place.to_owned(), name: name.clone(), sql });
                }
                continue;
            }
            TokenTree::Ident(word) => {
                is_const = word == "const";
                continue;
            }
            TokenTree::Punct(_) => {}
        }
        is_const = false;
    }
}

impl Found {
    fn is_for(&self, engine: Engine) -> bool {
        let is_in = |rooms: &[&str]| rooms.iter().any(|room| self.place.starts_with(room));
        let others: &[&str] = match engine {
            Engine::Sqlite => &["POSTGRES", "MARIADB"],
            Engine::Postgres => &["SQLITE", "MARIADB"],
            Engine::MariaDb => &["SQLITE", "POSTGRES"],
        };
        // A piece of one, and those that SQLite alone has.
        let is_piece = self.sql.ends_with("VALUES ") || self.sql.ends_with('(');
        let is_sqlite_only = self.sql.contains("sqlite_master");
        let place = format!("{} {}", self.place.replace(".rs", ""), self.name);
        let is_elsewhere = ONLY.iter().any(|(of, only)| place == *of && engine != *only)
            || (place.as_str(), engine) == NOT;
        !is_piece
            && !is_elsewhere
            && !others.iter().any(|other| self.name.contains(other))
            && match engine {
                Engine::Sqlite => !is_in(&OF_SERVERS),
                _ => !is_in(&OF_SQLITE) && !is_sqlite_only,
            }
    }
}

#[tokio::test]
async fn every_statement_is_understood() {
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 1).await;
    let engine = store.engine;
    let statements: Vec<Found> =
        statements().into_iter().filter(|found| found.is_for(engine)).collect();
    assert!(statements.len() > 60, "{}", statements.len());
    let mut wrong = Vec::new();
    let location = servers::location(&folder).await;
    for Found { place, name, sql } in &statements {
        let text = Dialect::of(engine, sql).text().to_owned();
        let prepared = match &location {
            StoreLocation::File(settings) => {
                let connection = rusqlite::Connection::open(&settings.path).unwrap();
                connection.prepare(&text).map(drop).map_err(|error| error.to_string())
            }
            StoreLocation::Server(settings) => prepare(engine, &settings.url, text).await,
        };
        if let Err(error) = prepared {
            wrong.push(format!("{place} {name}: {error}"));
        }
    }
    drop(writer);
    // Tables of servers, one of which a copy makes for a while; what PostgreSQL is told with the values.
    let is_expected = |told: &str| match engine {
        Engine::Sqlite => ["no such table: reading", "no such table: reading_stale"]
            .iter()
            .any(|expected| told.ends_with(expected)),
        Engine::Postgres => told.contains("could not determine data type of parameter"),
        Engine::MariaDb => false,
    };
    wrong.retain(|told| !is_expected(told));
    assert!(wrong.is_empty(), "of {}:\n{}", statements.len(), wrong.join("\n"));
}

async fn prepare(engine: Engine, url: &str, text: String) -> Result<(), String> {
    let sql = AssertSqlSafe(text).into_sql_str();
    let prepared = match engine {
        Engine::Postgres => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            connection.prepare(sql).await.map(drop)
        }
        _ => {
            let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
            connection.prepare(sql).await.map(drop)
        }
    };
    prepared.map_err(|error| error.to_string())
}
