//! How long readings are kept, and what is left of them: by default, and for some sensors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::quantity::Period;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub raw: Period,
    pub hourly: Period,
    pub daily: Period,
    pub minutes: bool,
    pub interval: Period,
    pub rules: Vec<RetentionRule>,
}

/// Every part that is given must match. What is not said of a period is as it is for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Patterns; here and in `devices`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensor_types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<bool>,
}

/// How long what is kept of a sensor; zero: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub raw: Period,
    pub hourly: Period,
    pub daily: Period,
    /// Statistics by minute stay where raw readings go.
    pub minutes: bool,
}

impl Retention {
    /// Of whom no rule is for.
    pub fn terms(&self) -> Terms {
        Terms { raw: self.raw, hourly: self.hourly, daily: self.daily, minutes: self.minutes }
    }

    pub fn terms_of(&self, rule: &RetentionRule) -> Terms {
        Terms {
            raw: rule.raw.unwrap_or(self.raw),
            hourly: rule.hourly.unwrap_or(self.hourly),
            daily: rule.daily.unwrap_or(self.daily),
            minutes: rule.minutes.unwrap_or(self.minutes),
        }
    }

    /// Something goes, some day.
    pub fn drops(&self) -> bool {
        let of_rules = self.rules.iter().map(|rule| self.terms_of(rule));
        of_rules.chain([self.terms()]).any(|terms| terms.raw != Period::ZERO)
    }

    /// The key that is wrong, and what would be right.
    pub(super) fn mistake(&self) -> Option<(String, String)> {
        if self.interval.0.as_secs() == 0 {
            let key = "retention.interval";
            return Some((key.to_owned(), format!("{key} must be at least 1s")));
        }
        if let Some((key, what)) = self.terms().mistake() {
            return Some((format!("retention.{key}"), format!("retention.{key}: {what}")));
        }
        self.rules.iter().enumerate().find_map(|(at, rule)| {
            let place = format!("retention.rules[{at}]");
            if rule.is_for_all() {
                let what = "say whose readings: sensors, sensor_types, devices or labels";
                return Some((place.clone(), format!("{place}: {what}")));
            }
            let (key, what) = self.terms_of(rule).mistake()?;
            Some((format!("{place}.{key}"), format!("{place}.{key}: {what}")))
        })
    }
}

impl RetentionRule {
    fn is_for_all(&self) -> bool {
        self.sensors.is_empty()
            && self.sensor_types.is_empty()
            && self.devices.is_empty()
            && self.labels.is_empty()
    }
}

impl Terms {
    fn mistake(&self) -> Option<(&'static str, &'static str)> {
        let seconds = |period: Period| period.0.as_secs();
        let is_set = |period: Period| period != Period::ZERO;
        if is_set(self.raw) && seconds(self.raw) < HOUR {
            return Some(("raw", "raw readings are kept for at least 1h, or \"0s\": for ever"));
        }
        if is_set(self.hourly) && (!is_set(self.raw) || self.hourly.0 < self.raw.0) {
            let what =
                "statistics by hour are kept as long as raw readings at least, or \"0s\": for ever";
            return Some(("hourly", what));
        }
        if is_set(self.hourly) && seconds(self.hourly) < DAY {
            return Some(("hourly", "statistics by hour are kept for at least 1d"));
        }
        if is_set(self.daily) && (!is_set(self.hourly) || self.daily.0 < self.hourly.0) {
            let what =
                "statistics by day are kept as long as those by hour at least, or \"0s\": for ever";
            return Some(("daily", what));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn days(days: u64) -> Period {
        Period(Duration::from_secs(days * DAY))
    }

    fn terms(raw: u64, hourly: u64, daily: u64) -> Terms {
        Terms { raw: days(raw), hourly: days(hourly), daily: days(daily), minutes: false }
    }

    #[test]
    fn what_is_coarser_is_kept_longer() {
        for (given, expected) in [
            (terms(0, 0, 0), None),
            (terms(30, 0, 0), None),
            (terms(30, 30, 0), None),
            (terms(30, 730, 0), None),
            (terms(30, 730, 3_650), None),
            (terms(30, 29, 0), Some("hourly")),
            (terms(0, 29, 0), Some("hourly")),
            (terms(30, 0, 100), Some("daily")),
            (terms(30, 100, 99), Some("daily")),
        ] {
            assert_eq!(given.mistake().map(|(key, _)| key), expected, "{given:?}");
        }
        let short = |seconds| Period(Duration::from_secs(seconds));
        let given = Terms { raw: short(60), ..terms(0, 0, 0) };
        assert_eq!(given.mistake().map(|(key, _)| key), Some("raw"));
        let given = Terms { raw: short(HOUR), hourly: short(2 * HOUR), ..terms(0, 0, 0) };
        assert_eq!(given.mistake().map(|(key, _)| key), Some("hourly"));
    }

    #[test]
    fn a_rule_says_what_is_otherwise() {
        let text = "raw = \"30d\"\nhourly = \"0s\"\ndaily = \"0s\"\nminutes = true\n\
            interval = \"1h\"\nrules = [{ sensors = [\"vib*\"], raw = \"7d\" }]";
        let retention: Retention = toml::from_str(text).unwrap();
        let of_rule = retention.terms_of(&retention.rules[0]);
        assert_eq!(of_rule, Terms { minutes: true, ..terms(7, 0, 0) });
        assert_eq!(retention.terms(), Terms { minutes: true, ..terms(30, 0, 0) });
        assert!(retention.drops() && retention.mistake().is_none());
        let mut all = retention.clone();
        all.rules[0].sensors.clear();
        assert_eq!(all.mistake().unwrap().0, "retention.rules[0]");
    }
}
