//! Laying defaults, file and environment over each other, and telling mistakes.

use std::path::{Path, PathBuf};

use toml::{Table, Value, de::DeTable};

use super::{
    origin::{Origin, Origins},
    settings::Settings,
};

/// The shipped file: the defaults.
pub const DEFAULTS: &str = include_str!("../../broker.toml");
const VARIABLE_PREFIX: &str = "BROOKLET__";
/// What the standard library says of a text that is no address.
const NO_ADDRESS: &str = "invalid socket address syntax";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("can't read the configuration {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// `place` is a file and line, or a variable.
    #[error("{place}: {what}")]
    Wrong { place: String, what: String },
}

/// Where a file's text came from.
struct Source<'a> {
    name: String,
    text: &'a str,
}

/// Reads the configuration: the defaults, `file` if one is given, then variables that begin with
/// `BROOKLET__`.
///
/// # Errors
/// The first mistake, with its place and what would be right.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let mut merged = parse(&Source { name: "built-in broker.toml".to_owned(), text: DEFAULTS })?;
    let text = match file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?,
    };
    let name = file.map_or_else(String::new, |path| path.display().to_string());
    let source = Source { name, text: &text };
    let mut origins = Origins::default();
    let of_file = parse(&source)?;
    origins.note(&of_file, Origin::File);
    overlay(&mut merged, of_file);
    read(&merged, |path| source.place(path))?;
    for (name, value) in variables {
        if let Some(path) = name.strip_prefix(VARIABLE_PREFIX) {
            let over = set_variable(&mut merged, &name, path, &value)?;
            origins.note(&over, Origin::Environment);
        }
    }
    let settings = Settings { origins, ..read(&merged, |path| source.place(path))? };
    check(&settings, &source)?;
    Ok(settings)
}

fn parse(source: &Source<'_>) -> Result<Table, ConfigError> {
    source.text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(source.text, span.start));
        let what = error.message().to_owned();
        ConfigError::Wrong { place: format!("{} line {line}", source.name), what }
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Tables are merged, everything else is replaced; a text where a list belongs is a list of one.
fn overlay(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => overlay(base, over),
            (Some(Value::Array(list)), text @ Value::String(_)) => *list = vec![text],
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `HTTP__LISTEN` is `http.listen`; the value is TOML, or else a text.
///
/// Returns what it sets.
fn set_variable(
    merged: &mut Table,
    name: &str,
    path: &str,
    text: &str,
) -> Result<Table, ConfigError> {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let value = parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    let (last, folders) = keys.split_last().map_or(("", &[][..]), |(last, rest)| (last, rest));
    let mut over: Table = [(last.to_owned(), value)].into_iter().collect();
    for key in folders.iter().rev() {
        over = [(key.clone(), Value::Table(over))].into_iter().collect();
    }
    overlay(merged, over.clone());
    read(merged, |_| name.to_owned()).map(|_| over)
}

fn read(merged: &Table, place: impl FnOnce(&str) -> String) -> Result<Settings, ConfigError> {
    serde_path_to_error::deserialize(Value::Table(merged.clone())).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let message = inner.message().trim().to_owned();
        let what = match unknown_key(&message) {
            Some(what) => what,
            None if message == NO_ADDRESS => format!(
                "{path}: expected an address with its port, such as \"127.0.0.1:8080\"; several as \
                 [\"127.0.0.1:8080\", \"[::1]:8080\"]"
            ),
            None => format!("{path}: {message}"),
        };
        ConfigError::Wrong { place: place(&path), what }
    })
}

/// From serde's words on an unknown field: the field, and the known ones that were probably meant: of
/// that name elsewhere, or else with a name like it in the same place.
fn unknown_key(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let key = quoted.next()?;
    let mut meant = Vec::new();
    if let Ok(defaults) = DEFAULTS.parse::<Table>() {
        places_of(key, &defaults, "", &mut meant);
    }
    if meant.is_empty() {
        let nearest = quoted
            .map(|known| (strsim::damerau_levenshtein(key, known), known))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, known)| *distance <= known.len().div_ceil(2));
        meant.extend(nearest.map(|(_, known)| format!("{known:?}")));
    }
    let told = format!("there is no key {key:?}");
    Some(match meant.as_slice() {
        [] => told,
        some => format!("{told}; do you mean {}?", some.join(" or ")),
    })
}

/// Where a key of this name stands, written with its sections.
fn places_of(key: &str, table: &Table, section: &str, found: &mut Vec<String>) {
    for (name, value) in table {
        if name == key {
            found.push(format!("\"{section}{name}\""));
        }
        if let Value::Table(inner) = value {
            places_of(key, inner, &format!("{section}{name}."), found);
        }
    }
}

impl Source<'_> {
    /// The file and line where the value at `path` stands, or the key itself where it does not.
    fn place(&self, path: &str) -> String {
        let Ok(table) = DeTable::parse(self.text) else {
            return path.to_owned();
        };
        let mut table = table.get_ref();
        let mut offset = None;
        'keys: for key in path.split('.') {
            let (name, places) = key.split_once('[').unwrap_or((key, ""));
            let Some((found, value)) = table.iter().find(|(k, _)| k.get_ref().as_ref() == name)
            else {
                break;
            };
            offset = Some(found.span().start);
            let mut value = value;
            for at in places.split_terminator(']') {
                let at = at.trim_start_matches('[').parse().ok();
                let items = value.get_ref().as_array();
                let Some(item) = items.zip(at).and_then(|(items, at): (_, usize)| items.get(at))
                else {
                    break 'keys;
                };
                offset = Some(item.span().start);
                value = item;
            }
            match value.get_ref().as_table() {
                Some(inner) => table = inner,
                None => break,
            }
        }
        match offset {
            Some(offset) => format!("{} line {}", self.name, line_of(self.text, offset)),
            None if self.name.is_empty() => "configuration".to_owned(),
            None => self.name.clone(),
        }
    }

    fn wrong(&self, path: &str, what: impl Into<String>) -> ConfigError {
        ConfigError::Wrong { place: self.place(path), what: what.into() }
    }
}

/// What types alone can't say.
fn check(settings: &Settings, source: &Source<'_>) -> Result<(), ConfigError> {
    let (mqtt, http) = (&settings.mqtt, &settings.http);
    check_mqtt(settings, source)?;
    if let Err(error) = jiff::tz::TimeZone::get(&settings.time.zone) {
        let what = format!("time.zone: {error}; use UTC or a name such as \"Asia/Shanghai\"");
        return Err(source.wrong("time.zone", what));
    }
    for (at, listener) in http.listeners.iter().enumerate() {
        if let Some((key, what)) = listener.mistake() {
            return Err(source.wrong(&format!("http.listeners[{at}].{key}"), what));
        }
    }
    settings.database_place().map_err(|what| source.wrong("database.url", what))?;
    if let Some(key) = http.api_keys.iter().find(|key| key.key.len() < 16) {
        let what = format!("the key {:?} is shorter than 16 characters", key.name);
        return Err(source.wrong("http.api_keys", what));
    }
    let ping = settings.streams.ping.0.as_secs_f64();
    if !(1.0..=30.0).contains(&ping) {
        return Err(source.wrong("streams.ping", "streams.ping is 1s to 30s"));
    }
    let at_least_one = [
        ("mqtt.max_connections", mqtt.max_connections),
        ("mqtt.max_queued_messages", mqtt.max_queued_messages),
        ("mqtt.max_topic_levels", mqtt.max_topic_levels),
        ("http.max_connections", http.max_connections),
        ("streams.max_clients", settings.streams.max_clients),
        ("streams.max_queued_events", settings.streams.max_queued_events),
        ("streams.max_resumed_readings", settings.streams.max_resumed_readings),
        ("http.max_requests", http.max_requests),
        ("ingest.max_queued_messages", settings.ingest.max_queued_messages),
        ("ingest.max_batch_messages", settings.ingest.max_batch_messages),
    ];
    if let Some((path, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
        return Err(source.wrong(path, format!("{path} must be at least 1")));
    }
    if settings.database.readings_in_memory < 1_000 {
        let path = "database.readings_in_memory";
        return Err(source.wrong(path, format!("{path} must be at least 1000")));
    }
    let retention = settings.retention.mistake();
    if let Some((path, what)) = retention.or_else(|| settings.mistake_on_server()) {
        return Err(source.wrong(&path, what));
    }
    Ok(())
}

fn check_mqtt(settings: &Settings, source: &Source<'_>) -> Result<(), ConfigError> {
    let (mqtt, access) = (&settings.mqtt, &settings.access);
    if let Some((key, what)) = access.mistake() {
        return Err(source.wrong(&format!("access.{key}"), what));
    }
    for (at, listener) in mqtt.listeners.iter().enumerate() {
        if let Some((key, what)) = listener.mistake() {
            return Err(source.wrong(&format!("mqtt.listeners[{at}].{key}"), what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        load(None, variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_shipped_file_names_every_key() {
        let settings = loaded(&[]).unwrap();
        let mut printed = Table::try_from(&settings).unwrap();
        let mut shipped: Table = DEFAULTS.parse().unwrap();
        let routes = |table: &mut Table| table["ingest"].as_table_mut().unwrap().remove("routes");
        assert_eq!(routes(&mut printed).unwrap().as_array().unwrap().len(), 8);
        routes(&mut shipped);
        assert_eq!(printed, shipped);
    }

    #[test]
    fn variables_come_last_and_are_checked() {
        let settings = loaded(&[
            ("BROOKLET__MQTT__LISTEN", r#"["127.0.0.1:0"]"#),
            ("BROOKLET__LOG__LEVEL", "debug"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(settings.mqtt.listen[0].port(), 0);
        assert_eq!(settings.log.level, "debug");
        let alone = loaded(&[("BROOKLET__HTTP__LISTEN", "127.0.0.1:8081")]).unwrap();
        assert_eq!(alone.http.listen, ["127.0.0.1:8081".parse().unwrap()]);
        let wrong = loaded(&[("BROOKLET__HTTP__LISTEN", "localhost")]).unwrap_err().to_string();
        assert!(wrong.contains("such as \"127.0.0.1:8080\""), "{wrong}");
        let error = loaded(&[("BROOKLET__MQTT__LISTN", "x")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "BROOKLET__MQTT__LISTN: there is no key \"listn\"; do you mean \"listen\"?"
        );
    }

    #[test]
    fn it_is_known_where_settings_come_from() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("broker.toml");
        std::fs::write(&file, "[http]\nmax_body = \"2MiB\"\nopen_docs = false\n").unwrap();
        let variables = [("BROOKLET__HTTP__OPEN_DOCS", "true"), ("BROOKLET__LOG__LEVEL", "debug")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = load(Some(&file), variables).unwrap();
        let expected = [
            ("http.max_body", Origin::File),
            ("http.open_docs", Origin::Environment),
            ("log.level", Origin::Environment),
        ];
        assert_eq!(settings.origins.iter().collect::<Vec<_>>(), expected);
        assert_eq!(loaded(&[]).unwrap().origins, Origins::default());
    }

    #[test]
    fn each_mistake_is_one_sentence_with_its_place() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let expected = text.lines().next().unwrap().trim_start_matches("# ");
            let error = load(Some(&path), []).unwrap_err().to_string();
            let name = path.file_name().unwrap().to_str().unwrap();
            let told = error.replace(path.to_str().unwrap(), name);
            assert_eq!(told, expected, "{name}");
            seen += 1;
        }
        assert!(seen >= 8);
    }
}
