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

/// What `database.min_free_space` is where nothing is said.
const DEFAULT_FREE: u64 = 100 << 20;

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

impl Settings {
    /// What is asked for that only a SQLite file has, with a database on a server: the key, and why not.
    pub(super) fn mistake_on_server(&self) -> Option<(String, String)> {
        if !matches!(self.database_place(), Ok(DatabasePlace::Server(_))) {
            return None;
        }
        let wrong = |key: String, what: &str| {
            let what = format!("{key}: {what}");
            Some((key, what))
        };
        let rules = self.retention.rules.iter();
        let of_rule = rules.clone().position(|rule| rule.minutes == Some(true));
        let by_minute = "statistics by minute are kept in a SQLite file only";
        match (self.retention.minutes, of_rule) {
            (true, _) => return wrong("retention.minutes".to_owned(), by_minute),
            (false, Some(at)) => {
                return wrong(format!("retention.rules[{at}].minutes"), by_minute);
            }
            (false, None) => {}
        }
        let Database { max_size, min_free_space, .. } = &self.database;
        if max_size.0 != 0 {
            let what = "only a SQLite file has a size that is looked at; on a server use retention";
            return wrong("database.max_size".to_owned(), what);
        }
        // The default stands in every copy of the shipped file.
        if ![0, DEFAULT_FREE].contains(&min_free_space.0) {
            let what = "only the disk of a SQLite file is looked at, not a server's";
            return wrong("database.min_free_space".to_owned(), what);
        }
        None
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

#[cfg(test)]
mod tests {
    use crate::config::load;

    fn loaded(variables: &[(&str, &str)]) -> Result<(), String> {
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("BROOKLET__{name}"), (*value).to_owned()));
        load(None, variables).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn what_only_a_file_has_is_refused_with_a_server() {
        let server = ("DATABASE__URL", "postgres://db.example/brooklet");
        assert_eq!(loaded(&[server, ("RETENTION__RAW", "30d")]), Ok(()));
        let rules = r#"[{ sensors = ["v*"], minutes = true }]"#;
        for (name, value, key) in [
            ("RETENTION__MINUTES", "true", "retention.minutes"),
            ("RETENTION__RULES", rules, "retention.rules[0].minutes"),
            ("DATABASE__MAX_SIZE", "1GiB", "database.max_size"),
            ("DATABASE__MIN_FREE_SPACE", "1GiB", "database.min_free_space"),
        ] {
            assert_eq!(loaded(&[(name, value)]), Ok(()));
            let told = loaded(&[server, (name, value)]).unwrap_err();
            assert!(told.contains(&format!("{key}: ")), "{told}");
        }
        assert_eq!(loaded(&[server, ("DATABASE__MIN_FREE_SPACE", "0B")]), Ok(()));
    }
}
