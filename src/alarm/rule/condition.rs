//! What may be asked of a device's readings. Their JSON form is in `condition_json`.

use serde::{Deserialize, Serialize};

use super::condition_json::RawCondition;
use crate::config::Period;

/// A test, and whose readings it looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawCondition", into = "RawCondition")]
pub struct Condition {
    /// `None`: the sensor that the rule's state is for.
    pub sensor: Option<String>,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Limit(Limit),
    Equals(Operand),
    Differs(Operand),
    Rate(Rate),
    /// Readings arrive, but the value has been the same for that long by event time.
    Stuck(Period),
    Aggregate(Aggregate),
    CountOf(CountOf),
    /// No reading of the sensor for that long.
    Missing(Period),
    /// No sign of the device for that long.
    Silent(Period),
    /// The broker holds the device for offline.
    Offline,
    /// The reading has no usable value.
    BadQuality,
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    Above(Bound),
    Below(Bound),
    Outside(Band),
    Inside(Band),
}

/// One limit. It is passed beyond `limit`, and left at `clear_limit`, or `deadband` back from `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bound {
    pub limit: f64,
    pub clear_limit: Option<f64>,
    pub deadband: Option<f64>,
}

/// Two limits, with a deadband at both.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    pub low: f64,
    pub high: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadband: Option<f64>,
}

/// What `equals` and `differs` compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// The reading's value.
    Number(f64),
    /// The status text that the device last reported.
    Status(String),
}

/// The slope of a straight line through the readings of `window`, per `per`; judged when the readings
/// span at least half of the window, so that the first two of them do not pass for a trend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub above: Option<Bound>,
    pub below: Option<Bound>,
    pub per: Period,
    pub window: Period,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aggregate {
    pub function: Function,
    pub window: Period,
    pub limit: Limit,
}

/// `stddev` is that of a sample (n − 1), and is not judged below two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    Mean,
    Min,
    Max,
    Count,
    Stddev,
}

/// At least `n` of the last `m` readings meet the condition.
#[derive(Debug, Clone, PartialEq)]
pub struct CountOf {
    pub n: u32,
    pub m: u32,
    pub condition: Box<Condition>,
}

impl Limit {
    /// The limits as people read them.
    pub fn text(&self) -> String {
        match self {
            Self::Above(bound) | Self::Below(bound) => bound.limit.to_string(),
            Self::Outside(band) | Self::Inside(band) => format!("{} to {}", band.low, band.high),
        }
    }
}

impl Condition {
    /// Whether it is about the device rather than one sensor.
    pub fn is_of_device(&self) -> bool {
        match &self.test {
            Test::Silent(_) | Test::Offline => true,
            Test::Equals(Operand::Status(_)) | Test::Differs(Operand::Status(_)) => true,
            Test::All(parts) | Test::Any(parts) => parts.iter().any(Self::is_of_device),
            _ => self.sensor.is_some(),
        }
    }

    /// The first limit in it as people read it: a number, a range, a duration or a text.
    pub fn limit_text(&self) -> Option<String> {
        match &self.test {
            Test::Limit(limit) => Some(limit.text()),
            Test::Equals(operand) | Test::Differs(operand) => Some(match operand {
                Operand::Number(number) => number.to_string(),
                Operand::Status(text) => text.clone(),
            }),
            Test::Rate(rate) => {
                let bound = rate.above.or(rate.below)?;
                Some(format!("{} per {}", bound.limit, rate.per))
            }
            Test::Stuck(period) | Test::Missing(period) | Test::Silent(period) => {
                Some(period.to_string())
            }
            Test::Aggregate(aggregate) => Some(aggregate.limit.text()),
            Test::CountOf(count) => count.condition.limit_text(),
            Test::Offline | Test::BadQuality => None,
            Test::All(parts) | Test::Any(parts) => parts.iter().find_map(Self::limit_text),
        }
    }
}
