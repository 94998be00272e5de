//! An alarm and its history as they are shown.

use std::collections::BTreeMap;

use poem_openapi::{Enum, Object, types::ToJSON};

use super::{alarm_rule_form::Severity, wire::Time};
use crate::{
    alarm::rule,
    live::AlarmChange,
    store::{AlarmEventRow, AlarmRow},
};

/// Whether its condition holds, and whether somebody has said that they know
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AlarmState {
    ActiveUnacknowledged,
    ActiveAcknowledged,
    ClearedUnacknowledged,
    ClearedAcknowledged,
}

/// The rule that raised an alarm
#[derive(Debug, Clone, Object)]
pub(super) struct RaisedBy {
    id: i64,
    name: String,
    /// As the rule then was
    version: i64,
}

/// An alarm: of one rule and one sensor or device there is one open at a time
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct AlarmView {
    id: i64,
    rule: RaisedBy,
    device: String,
    /// Of a rule with one state per sensor
    sensor: Option<String>,
    sensor_id: Option<i64>,
    state: AlarmState,
    active: bool,
    acknowledged: bool,
    /// Cleared and acknowledged: it is over, the next raise makes another alarm
    closed: bool,
    /// The condition is gone; the alarm waits for a reset
    latched: bool,
    /// Nothing is told until then
    shelved_until: Option<Time>,
    /// An alarm that suppresses this one is active: nothing is told
    suppressed: bool,
    /// Nothing is told until it is in service again
    out_of_service: bool,
    severity: Severity,
    /// The highest so far
    highest_severity: Severity,
    /// The last time that it was raised
    raised_at: Time,
    cleared_at: Option<Time>,
    changed_at: Time,
    acknowledged_at: Option<Time>,
    acknowledged_by: Option<String>,
    /// What was said at the acknowledgement
    note: Option<String>,
    /// Of the reading that did it
    value: Option<f64>,
    event_time: Option<Time>,
    /// The worst value so far
    peak: Option<f64>,
    /// How often it was raised
    occurrences: i64,
    message: String,
    labels: BTreeMap<String, String>,
    last_notified_at: Option<Time>,
}

/// Something that happened to an alarm
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct AlarmEvent {
    id: i64,
    /// `raised`, `escalated`, `deescalated`, `cleared`, `level_raised`, `level_cleared`, `returned`,
    /// `latched`, `acknowledged`, `unacknowledged`, `forced_clear`, `shelved`, `unshelved`,
    /// `shelve_expired`, `reset`, `out_of_service`, `in_service`, `suppressed`, `unsuppressed`,
    /// `rule_disabled`
    kind: String,
    /// The time that it bears: of the reading, of the deadline, or of the command
    at: Time,
    /// When what caused it arrived
    arrived_at: Time,
    severity: Severity,
    value: Option<f64>,
    event_time: Option<Time>,
    /// The name of the key that it was done with
    actor: Option<String>,
    note: Option<String>,
}

impl AlarmState {
    pub(super) fn of(active: bool, acknowledged: bool) -> Self {
        match (active, acknowledged) {
            (true, false) => Self::ActiveUnacknowledged,
            (true, true) => Self::ActiveAcknowledged,
            (false, false) => Self::ClearedUnacknowledged,
            (false, true) => Self::ClearedAcknowledged,
        }
    }
}

impl Severity {
    /// The number that the store keeps.
    pub(super) fn from_code(code: u8) -> Self {
        rule::Severity::from_code(i64::from(code)).map_or(Self::Info, Self::from)
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Info => 0,
            Self::Warning => 1,
            Self::Minor => 2,
            Self::Major => 3,
            Self::Critical => 4,
        }
    }
}

impl From<rule::Severity> for Severity {
    fn from(severity: rule::Severity) -> Self {
        match severity {
            rule::Severity::Info => Self::Info,
            rule::Severity::Warning => Self::Warning,
            rule::Severity::Minor => Self::Minor,
            rule::Severity::Major => Self::Major,
            rule::Severity::Critical => Self::Critical,
        }
    }
}

impl From<AlarmRow> for AlarmView {
    fn from(row: AlarmRow) -> Self {
        Self {
            id: row.id,
            rule: RaisedBy { id: row.rule_id, name: row.rule_name, version: row.rule_version },
            device: row.device,
            sensor: row.sensor,
            sensor_id: row.sensor_id.map(|id| id.0),
            state: AlarmState::of(row.active, row.acknowledged),
            active: row.active,
            acknowledged: row.acknowledged,
            closed: row.closed,
            latched: row.latched,
            shelved_until: row.shelved_until.map(Time),
            suppressed: row.suppressed,
            out_of_service: row.out_of_service,
            severity: Severity::from_code(row.severity),
            highest_severity: Severity::from_code(row.highest_severity),
            raised_at: Time(row.raised_at),
            cleared_at: row.cleared_at.map(Time),
            changed_at: Time(row.changed_at),
            acknowledged_at: row.acknowledged_at.map(Time),
            acknowledged_by: row.acknowledged_by,
            note: row.note,
            value: row.value,
            event_time: row.event_time.map(Time),
            peak: row.peak,
            occurrences: row.occurrences,
            message: row.message,
            labels: serde_json::from_str(&row.labels).unwrap_or_default(),
            last_notified_at: row.last_notified_at.map(Time),
        }
    }
}

/// As live streams show what has happened to an alarm.
pub fn alarm_change(alarm: &AlarmRow, event: &AlarmEventRow) -> AlarmChange {
    let shown = |value: Option<serde_json::Value>| value.unwrap_or_default();
    AlarmChange {
        event: shown(AlarmEvent::from(event.clone()).to_json()),
        alarm: shown(AlarmView::from(alarm.clone()).to_json()),
    }
}

impl From<AlarmEventRow> for AlarmEvent {
    fn from(row: AlarmEventRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            at: Time(row.at),
            arrived_at: Time(row.arrival),
            severity: Severity::from_code(row.severity),
            value: row.value,
            event_time: row.event_time.map(Time),
            actor: row.actor,
            note: row.note,
        }
    }
}
