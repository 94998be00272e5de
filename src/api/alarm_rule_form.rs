//! What a rule looks like, for the document. [`AlarmRule`](crate::alarm::rule::AlarmRule) reads it.

use std::collections::HashMap;

use poem_openapi::{Enum, Object, Union};
use serde::Deserialize;

use super::typed::Either;

/// How bad it is, in rising order
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[serde(rename_all = "lowercase")]
#[oai(rename_all = "lowercase")]
pub(super) enum Severity {
    Info,
    Warning,
    Minor,
    Major,
    Critical,
}

/// An alarm rule as people write it. Durations are texts such as `10s`, `5m` or `1h30m`.
#[derive(Debug, Clone, Object)]
pub(super) struct AlarmRule {
    /// 1 to 100 characters, one of a kind
    name: String,
    description: Option<String>,
    /// true if left out
    enabled: Option<bool>,
    scope: Option<RuleScope>,
    /// 1 to 5, in rising order of severity, each severity once
    levels: Vec<RuleLevel>,
    /// How long a condition must hold before it raises; `0s` if left out
    on_delay: Option<String>,
    /// How long it must be gone before it clears; `0s` if left out
    off_delay: Option<String>,
    /// The shortest time between two notifications about one originator; `60s` if left out. Its end, and
    /// an escalation to a severity that was not told within that time, do not wait
    cooldown: Option<String>,
    /// Told again so often while active and not acknowledged; 10s or more
    #[oai(nullable)]
    repeat: Option<String>,
    /// Nothing is raised outside these hours; one entry or a list
    schedule: Option<Either<RuleHours, Vec<RuleHours>>>,
    /// Once raised it stays active until somebody resets it
    latching: Option<bool>,
    /// Readings that were filled in later are judged too
    judges_late: Option<bool>,
    /// Names of rules whose active alarm for the same device suppresses this one's
    suppressed_by: Option<Vec<String>>,
    /// With `{device}`, `{device_name}`, `{sensor}`, `{value}`, `{unit}`, `{limit}`, `{severity}`,
    /// `{time}`, `{rule}`
    message: Option<String>,
    /// Names are A-Z a-z 0-9 _ and begin with no digit
    labels: Option<HashMap<String, String>>,
    /// Notification targets by name; none: the targets' own matchers decide
    targets: Option<Vec<String>>,
}

/// What a rule is for: every part that is given must match; none given: everything
#[derive(Debug, Clone, Object)]
struct RuleScope {
    /// One of these ids
    devices: Option<Vec<String>>,
    /// `device` or `gateway`
    kinds: Option<Vec<String>>,
    /// Devices of one of these gateways
    gateways: Option<Vec<String>>,
    /// All of these labels of the device
    labels: Option<HashMap<String, String>>,
    /// With `*` and `?`
    device_glob: Option<String>,
    sensors: Option<Vec<String>>,
    sensor_types: Option<Vec<String>>,
    /// With `*` and `?`
    sensor_glob: Option<String>,
}

/// A severity and what raises it
#[derive(Debug, Clone, Object)]
struct RuleLevel {
    severity: Severity,
    condition: Condition,
    /// In place of the rule's
    on_delay: Option<String>,
    /// In place of the rule's
    off_delay: Option<String>,
}

/// From a time of day to another; past midnight where `to` is before `from`
#[derive(Debug, Clone, Object)]
struct RuleHours {
    /// None given: every day
    weekdays: Option<Vec<Weekday>>,
    /// Such as `08:00`; `00:00` if left out
    from: Option<String>,
    /// `24:00` if left out
    to: Option<String>,
    /// Such as `Europe/Berlin`; `UTC` if left out
    zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What is asked of the readings. Inside `all` and `any` each part names the `sensor` that it is about;
/// such a rule has one state per device, as have `silent`, `offline` and a status text.
#[derive(Debug, Clone, Union)]
#[oai(discriminator_name = "type", one_of)]
enum Condition {
    #[oai(mapping = "above")]
    Above(AboveCondition),
    #[oai(mapping = "below")]
    Below(BelowCondition),
    #[oai(mapping = "outside")]
    Outside(OutsideCondition),
    #[oai(mapping = "inside")]
    Inside(InsideCondition),
    #[oai(mapping = "equals")]
    Equals(EqualsCondition),
    #[oai(mapping = "differs")]
    Differs(DiffersCondition),
    #[oai(mapping = "rate")]
    Rate(RateCondition),
    #[oai(mapping = "stuck")]
    Stuck(StuckCondition),
    #[oai(mapping = "aggregate")]
    Aggregate(AggregateCondition),
    #[oai(mapping = "count_of")]
    CountOf(CountOfCondition),
    #[oai(mapping = "missing")]
    Missing(MissingCondition),
    #[oai(mapping = "silent")]
    Silent(SilentCondition),
    #[oai(mapping = "offline")]
    Offline(OfflineCondition),
    #[oai(mapping = "bad_quality")]
    BadQuality(BadQualityCondition),
    #[oai(mapping = "all")]
    All(AllCondition),
    #[oai(mapping = "any")]
    Any(AnyCondition),
}

/// A condition of its own name in the document, with the sensor that it is about.
macro_rules! conditions {
    ($(#[doc = $doc:literal] $name:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty,)*
    })+) => {
        $(
            #[doc = $doc]
            #[derive(Debug, Clone, Object)]
            struct $name {
                $($(#[$attribute])* $field: $type,)*
                /// The sensor by name, for a rule with one state per device
                sensor: Option<String>,
            }
        )+
    };
}

conditions! {
    /// The value is above a limit
    AboveCondition {
        limit: f64,
        /// Cleared at or below it; give this or `deadband`
        clear_limit: Option<f64>,
        /// Cleared that far below the limit
        deadband: Option<f64>,
    }
    /// The value is below a limit
    BelowCondition {
        limit: f64,
        /// Cleared at or above it; give this or `deadband`
        clear_limit: Option<f64>,
        /// Cleared that far above the limit
        deadband: Option<f64>,
    }
    /// The value is below `low` or above `high`
    OutsideCondition {
        low: f64,
        high: f64,
        deadband: Option<f64>,
    }
    /// The value is from `low` to `high`
    InsideCondition {
        low: f64,
        high: f64,
        deadband: Option<f64>,
    }
    /// The value, or the device's status, is this
    EqualsCondition {
        /// A number for the reading's value, a text for the status that the device reports
        value: NumberOrText,
        from: Option<ConditionSource>,
    }
    /// The value, or the device's status, is another
    DiffersCondition {
        /// A number for the reading's value, a text for the status that the device reports
        value: NumberOrText,
        from: Option<ConditionSource>,
    }
    /// The value changes faster than that: the slope of a straight line through the window
    RateCondition {
        /// This or `below` or both
        above: Option<NumberOrLimit>,
        below: Option<NumberOrLimit>,
        /// The unit of time, such as `1m`
        per: String,
        window: String,
    }
    /// Readings arrive, but their value has been the same for that long
    StuckCondition {
        #[oai(rename = "for")]
        duration: String,
    }
    /// A figure over a sliding window; with one of `above`, `below`, `outside`, `inside`
    AggregateCondition {
        function: AggregateFunction,
        window: String,
        above: Option<NumberOrLimit>,
        below: Option<NumberOrLimit>,
        outside: Option<ConditionBand>,
        inside: Option<ConditionBand>,
    }
    /// At least `n` of the last `m` readings meet a condition
    CountOfCondition {
        n: u32,
        /// At most 64
        m: u32,
        /// above, below, outside, inside, equals or differs; without clear limit or deadband
        condition: Box<Condition>,
    }
    /// No reading of the sensor for that long
    MissingCondition {
        #[oai(rename = "for")]
        duration: String,
    }
    /// The reading has no usable value
    BadQualityCondition {}
}

/// No sign of the device for that long
#[derive(Debug, Clone, Object)]
struct SilentCondition {
    #[oai(rename = "for")]
    duration: String,
}

/// The device is offline
#[derive(Debug, Clone, Object)]
struct OfflineCondition {}

/// All of them hold
#[derive(Debug, Clone, Object)]
struct AllCondition {
    /// At least one
    conditions: Vec<Condition>,
}

/// One of them holds
#[derive(Debug, Clone, Object)]
struct AnyCondition {
    /// At least one
    conditions: Vec<Condition>,
}

type NumberOrText = Either<f64, String>;
type NumberOrLimit = Either<f64, ConditionLimit>;

/// A limit with its hysteresis
#[derive(Debug, Clone, Object)]
struct ConditionLimit {
    limit: f64,
    clear_limit: Option<f64>,
    deadband: Option<f64>,
}

/// Two limits
#[derive(Debug, Clone, Object)]
struct ConditionBand {
    low: f64,
    high: f64,
    deadband: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum ConditionSource {
    Reading,
    Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum AggregateFunction {
    Mean,
    Min,
    Max,
    Count,
    Stddev,
}
