//! A value on its way into a statement of the committer's; borrowed, so that SQLite pays nothing.

use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};
use sqlx::{
    Arguments, encode::Encode, error::BoxDynError, mysql::MySqlArguments, postgres::PgArguments,
    types::Type,
};

use crate::telemetry::Timestamp;

/// Typed even where it is nothing: PostgreSQL wants to know of what it is nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Bind<'a> {
    Int(Option<i64>),
    Real(Option<f64>),
    Bool(bool),
    Text(Option<&'a str>),
    Blob(&'a [u8]),
    /// PostgreSQL only: columns of a batch.
    Ints(&'a [i64]),
    Reals(&'a [Option<f64>]),
}

/// `[Bind; N]` of anything that is one.
macro_rules! binds {
    ($($value:expr),* $(,)?) => { [$($crate::store::engine::Bind::from($value)),*] };
}
pub(in crate::store) use binds;

impl ToSql for Bind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Int(Some(number)) => ValueRef::Integer(*number),
            Self::Real(Some(number)) => ValueRef::Real(*number),
            Self::Bool(is) => ValueRef::Integer(i64::from(*is)),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            Self::Int(None) | Self::Real(None) | Self::Text(None) => ValueRef::Null,
            Self::Ints(_) | Self::Reals(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("an array".into()));
            }
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

impl<'a> Bind<'a> {
    pub(super) fn add_to_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Int(number) => arguments.add(number),
            Self::Real(number) => arguments.add(number),
            Self::Bool(is) => arguments.add(is),
            // Its texts can't hold U+0000.
            Self::Text(Some(text)) if text.contains('\0') => {
                arguments.add(text.replace('\0', "\u{fffd}"))
            }
            Self::Text(text) => arguments.add(text.map(str::to_owned)),
            Self::Blob(bytes) => arguments.add(bytes.to_vec()),
            Self::Ints(numbers) => arguments.add(numbers.to_vec()),
            Self::Reals(numbers) => arguments.add(numbers.to_vec()),
        }
    }

    pub(super) fn add_to_mariadb(self, arguments: &mut MySqlArguments) -> Result<(), BoxDynError> {
        fn add<'q, T>(arguments: &mut MySqlArguments, value: T) -> Result<(), BoxDynError>
        where
            T: Encode<'q, sqlx::MySql> + Type<sqlx::MySql>,
        {
            arguments.add(value)
        }
        match self {
            Self::Int(number) => add(arguments, number),
            Self::Real(number) => add(arguments, number),
            Self::Bool(is) => add(arguments, is),
            Self::Text(text) => add(arguments, text.map(str::to_owned)),
            Self::Blob(bytes) => add(arguments, bytes.to_vec()),
            Self::Ints(_) | Self::Reals(_) => Err("an array".into()),
        }
    }
}

macro_rules! integers {
    ($($type:ty),*) => { $(
        impl From<$type> for Bind<'_> {
            fn from(number: $type) -> Self {
                Self::Int(Some(i64::from(number)))
            }
        }
        impl From<Option<$type>> for Bind<'_> {
            fn from(number: Option<$type>) -> Self {
                Self::Int(number.map(i64::from))
            }
        }
    )* };
}
integers!(i64, i32, i16, u32, u16, u8);

impl From<Timestamp> for Bind<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Int(Some(time.as_micros()))
    }
}

impl From<Option<Timestamp>> for Bind<'_> {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Int(time.map(Timestamp::as_micros))
    }
}

impl From<f64> for Bind<'_> {
    fn from(number: f64) -> Self {
        Self::Real(Some(number))
    }
}

impl From<Option<f64>> for Bind<'_> {
    fn from(number: Option<f64>) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Bind<'_> {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

impl<'a> From<&'a str> for Bind<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Bind<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Bind<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Option<String>> for Bind<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::Text(text.as_deref())
    }
}

impl<'a> From<&'a [u8]> for Bind<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Blob(bytes)
    }
}
