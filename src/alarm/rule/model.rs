use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    InvalidRule, MessageTemplate, Severity, condition::Condition, schedule::Schedule, scope::Scope,
};
use crate::config::Period;

/// An alarm rule as people write it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmRule {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default = "enabled")]
    pub enabled: bool,
    #[serde(default)]
    pub scope: Scope,
    /// In rising order of severity, 1 to 5.
    pub levels: Vec<Level>,
    #[serde(default = "none")]
    pub on_delay: Period,
    #[serde(default = "none")]
    pub off_delay: Period,
    /// The shortest time between two notifications about one originator. An end, and an escalation to
    /// what was not told within it, do not wait.
    #[serde(default = "minute")]
    pub cooldown: Period,
    /// Told again so often while active and not acknowledged.
    #[serde(default)]
    pub repeat: Option<Period>,
    /// Nothing is raised outside it.
    #[serde(default)]
    pub schedule: Schedule,
    /// Once raised it stays active until somebody resets it.
    #[serde(default)]
    pub latching: bool,
    /// Readings that were filled in later are judged too.
    #[serde(default)]
    pub judges_late: bool,
    /// Rules whose active alarm for the same device suppresses this one's.
    #[serde(default)]
    pub suppressed_by: Vec<String>,
    #[serde(default = "MessageTemplate::default_text")]
    pub message: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Notification targets by name; none: the targets' own matchers decide.
    #[serde(default)]
    pub targets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    pub severity: Severity,
    pub condition: Condition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delay: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_delay: Option<Period>,
}

fn enabled() -> bool {
    true
}

fn none() -> Period {
    Period::ZERO
}

fn minute() -> Period {
    Period(std::time::Duration::from_secs(60))
}

impl AlarmRule {
    /// Reads and checks a rule.
    ///
    /// # Errors
    /// Every mistake with its path; only the first when the text does not fit the form at all.
    pub fn from_json(json: &str) -> Result<Self, InvalidRule> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let rule: Self = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            InvalidRule::at(&path, error.into_inner().to_string())
        })?;
        deserializer.end().map_err(|error| InvalidRule::at("", error.to_string()))?;
        rule.validate()?;
        Ok(rule)
    }

    /// Reads and checks a rule that has been read as JSON already.
    ///
    /// # Errors
    /// As [`AlarmRule::from_json`].
    pub fn from_value(value: serde_json::Value) -> Result<Self, InvalidRule> {
        let rule: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            InvalidRule::at(&path, error.into_inner().to_string())
        })?;
        rule.validate()?;
        Ok(rule)
    }

    /// The rule's JSON, every default written out.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether it has one state for a device; else one for each sensor in its scope.
    pub fn is_per_device(&self) -> bool {
        self.levels.iter().any(|level| level.condition.is_of_device())
    }

    /// The limit that stands for a severity, as people read it.
    pub fn limit_text(&self, severity: Severity) -> Option<String> {
        let level = self.levels.iter().find(|level| level.severity == severity)?;
        level.condition.limit_text()
    }
}
