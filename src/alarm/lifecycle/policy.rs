//! What a rule says about its alarms apart from when they are raised, and who an alarm is about.

use std::collections::BTreeMap;

use super::{AlarmRecord, Extreme, Transition};
use crate::{
    alarm::rule::{AlarmRule, MessageFacts, MessageTemplate, Severity},
    telemetry::{DeviceKey, SensorId, SensorName, Timestamp},
};

/// What of a rule matters to its alarms once a transition is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub rule_id: i64,
    pub rule_version: i64,
    pub rule_name: String,
    pub labels: BTreeMap<String, String>,
    pub(super) cooldown: i64,
    pub(super) repeat: Option<i64>,
    pub(super) latching: bool,
    template: MessageTemplate,
    limits: Vec<(Severity, Option<String>)>,
    pub(super) extreme: Option<Extreme>,
}

/// What is known of the originator when something happens to its alarm.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub device: &'a DeviceKey,
    pub device_name: Option<&'a str>,
    /// Of a rule with one state per sensor.
    pub sensor: Option<(SensorId, &'a SensorName)>,
    /// The sensor whose reading did it, for the message.
    pub cause: Option<&'a str>,
    pub unit: Option<&'a str>,
    /// An alarm that suppresses this one's is active.
    pub suppressed: bool,
}

impl Policy {
    pub fn new(rule_id: i64, rule_version: i64, rule: &AlarmRule) -> Self {
        let limits = rule.levels.iter().map(|level| (level.severity, level.condition.limit_text()));
        Self {
            rule_id,
            rule_version,
            rule_name: rule.name.clone(),
            labels: rule.labels.clone(),
            cooldown: rule.cooldown.as_micros(),
            repeat: rule.repeat.map(|repeat| repeat.as_micros()),
            latching: rule.latching,
            template: MessageTemplate::parse(&rule.message).unwrap_or_default(),
            limits: limits.collect(),
            extreme: Extreme::of_rule(rule).map(|(_, extreme)| extreme),
        }
    }

    /// For an alarm whose rule is gone or disabled: nothing is held back, and nothing is repeated.
    pub fn retired(record: &AlarmRecord) -> Self {
        Self {
            rule_id: record.rule_id,
            rule_version: record.rule_version,
            rule_name: record.rule_name.clone(),
            labels: record.labels.clone(),
            cooldown: 0,
            repeat: None,
            latching: false,
            template: MessageTemplate::default(),
            limits: Vec::new(),
            extreme: None,
        }
    }

    /// Of the repeats from `first` on, the last that is due by `until`.
    pub(super) fn last_repeat(&self, first: Timestamp, until: Timestamp) -> Timestamp {
        let repeat = self.repeat.unwrap_or(i64::MAX).max(1);
        first.plus_micros(until.micros_since(first) / repeat * repeat)
    }

    pub(super) fn message(&self, facts: &Facts<'_>, transition: &Transition) -> String {
        let limits = self.limits.iter().find(|(severity, _)| *severity == transition.severity);
        let sensor = facts.cause.or(facts.sensor.map(|(_, name)| name.as_str()));
        self.template.render(&MessageFacts {
            device: facts.device.as_str(),
            device_name: facts.device_name,
            sensor,
            value: transition.value,
            unit: facts.unit,
            limit: limits.and_then(|(_, limit)| limit.as_deref()),
            severity: transition.severity,
            time: transition.at,
            rule: &self.rule_name,
        })
    }
}
