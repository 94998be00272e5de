//! A value of a row that is moved from one engine to another.

/// What a column holds, whatever an engine calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Int,
    Real,
    Bool,
    Text,
    Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
}

pub(in crate::store) type Values = Vec<Value>;

impl Value {
    /// No table keeps a number that is none, nor (on SQLite) the sign of a zero.
    pub(in crate::store) fn real(number: Option<f64>) -> Self {
        let number = number.filter(|number| !number.is_nan());
        number.map_or(Self::Null, |number| Self::Real(if number == 0.0 { 0.0 } else { number }))
    }

    /// About how much it takes in memory.
    pub(in crate::store) fn weight(&self) -> usize {
        let more = match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        more + size_of::<Self>()
    }
}
