//! Many rows at a time, of tables whose names are not known before: what moving from one engine to
//! another needs. Names are the program's own, values never stand in a statement unescaped.

use std::fmt::Write;

use futures_util::{TryStreamExt, stream::BoxStream};
use sqlx::{Arguments, AssertSqlSafe, Executor, Row as _, postgres::PgArguments};
use tokio::runtime::Runtime;

use super::{
    Engine, Failure, Kind, Row, ServerConnection, Value, Values,
    connection::{Inner, wait},
};
use crate::{
    store::{StoreError, chunks::Sample},
    telemetry::SensorId,
};

/// Of one statement's text, about.
const TEXT_MAX: usize = 1 << 20;

const INSERT_READINGS: &str = "INSERT INTO reading (sensor_id, event_time, received_at, value, \
    quality) SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::float8[], \
    $5::bigint[])";

/// When a piece of rows is whole: after so many, or so many bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Piece {
    pub(in crate::store) rows: usize,
    pub(in crate::store) bytes: usize,
}

/// A name as an engine quotes it.
pub(in crate::store) fn quoted(engine: Engine, name: &str) -> String {
    match engine {
        Engine::MariaDb => format!("`{name}`"),
        Engine::Sqlite | Engine::Postgres => format!("\"{name}\""),
    }
}

/// A column in a SELECT, so that [`Row::value`] can read it.
pub(in crate::store) fn selected(engine: Engine, name: &str, kind: Kind) -> String {
    let name = quoted(engine, name);
    match (engine, kind) {
        (Engine::Postgres, Kind::Int) => format!("CAST({name} AS BIGINT)"),
        (Engine::MariaDb, Kind::Int | Kind::Bool) => format!("CAST({name} AS SIGNED)"),
        _ => name,
    }
}

impl Row<'_> {
    /// Of a column as [`selected`] writes it.
    pub(in crate::store) fn value(&self, at: usize, kind: Kind) -> Result<Value, StoreError> {
        let value = match self {
            Self::Sqlite(row) => sqlite_value(row, at, kind).map_err(StoreError::from)?,
            Self::Postgres(row) => match kind {
                Kind::Int => row.try_get::<Option<i64>, _>(at).map(|v| v.map(Value::Int)),
                Kind::Real => row.try_get(at).map(|v| Some(Value::real(v))),
                Kind::Bool => row.try_get::<Option<bool>, _>(at).map(|v| v.map(Value::Bool)),
                Kind::Text => row.try_get::<Option<String>, _>(at).map(|v| v.map(Value::Text)),
                Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at).map(|v| v.map(Value::Bytes)),
            }
            .map_err(unreadable)?,
            Self::MariaDb(row) => match kind {
                Kind::Int => row.try_get::<Option<i64>, _>(at).map(|v| v.map(Value::Int)),
                Kind::Real => row.try_get(at).map(|v| Some(Value::real(v))),
                Kind::Bool => {
                    row.try_get::<Option<i64>, _>(at).map(|v| v.map(|v| Value::Bool(v != 0)))
                }
                Kind::Text => row.try_get::<Option<String>, _>(at).map(|v| v.map(Value::Text)),
                Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at).map(|v| v.map(Value::Bytes)),
            }
            .map_err(unreadable)?,
        };
        Ok(value.unwrap_or(Value::Null))
    }
}

fn sqlite_value(row: &rusqlite::Row<'_>, at: usize, kind: Kind) -> rusqlite::Result<Option<Value>> {
    Ok(match kind {
        Kind::Int => row.get::<_, Option<i64>>(at)?.map(Value::Int),
        Kind::Real => Some(Value::real(row.get(at)?)),
        Kind::Bool => row.get::<_, Option<bool>>(at)?.map(Value::Bool),
        Kind::Text => row.get::<_, Option<String>>(at)?.map(Value::Text),
        Kind::Bytes => row.get::<_, Option<Vec<u8>>>(at)?.map(Value::Bytes),
    })
}

fn unreadable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(format!("a row can't be read: {error}"))
}

impl ServerConnection {
    /// Reads a query's rows piece by piece, so that memory has one piece of them. A piece may not take
    /// long: the server waits.
    pub(in crate::store) fn pieces<T, E: From<StoreError>>(
        &mut self,
        sql: &str,
        piece: Piece,
        read: impl Fn(&Row<'_>) -> Result<(T, usize), StoreError>,
        take: impl FnMut(Vec<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (runtime, patience) = (self.runtime.as_ref(), self.patience);
        let text = AssertSqlSafe(sql.to_owned());
        let Some(inner) = &mut self.inner else {
            return Err(StoreError::Unavailable("there is no connection".to_owned()).into());
        };
        match inner {
            Inner::Postgres(connection) => {
                let rows = connection.fetch(sqlx::query(text).persistent(false));
                take_pieces((runtime, patience), rows, piece, |row| read(&Row::Postgres(row)), take)
            }
            Inner::MariaDb(connection) => {
                let rows = connection.fetch(sqlx::query(text).persistent(false));
                take_pieces((runtime, patience), rows, piece, |row| read(&Row::MariaDb(row)), take)
            }
        }
    }

    /// Inserts rows of any length and number.
    pub(in crate::store) fn insert(
        &mut self,
        table: &str,
        columns: &[(&str, Kind)],
        rows: &[Values],
    ) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let engine = self.engine();
        let names: Vec<String> = columns.iter().map(|(name, _)| quoted(engine, name)).collect();
        let into = format!("INSERT INTO {} ({})", quoted(engine, table), names.join(", "));
        match engine {
            Engine::Postgres => self.insert_arrays(&into, columns, rows),
            Engine::MariaDb | Engine::Sqlite => self.insert_text(&into, rows),
        }
    }

    /// PostgreSQL: an array a column.
    fn insert_arrays(
        &mut self,
        into: &str,
        columns: &[(&str, Kind)],
        rows: &[Values],
    ) -> Result<(), Failure> {
        let mut arguments = PgArguments::default();
        let mut arrays = Vec::with_capacity(columns.len());
        for (at, (_, kind)) in columns.iter().enumerate() {
            let values = rows.iter().map(|row| row.get(at).unwrap_or(&Value::Null));
            let (added, name) = match kind {
                Kind::Int => (arguments.add(values.map(int).collect::<Vec<_>>()), "bigint"),
                Kind::Real => (arguments.add(values.map(real).collect::<Vec<_>>()), "float8"),
                Kind::Bool => (arguments.add(values.map(bool).collect::<Vec<_>>()), "boolean"),
                Kind::Text => (arguments.add(values.map(text).collect::<Vec<_>>()), "text"),
                Kind::Bytes => (arguments.add(values.map(bytes).collect::<Vec<_>>()), "bytea"),
            };
            added.map_err(|error| Failure::Refused(error.to_string()))?;
            arrays.push(format!("${}::{name}[]", at + 1));
        }
        let sql = format!("{into} SELECT * FROM UNNEST({})", arrays.join(", "));
        let (runtime, patience) = (self.runtime.as_ref(), self.patience);
        let Some(Inner::Postgres(connection)) = &mut self.inner else {
            return Err(Failure::Lost("there is no connection".to_owned()));
        };
        let inserting = connection.execute(sqlx::query_with(AssertSqlSafe(sql), arguments));
        wait(runtime, patience, inserting).map(drop)
    }

    /// Inserts readings; PostgreSQL.
    pub(in crate::store) fn insert_readings(
        &mut self,
        readings: &[(SensorId, Sample)],
    ) -> Result<(), Failure> {
        let column =
            |of: fn(&Sample) -> i64| readings.iter().map(|(_, s)| of(s)).collect::<Vec<_>>();
        let mut arguments = PgArguments::default();
        let added = arguments
            .add(readings.iter().map(|(sensor, _)| sensor.0).collect::<Vec<_>>())
            .and_then(|()| arguments.add(column(|sample| sample.event_time.as_micros())))
            .and_then(|()| arguments.add(column(|sample| sample.received_at.as_micros())))
            .and_then(|()| arguments.add(readings.iter().map(|(_, s)| s.value).collect::<Vec<_>>()))
            .and_then(|()| arguments.add(column(|sample| sample.quality.code())));
        added.map_err(|error| Failure::Refused(error.to_string()))?;
        let (runtime, patience) = (self.runtime.as_ref(), self.patience);
        let Some(Inner::Postgres(connection)) = &mut self.inner else {
            return Err(Failure::Lost("there is no connection".to_owned()));
        };
        let inserting = connection.execute(sqlx::query_with(INSERT_READINGS, arguments));
        wait(runtime, patience, inserting).map(drop)
    }

    /// MariaDB: everything in the text, numbers as they are and the rest in hexadecimal digits.
    fn insert_text(&mut self, into: &str, rows: &[Values]) -> Result<(), Failure> {
        let mut sql = String::new();
        for row in rows {
            if sql.is_empty() {
                sql.push_str(into);
                sql.push_str(" VALUES ");
            } else {
                sql.push(',');
            }
            put_row(&mut sql, row)?;
            if sql.len() >= TEXT_MAX {
                self.run(&sql)?;
                sql.clear();
            }
        }
        if sql.is_empty() { Ok(()) } else { self.run(&sql).map(drop) }
    }
}

fn take_pieces<R, T, E: From<StoreError>>(
    (runtime, patience): (Option<&Runtime>, std::time::Duration),
    mut rows: BoxStream<'_, Result<R, sqlx::Error>>,
    piece: Piece,
    read: impl Fn(&R) -> Result<(T, usize), StoreError>,
    mut take: impl FnMut(Vec<T>) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let (mut found, mut weight) = (Vec::new(), 0);
        let gathering = async {
            while found.len() < piece.rows && weight < piece.bytes {
                let Some(row) = rows.try_next().await? else { return Ok(true) };
                found.push(read(&row).map(|(row, bytes)| {
                    weight += bytes;
                    row
                }));
            }
            Ok(false)
        };
        let is_over = wait(runtime, patience, gathering).map_err(StoreError::from)?;
        if !found.is_empty() {
            take(found.into_iter().collect::<Result<_, _>>()?)?;
        }
        if is_over {
            return Ok(());
        }
    }
}

fn int(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { Some(*number) } else { None }
}

fn real(value: &Value) -> Option<f64> {
    if let Value::Real(number) = value { Some(*number) } else { None }
}

fn bool(value: &Value) -> Option<bool> {
    if let Value::Bool(is) = value { Some(*is) } else { None }
}

fn text(value: &Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text.clone()) } else { None }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    if let Value::Bytes(bytes) = value { Some(bytes.clone()) } else { None }
}

/// A number as MariaDB reads it to the last bit: with an exponent it is a double, without a decimal.
pub(in crate::store) fn put_real(sql: &mut String, number: f64) -> Result<(), Failure> {
    if !number.is_finite() {
        return Err(Failure::Refused(format!("MariaDB has no number {number}")));
    }
    let _ = write!(sql, "{number:e}");
    Ok(())
}

fn put_row(sql: &mut String, row: &[Value]) -> Result<(), Failure> {
    for (at, value) in row.iter().enumerate() {
        sql.push(if at == 0 { '(' } else { ',' });
        match value {
            Value::Null => sql.push_str("NULL"),
            Value::Int(number) => {
                let _ = write!(sql, "{number}");
            }
            Value::Real(number) => put_real(sql, *number)?,
            Value::Bool(is) => sql.push(if *is { '1' } else { '0' }),
            Value::Text(text) => {
                sql.push_str("_utf8mb4 ");
                put_bytes(sql, text.as_bytes());
            }
            Value::Bytes(bytes) => put_bytes(sql, bytes),
        }
    }
    sql.push(')');
    Ok(())
}

fn put_bytes(sql: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |at: u8| char::from(DIGITS.get(usize::from(at)).copied().unwrap_or(b'0'));
    sql.push_str("X'");
    for byte in bytes {
        sql.push(digit(byte >> 4));
        sql.push(digit(byte & 15));
    }
    sql.push('\'');
}
