//! One statement in the words of each engine.
//!
//! No parser: the few forms that differ are found by their text, and a test prepares every statement
//! of the store on every engine. Literals in statements hold neither `?` nor `"`.

use std::{fmt::Write, sync::Arc};

use super::Engine;

/// A statement as an engine reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Dialect {
    text: Arc<str>,
    /// Which value each placeholder takes, where they have no numbers of their own.
    order: Option<Vec<usize>>,
}

const DO_NOTHING: &str = " DO NOTHING";
const DO_UPDATE: &str = " DO UPDATE SET ";
const CONFLICT: &str = " ON CONFLICT (";

impl Dialect {
    pub(in crate::store) fn of(engine: Engine, sql: &str) -> Self {
        match engine {
            Engine::Sqlite => Self { text: sql.into(), order: None },
            Engine::Postgres => {
                let (text, _) = placed(sql, |text, at| {
                    let _ = write!(text, "${}", at + 1);
                });
                Self { text: text.into(), order: None }
            }
            Engine::MariaDb => {
                let (text, order) = placed(&upsert(sql), |text, _| text.push('?'));
                let text = text
                    .replace('"', "`")
                    .replace(" AS BIGINT)", " AS SIGNED)")
                    .replace(" AS DOUBLE PRECISION)", " AS DOUBLE)");
                Self { text: text.into(), order: Some(order) }
            }
        }
    }

    pub(in crate::store) fn text(&self) -> &str {
        &self.text
    }

    pub(in crate::store) fn shared_text(&self) -> Arc<str> {
        self.text.clone()
    }

    pub(in crate::store) fn order(&self) -> Option<&[usize]> {
        self.order.as_deref()
    }
}

/// `ON CONFLICT` in MariaDB's form. What is not to change is set to what it is, for `INSERT IGNORE`
/// would pass over other mistakes as well.
fn upsert(sql: &str) -> String {
    let Some((insert, rest)) = sql.split_once(CONFLICT) else { return sql.to_owned() };
    let Some((columns, action)) = rest.split_once(')') else { return sql.to_owned() };
    let first = columns.split(',').next().unwrap_or_default().trim();
    if let Some(after) = action.strip_prefix(DO_NOTHING) {
        return format!("{insert} ON DUPLICATE KEY UPDATE {first} = {first}{after}");
    }
    let Some(updates) = action.strip_prefix(DO_UPDATE) else { return sql.to_owned() };
    format!("{insert} ON DUPLICATE KEY UPDATE {}", values_of(updates))
}

/// `excluded.x` as `VALUES(x)`.
fn values_of(updates: &str) -> String {
    let mut text = String::with_capacity(updates.len());
    let mut rest = updates;
    while let Some((before, after)) = rest.split_once("excluded.") {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '"';
        let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        text.push_str(before);
        text.push_str("VALUES(");
        text.push_str(name);
        text.push(')');
        rest = after;
    }
    text.push_str(rest);
    text
}

/// With other placeholders, and which value each takes.
fn placed(sql: &str, place: impl Fn(&mut String, usize)) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(sql.len());
    let mut order = Vec::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('?') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        // One without a number is the next after the last.
        let at = number.parse::<usize>().map_or(order.len(), |number| number.saturating_sub(1));
        order.push(at);
        text.push_str(before);
        place(&mut text, at);
        rest = after;
    }
    text.push_str(rest);
    (text, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maria(sql: &str) -> (String, Vec<usize>) {
        let dialect = Dialect::of(Engine::MariaDb, sql);
        (dialect.text().to_owned(), dialect.order.unwrap())
    }

    #[test]
    fn a_statement_reads_alike_in_every_engine() {
        let sql = "INSERT INTO t (\"key\", a) VALUES (?1, ?2) ON CONFLICT (\"key\") DO UPDATE SET \
                   a = excluded.a, b = ?1";
        let postgres = Dialect::of(Engine::Postgres, sql);
        assert_eq!(postgres.text(), sql.replace("?1", "$1").replace("?2", "$2"));
        let expected = "INSERT INTO t (`key`, a) VALUES (?, ?) ON DUPLICATE KEY UPDATE \
                        a = VALUES(a), b = ?";
        assert_eq!(maria(sql), (expected.to_owned(), vec![0, 1, 0]));
        let unnumbered = Dialect::of(Engine::Postgres, "SELECT a FROM t WHERE b = ? AND c = ?");
        assert_eq!(unnumbered.text(), "SELECT a FROM t WHERE b = $1 AND c = $2");
    }

    #[test]
    fn a_taken_key_leaves_the_row_as_it_is() {
        let (text, _) = maria("INSERT INTO t (a, b) VALUES (?1, ?2) ON CONFLICT (a, b) DO NOTHING");
        assert_eq!(text, "INSERT INTO t (a, b) VALUES (?, ?) ON DUPLICATE KEY UPDATE a = a");
    }

    #[test]
    fn casts_have_their_own_names() {
        let (text, order) =
            maria("SELECT CAST(sum(a) AS BIGINT), CAST(?2 AS DOUBLE PRECISION), ?1");
        assert_eq!(text, "SELECT CAST(sum(a) AS SIGNED), CAST(? AS DOUBLE), ?");
        assert_eq!(order, [1, 0]);
    }
}
