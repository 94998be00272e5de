//! JSON that another room reads, described in the document by a type of ours.
//!
//! Rules and targets are read by the alarm room, which tells every mistake with its path. The types
//! named here are never made: they say in the OpenAPI document what that room takes and gives.

use std::{borrow::Cow, marker::PhantomData};

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A JSON value whose schema is that of `T`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Typed<T> {
    pub(super) value: Value,
    schema: PhantomData<fn() -> T>,
}

impl<T> Typed<T> {
    pub(super) fn new(value: Value) -> Self {
        Self { value, schema: PhantomData }
    }

    /// What the store has as text; null if it is no JSON.
    pub(super) fn stored(text: &str) -> Self {
        Self::new(serde_json::from_str(text).unwrap_or_default())
    }
}

impl<'de, T> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::new)
    }
}

impl<T: Type> Type for Typed<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl<T: Type> ParseFromJSON for Typed<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self::new(value.unwrap_or_default()))
    }
}

impl<T: Type> ToJSON for Typed<T> {
    fn to_json(&self) -> Option<Value> {
        Some(self.value.clone())
    }
}

/// A JSON value of either type. `Union` calls everything an object, which numbers and lists are not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Either<A, B> {
    value: Value,
    schema: PhantomData<fn() -> (A, B)>,
}

impl<A: Type, B: Type> Type for Either<A, B> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        format!("{}_or_{}", A::name(), B::name()).into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let any_of = vec![A::schema_ref(), B::schema_ref()];
        MetaSchemaRef::Inline(Box::new(MetaSchema { any_of, ..MetaSchema::ANY }))
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
        B::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl<A: Type, B: Type> ParseFromJSON for Either<A, B> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self { value: value.unwrap_or_default(), schema: PhantomData })
    }
}

impl<A: Type, B: Type> ToJSON for Either<A, B> {
    fn to_json(&self) -> Option<Value> {
        Some(self.value.clone())
    }
}
