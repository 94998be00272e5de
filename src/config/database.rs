//! Where the data is kept: a SQLite file, or a database on a server.

use std::path::PathBuf;

use url::Url;

use super::settings::{Database, Settings};

/// What `database.url` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabasePlace {
    File(PathBuf),
    /// With the password, where there is one.
    Server(String),
}

/// Schemes of servers.
const SERVERS: [&str; 4] = ["postgres", "postgresql", "mysql", "mariadb"];

impl Settings {
    /// Where the data is kept.
    ///
    /// # Errors
    /// What of `database.url` is not understood.
    pub fn database_place(&self) -> Result<DatabasePlace, String> {
        let url = &self.database.url;
        if url.is_empty() {
            return Ok(DatabasePlace::File(self.data_dir.join("brooklet.db")));
        }
        match url.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(DatabasePlace::File(path.into())),
            Some((scheme, _)) if SERVERS.contains(&scheme) => {
                let parsed = Url::parse(url).map_err(|error| format!("database.url: {error}"))?;
                if parsed.path().trim_matches('/').is_empty() {
                    return Err("database.url names no database, such as \
                                postgres://brooklet@db.example/brooklet"
                        .to_owned());
                }
                Ok(DatabasePlace::Server(url.clone()))
            }
            _ => Err("database.url is sqlite://PATH, such as \
                      sqlite:///var/lib/brooklet/brooklet.db, postgres://… or mysql://…"
                .to_owned()),
        }
    }
}

impl Database {
    /// The address as it may be shown: without a password.
    pub(super) fn shown_url(&self) -> String {
        match Url::parse(&self.url) {
            Ok(mut url) if SERVERS.contains(&url.scheme()) => {
                if url.password().is_some() {
                    let _ = url.set_password(Some(super::settings::MASK));
                }
                let is_open = |(key, _): &(_, _)| *key != "password";
                let pairs: Vec<(String, String)> =
                    url.query_pairs().into_owned().filter(is_open).collect();
                url.set_query(None);
                if !pairs.is_empty() {
                    url.query_pairs_mut().extend_pairs(pairs);
                }
                url.to_string()
            }
            _ => self.url.clone(),
        }
    }
}
