//! A JSON text as it was written, for reading a message once.
//!
//! Unlike `serde_json::Value` it borrows from the payload, keeps entries in their order, and keeps
//! repeated names, so that a second reading of one sensor can be refused instead of vanishing.
//! Nesting is bounded by `serde_json` (128).

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::ingest::{
    rejection::{Rejection, RejectionReason},
    repair::{NOT_A_NUMBER, TOO_LARGE},
};

/// Most bytes of a wrong value that an explanation quotes.
const EXCERPT_MAX: usize = 60;

#[derive(Debug, Clone, PartialEq)]
pub(in crate::ingest) enum Json<'p> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'p, str>),
    List(Vec<Json<'p>>),
    Object(Object<'p>),
    /// A bare `NaN`, or an infinity: the device's word that it has no value.
    NotANumber,
    /// A number beyond what a 64-bit float can hold.
    TooLarge,
}

/// An object's entries in their order, repeated names included.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::ingest) struct Object<'p>(Vec<(Cow<'p, str>, Json<'p>)>);

#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'p>(#[serde(borrow)] Cow<'p, str>);

impl<'p> Json<'p> {
    pub(super) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::NotANumber => "not a number",
            Self::TooLarge => "too large a number",
        }
    }

    /// Its beginning, for an explanation.
    pub(in crate::ingest) fn excerpt(&self) -> String {
        let mut text = match self {
            Self::NotANumber => "NaN".to_owned(),
            Self::TooLarge => "a number beyond 1.8e308".to_owned(),
            other => other.clone().into_value().to_string(),
        };
        text.truncate(text.floor_char_boundary(EXCERPT_MAX));
        text
    }

    /// As what is kept of a device's report. What JSON has no number for becomes null; of a repeated
    /// name the first counts.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null | Self::NotANumber | Self::TooLarge => Value::Null,
            Self::Bool(on) => Value::Bool(on),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::String(text.into_owned()),
            Self::List(list) => Value::Array(list.into_iter().map(Json::into_value).collect()),
            Self::Object(object) => Value::Object(object.into_map()),
        }
    }

    /// Of mended text: puts what the repair marked in place of the marks, and stops borrowing.
    pub(super) fn read_marks(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Bool(on) => Json::Bool(on),
            Self::Number(number) => Json::Number(number),
            Self::Text(text) if text == NOT_A_NUMBER => Json::NotANumber,
            Self::Text(text) if text == TOO_LARGE => Json::TooLarge,
            Self::Text(text) => Json::Text(text.into_owned().into()),
            Self::List(list) => Json::List(list.into_iter().map(Json::read_marks).collect()),
            Self::Object(object) => Json::Object(
                object
                    .into_iter()
                    .map(|(name, value)| (name.into_owned().into(), value.read_marks()))
                    .collect(),
            ),
            Self::NotANumber => Json::NotANumber,
            Self::TooLarge => Json::TooLarge,
        }
    }
}

impl<'p> Object<'p> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json<'p>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Takes an entry out.
    ///
    /// # Errors
    /// When the name stands there twice: which one is meant can't be known.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<Json<'p>>, Rejection> {
        let Some(at) = self.0.iter().position(|(own, _)| own == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.remove(at);
        if self.contains(name) {
            let detail = format!("{name:?} stands there twice; once is right");
            return Err(Rejection::of_message(RejectionReason::Repeated, detail));
        }
        Ok(Some(value))
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, value) in self.0 {
            map.entry(name).or_insert_with(|| value.into_value());
        }
        map
    }
}

impl<'p> IntoIterator for Object<'p> {
    type Item = (Cow<'p, str>, Json<'p>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'p> FromIterator<(Cow<'p, str>, Json<'p>)> for Object<'p> {
    fn from_iter<I: IntoIterator<Item = (Cow<'p, str>, Json<'p>)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<'de: 'p, 'p> Deserialize<'de> for Json<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(on))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(number).map_or(Json::NotANumber, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((Name(name), value)) = access.next_entry()? {
            entries.push((name, value));
        }
        Ok(Json::Object(Object(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn keeps_order_and_repeated_names_and_borrows() {
        let Json::Object(mut object) = read(r#"{"b": 1, "a": "x", "b": 2}"#) else { panic!() };
        assert!(matches!(object.get("a"), Some(Json::Text(Cow::Borrowed("x")))));
        let names: Vec<_> = object.clone().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!(object.take("missing"), Ok(None));
        assert_eq!(object.take("b").unwrap_err().reason, RejectionReason::Repeated);
        assert_eq!(object.take("a"), Ok(Some(Json::Text("x".into()))));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(serde_json::from_str::<Json<'_>>(&"[".repeat(100_000)).is_err());
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(serde_json::from_str::<Json<'_>>(&deep).is_ok());
    }

    #[test]
    fn an_excerpt_is_short_and_whole_characters() {
        assert_eq!(read("[1, \"x\"]").excerpt(), "[1,\"x\"]");
        assert!(Json::Text("温".repeat(100).into()).excerpt().len() <= EXCERPT_MAX);
    }

    #[test]
    fn becomes_the_same_value() {
        let text = r#"{"a": [1, -2, 2.5, 18446744073709551615, "\u00e9"], "b": {"c": null}}"#;
        assert_eq!(read(text).into_value(), serde_json::from_str::<Value>(text).unwrap());
    }
}
