//! What is told of an alarm: a snapshot, written with the transition that caused it.
//!
//! It holds all that a message needs, so that what is delivered hours later says what was so then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{alarm::rule::Severity, telemetry::Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    Raised,
    Escalated,
    Cleared,
    /// Still active and not acknowledged.
    Repeated,
    /// Sent by hand, to see whether it arrives.
    Test,
}

impl NoticeKind {
    pub fn label(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Cleared => "cleared",
            Self::Repeated => "repeated",
            Self::Test => "test",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRef {
    pub name: String,
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRef {
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorRef {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    pub name: String,
}

/// A row of the table of last values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastValue {
    #[serde(with = "rfc3339")]
    pub event_time: Timestamp,
    pub sensor: String,
    pub value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
}

/// The body of a row of the outbox; as JSON also what subscribers of `alarms/…` get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub kind: NoticeKind,
    pub alarm_id: i64,
    pub rule: RuleRef,
    pub severity: Severity,
    /// The highest so far; where it is not given, `severity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_severity: Option<Severity>,
    /// The rule's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub device: DeviceRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorRef>,
    /// Of the reading that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What the condition is, in words or as a number: `> 40`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    #[serde(with = "rfc3339")]
    pub event_time: Timestamp,
    #[serde(with = "rfc3339")]
    pub raised_at: Timestamp,
    #[serde(default, with = "rfc3339_or_none", skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<Timestamp>,
    pub message: String,
    /// Newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_values: Vec<LastValue>,
}

impl Notice {
    /// What the test button sends.
    pub fn test(target: &str, now: Timestamp) -> Self {
        Self {
            kind: NoticeKind::Test,
            alarm_id: 0,
            rule: RuleRef { name: "Test".to_owned(), version: 1 },
            severity: Severity::Info,
            highest_severity: None,
            labels: BTreeMap::new(),
            device: DeviceRef {
                key: "test".to_owned(),
                name: Some("No device".to_owned()),
                labels: BTreeMap::new(),
            },
            sensor: None,
            value: None,
            unit: None,
            limit: None,
            event_time: now,
            raised_at: now,
            cleared_at: None,
            message: format!("This is a test of the notification target \"{target}\"."),
            last_values: Vec::new(),
        }
    }

    /// A label by which notices are matched and grouped. The names `alertname`, `device`, `sensor`
    /// and `severity` are taken; of the others the rule's win over the device's.
    pub fn label(&self, name: &str) -> Option<&str> {
        match name {
            "alertname" => Some(&self.rule.name),
            "device" => Some(&self.device.key),
            "sensor" => self.sensor.as_ref().map(|sensor| sensor.name.as_str()),
            "severity" => Some(self.severity.as_str()),
            _ => {
                let own = self.labels.get(name).or_else(|| self.device.labels.get(name));
                own.map(String::as_str)
            }
        }
    }

    /// All labels, by name.
    pub fn all_labels(&self) -> BTreeMap<&str, &str> {
        let taken = ["alertname", "device", "sensor", "severity"];
        let names = self.labels.keys().chain(self.device.labels.keys()).map(String::as_str);
        names.chain(taken).filter_map(|name| Some((name, self.label(name)?))).collect()
    }

    /// Whether the alarm is over with this.
    pub fn is_clear(&self) -> bool {
        self.kind == NoticeKind::Cleared
    }
}

pub(super) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::telemetry::Timestamp;

    pub(in crate::alarm::notify) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(in crate::alarm::notify) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

mod rfc3339_or_none {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::telemetry::Timestamp;

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
pub(super) mod examples {
    use super::*;

    pub(in crate::alarm::notify) const RAISED_AT: i64 = 1_766_125_800_000_000;

    pub(in crate::alarm::notify) fn raised(alarm_id: i64) -> Notice {
        let at = Timestamp::from_micros(RAISED_AT);
        let labels =
            |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let value = |minutes: i64, value: f64| LastValue {
            event_time: at.plus_micros(-60_000_000 * minutes),
            sensor: "temperature".to_owned(),
            value: Some(value),
            unit: Some("°C".to_owned()),
            quality: Some("good".to_owned()),
        };
        Notice {
            kind: NoticeKind::Raised,
            alarm_id,
            rule: RuleRef { name: "Boiler too hot".to_owned(), version: 3 },
            severity: Severity::Critical,
            highest_severity: None,
            labels: labels("team", "heating"),
            device: DeviceRef {
                key: "boiler-1".to_owned(),
                name: Some("Boiler".to_owned()),
                labels: labels("room", "cellar"),
            },
            sensor: Some(SensorRef { id: Some(7), name: "temperature".to_owned() }),
            value: Some(41.2),
            unit: Some("°C".to_owned()),
            limit: Some("> 40".to_owned()),
            event_time: at,
            raised_at: at,
            cleared_at: None,
            message: "boiler-1 temperature: 41.2 °C, limit 40 (critical)".to_owned(),
            last_values: vec![value(0, 41.2), value(1, 39.5)],
        }
    }

    pub(in crate::alarm::notify) fn cleared(alarm_id: i64) -> Notice {
        let cleared_at = Timestamp::from_micros(RAISED_AT + 90_000_000);
        Notice {
            kind: NoticeKind::Cleared,
            value: Some(37.5),
            event_time: cleared_at,
            cleared_at: Some(cleared_at),
            ..raised(alarm_id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{examples::*, *};

    #[test]
    fn a_notice_reads_back_what_it_wrote() {
        for notice in [raised(4), cleared(4), Notice::test("ops", Timestamp::UNIX_EPOCH)] {
            let json = serde_json::to_string(&notice).unwrap();
            assert_eq!(serde_json::from_str::<Notice>(&json).unwrap(), notice, "{json}");
        }
    }

    #[test]
    fn the_rules_labels_win_and_four_names_are_taken() {
        let mut notice = raised(1);
        notice.device.labels.insert("team".to_owned(), "other".to_owned());
        notice.labels.insert("device".to_owned(), "other".to_owned());
        let labels: Vec<_> = notice.all_labels().into_iter().collect();
        let expected = [
            ("alertname", "Boiler too hot"),
            ("device", "boiler-1"),
            ("room", "cellar"),
            ("sensor", "temperature"),
            ("severity", "critical"),
            ("team", "heating"),
        ];
        assert_eq!(labels, expected);
    }
}
