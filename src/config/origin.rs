//! Where settings come from, for people who ask why one is as it is.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// What stands neither in the file nor in the environment is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    File,
    Environment,
}

/// By the path of the setting, such as `http.listen`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Environment => "environment",
        }
    }
}

impl Origins {
    pub fn iter(&self) -> impl Iterator<Item = (&str, Origin)> {
        self.0.iter().map(|(path, origin)| (path.as_str(), *origin))
    }

    /// Notes what a table sets, which is laid over what was noted before.
    pub(super) fn note(&mut self, table: &Table, origin: Origin) {
        self.note_below("", table, origin);
    }

    fn note_below(&mut self, parent: &str, table: &Table, origin: Origin) {
        for (key, value) in table {
            let path = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
            match value {
                Value::Table(inner) => self.note_below(&path, inner, origin),
                _ => {
                    self.0.insert(path, origin);
                }
            }
        }
    }
}
