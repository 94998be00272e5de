//! The JSON form of a condition: one object whose `type` says which of its other fields may stand.
//!
//! All fields are read at once and then told apart, so that a mistake keeps its full path; serde's
//! tagged enums would buffer the object and lose it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::condition::{
    Aggregate, Band, Bound, Condition, CountOf, Function, Limit, Operand, Rate, Test,
};
use crate::config::Period;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Above,
    Below,
    Outside,
    Inside,
    Equals,
    Differs,
    Rate,
    Stuck,
    Aggregate,
    CountOf,
    Missing,
    Silent,
    Offline,
    BadQuality,
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Reading,
    Status,
}

macro_rules! raw_condition {
    ($($(#[$attribute:meta])* $field:ident ($name:literal): $type:ty,)+) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct RawCondition {
            #[serde(rename = "type")]
            kind: Kind,
            $(
                #[serde(rename = $name, default, skip_serializing_if = "Option::is_none")]
                $(#[$attribute])*
                $field: Option<$type>,
            )+
        }

        impl RawCondition {
            fn empty(kind: Kind) -> Self {
                Self { kind, $($field: None),+ }
            }

            /// A field that nobody took.
            fn left_over(&self) -> Option<&'static str> {
                $(if self.$field.is_some() { return Some($name); })+
                None
            }
        }
    };
}

raw_condition! {
    sensor("sensor"): String,
    limit("limit"): f64,
    clear_limit("clear_limit"): f64,
    deadband("deadband"): f64,
    low("low"): f64,
    high("high"): f64,
    value("value"): RawValue,
    from("from"): Source,
    function("function"): Function,
    above("above"): Bound,
    below("below"): Bound,
    outside("outside"): Band,
    inside("inside"): Band,
    per("per"): Period,
    window("window"): Period,
    duration("for"): Period,
    n("n"): u32,
    m("m"): u32,
    condition("condition"): Box<Condition>,
    conditions("conditions"): Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
enum RawValue {
    Number(f64),
    Text(String),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
            Self::Outside => "outside",
            Self::Inside => "inside",
            Self::Equals => "equals",
            Self::Differs => "differs",
            Self::Rate => "rate",
            Self::Stuck => "stuck",
            Self::Aggregate => "aggregate",
            Self::CountOf => "count_of",
            Self::Missing => "missing",
            Self::Silent => "silent",
            Self::Offline => "offline",
            Self::BadQuality => "bad_quality",
            Self::All => "all",
            Self::Any => "any",
        }
    }

    fn takes(self) -> &'static str {
        match self {
            Self::Above | Self::Below => "limit, clear_limit or deadband, sensor",
            Self::Outside | Self::Inside => "low, high, deadband, sensor",
            Self::Equals | Self::Differs => "value, from, sensor",
            Self::Rate => "above, below, per, window, sensor",
            Self::Aggregate => "function, window, one of above, below, outside, inside, and sensor",
            Self::CountOf => "n, m, condition, sensor",
            Self::Stuck | Self::Missing => "for, sensor",
            Self::Silent => "for",
            Self::Offline => "nothing else",
            Self::BadQuality => "sensor",
            Self::All | Self::Any => "conditions",
        }
    }
}

impl TryFrom<RawCondition> for Condition {
    type Error = String;

    fn try_from(mut raw: RawCondition) -> Result<Self, String> {
        let kind = raw.kind;
        let test = raw.test()?;
        let sensor = match test {
            Test::Silent(_) | Test::Offline | Test::All(_) | Test::Any(_) => None,
            Test::Equals(Operand::Status(_)) | Test::Differs(Operand::Status(_)) => None,
            _ => raw.sensor.take(),
        };
        match raw.left_over() {
            Some(field) => Err(format!(
                "`{field}` is no part of this \"{}\", which takes {}",
                kind.name(),
                kind.takes()
            )),
            None => Ok(Self { sensor, test }),
        }
    }
}

impl RawCondition {
    fn need<T>(&self, found: Option<T>, field: &str) -> Result<T, String> {
        let kind = self.kind;
        found.ok_or_else(|| {
            format!("\"{}\" needs `{field}`; it takes {}", kind.name(), kind.takes())
        })
    }

    fn test(&mut self) -> Result<Test, String> {
        Ok(match self.kind {
            Kind::Above => Test::Limit(Limit::Above(self.bound()?)),
            Kind::Below => Test::Limit(Limit::Below(self.bound()?)),
            Kind::Outside => Test::Limit(Limit::Outside(self.band()?)),
            Kind::Inside => Test::Limit(Limit::Inside(self.band()?)),
            Kind::Equals => Test::Equals(self.operand()?),
            Kind::Differs => Test::Differs(self.operand()?),
            Kind::Rate => Test::Rate(self.rate()?),
            Kind::Stuck => Test::Stuck(self.duration()?),
            Kind::Aggregate => Test::Aggregate(self.aggregate()?),
            Kind::CountOf => {
                let (n, m, condition) = (self.n.take(), self.m.take(), self.condition.take());
                let (n, m) = (self.need(n, "n")?, self.need(m, "m")?);
                Test::CountOf(CountOf { n, m, condition: self.need(condition, "condition")? })
            }
            Kind::Missing => Test::Missing(self.duration()?),
            Kind::Silent => Test::Silent(self.duration()?),
            Kind::Offline => Test::Offline,
            Kind::BadQuality => Test::BadQuality,
            Kind::All => Test::All(self.conditions()?),
            Kind::Any => Test::Any(self.conditions()?),
        })
    }

    fn bound(&mut self) -> Result<Bound, String> {
        let limit = self.limit.take();
        Ok(Bound {
            limit: self.need(limit, "limit")?,
            clear_limit: self.clear_limit.take(),
            deadband: self.deadband.take(),
        })
    }

    fn band(&mut self) -> Result<Band, String> {
        let (low, high) = (self.low.take(), self.high.take());
        Ok(Band {
            low: self.need(low, "low")?,
            high: self.need(high, "high")?,
            deadband: self.deadband.take(),
        })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let value = self.value.take();
        match (self.need(value, "value")?, self.from.take()) {
            (RawValue::Number(number), None | Some(Source::Reading)) => Ok(Operand::Number(number)),
            (RawValue::Text(text), None | Some(Source::Status)) => Ok(Operand::Status(text)),
            (RawValue::Number(_), Some(Source::Status)) => {
                Err("a device's status is a text: write `value` as one".to_owned())
            }
            (RawValue::Text(_), Some(Source::Reading)) => {
                Err("a reading is a number: write `value` as one".to_owned())
            }
        }
    }

    fn rate(&mut self) -> Result<Rate, String> {
        let (above, below) = (self.above.take(), self.below.take());
        let (per, window) = (self.per.take(), self.window.take());
        if above.is_none() && below.is_none() {
            return Err("\"rate\" needs `above` or `below`".to_owned());
        }
        Ok(Rate { above, below, per: self.need(per, "per")?, window: self.need(window, "window")? })
    }

    fn aggregate(&mut self) -> Result<Aggregate, String> {
        let (function, window) = (self.function.take(), self.window.take());
        let (function, window) = (self.need(function, "function")?, self.need(window, "window")?);
        let limits: Vec<Limit> = [
            self.above.take().map(Limit::Above),
            self.below.take().map(Limit::Below),
            self.outside.take().map(Limit::Outside),
            self.inside.take().map(Limit::Inside),
        ]
        .into_iter()
        .flatten()
        .collect();
        match limits.as_slice() {
            [limit] => Ok(Aggregate { function, window, limit: *limit }),
            _ => Err("\"aggregate\" needs one of `above`, `below`, `outside`, `inside`".to_owned()),
        }
    }

    fn duration(&mut self) -> Result<Period, String> {
        let duration = self.duration.take();
        self.need(duration, "for")
    }

    fn conditions(&mut self) -> Result<Vec<Condition>, String> {
        let conditions = self.conditions.take();
        self.need(conditions, "conditions")
    }

    fn with_bound(kind: Kind, bound: Bound) -> Self {
        let Bound { limit, clear_limit, deadband } = bound;
        Self { limit: Some(limit), clear_limit, deadband, ..Self::empty(kind) }
    }

    fn with_band(kind: Kind, band: Band) -> Self {
        let Band { low, high, deadband } = band;
        Self { low: Some(low), high: Some(high), deadband, ..Self::empty(kind) }
    }

    fn with_operand(kind: Kind, operand: Operand) -> Self {
        let value = match operand {
            Operand::Number(number) => RawValue::Number(number),
            Operand::Status(text) => RawValue::Text(text),
        };
        Self { value: Some(value), ..Self::empty(kind) }
    }

    fn with_duration(kind: Kind, duration: Period) -> Self {
        Self { duration: Some(duration), ..Self::empty(kind) }
    }
}

impl From<Condition> for RawCondition {
    fn from(condition: Condition) -> Self {
        let raw = match condition.test {
            Test::Limit(Limit::Above(bound)) => Self::with_bound(Kind::Above, bound),
            Test::Limit(Limit::Below(bound)) => Self::with_bound(Kind::Below, bound),
            Test::Limit(Limit::Outside(band)) => Self::with_band(Kind::Outside, band),
            Test::Limit(Limit::Inside(band)) => Self::with_band(Kind::Inside, band),
            Test::Equals(operand) => Self::with_operand(Kind::Equals, operand),
            Test::Differs(operand) => Self::with_operand(Kind::Differs, operand),
            Test::Rate(Rate { above, below, per, window }) => {
                let (per, window) = (Some(per), Some(window));
                Self { above, below, per, window, ..Self::empty(Kind::Rate) }
            }
            Test::Stuck(period) => Self::with_duration(Kind::Stuck, period),
            Test::Aggregate(Aggregate { function, window, limit }) => {
                let (function, window) = (Some(function), Some(window));
                let raw = Self { function, window, ..Self::empty(Kind::Aggregate) };
                match limit {
                    Limit::Above(bound) => Self { above: Some(bound), ..raw },
                    Limit::Below(bound) => Self { below: Some(bound), ..raw },
                    Limit::Outside(band) => Self { outside: Some(band), ..raw },
                    Limit::Inside(band) => Self { inside: Some(band), ..raw },
                }
            }
            Test::CountOf(CountOf { n, m, condition }) => {
                let (n, m, condition) = (Some(n), Some(m), Some(condition));
                Self { n, m, condition, ..Self::empty(Kind::CountOf) }
            }
            Test::Missing(period) => Self::with_duration(Kind::Missing, period),
            Test::Silent(period) => Self::with_duration(Kind::Silent, period),
            Test::Offline => Self::empty(Kind::Offline),
            Test::BadQuality => Self::empty(Kind::BadQuality),
            Test::All(parts) => Self { conditions: Some(parts), ..Self::empty(Kind::All) },
            Test::Any(parts) => Self { conditions: Some(parts), ..Self::empty(Kind::Any) },
        };
        Self { sensor: condition.sensor, ..raw }
    }
}

struct NumberOrText;

impl de::Visitor<'_> for NumberOrText {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text to compare with the device's status")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<RawValue, E> {
        Ok(RawValue::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawValue, E> {
        Ok(RawValue::Number(number as f64))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<RawValue, E> {
        Ok(RawValue::Number(number as f64))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText)
    }
}

impl Serialize for RawValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundObject {
    limit: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clear_limit: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadband: Option<f64>,
}

struct NumberOrBound;

impl<'de> de::Visitor<'de> for NumberOrBound {
    type Value = Bound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or {limit, clear_limit or deadband}")
    }

    fn visit_f64<E: de::Error>(self, limit: f64) -> Result<Bound, E> {
        Ok(Bound { limit, ..Bound::default() })
    }

    fn visit_i64<E: de::Error>(self, limit: i64) -> Result<Bound, E> {
        self.visit_f64(limit as f64)
    }

    fn visit_u64<E: de::Error>(self, limit: u64) -> Result<Bound, E> {
        self.visit_f64(limit as f64)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Bound, A::Error> {
        let object = BoundObject::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let BoundObject { limit, clear_limit, deadband } = object;
        Ok(Bound { limit, clear_limit, deadband })
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrBound)
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { limit, clear_limit, deadband } = *self;
        if clear_limit.is_none() && deadband.is_none() {
            return serializer.serialize_f64(limit);
        }
        BoundObject { limit, clear_limit, deadband }.serialize(serializer)
    }
}
