//! What is kept of an alarm, and the events that make up its history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LevelPhase, Resume};
use crate::{
    alarm::rule::Severity,
    telemetry::{DeviceKey, SensorId, SensorName, Timestamp},
};

/// One alarm of one rule and originator: a row of the table `alarm`.
///
/// Invariants: closed exactly when neither active nor unacknowledged; latched only while active;
/// `highest_severity` at least `severity`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmRecord {
    /// 0: not stored yet.
    pub id: i64,
    pub rule_id: i64,
    /// The version that raised it.
    pub rule_version: i64,
    pub rule_name: String,
    pub device: DeviceKey,
    /// `None` for a rule with one state per device.
    pub sensor: Option<(SensorId, SensorName)>,
    pub severity: Severity,
    pub highest_severity: Severity,
    pub active: bool,
    pub acknowledged: bool,
    /// The condition is gone, and a reset is waited for.
    pub latched: bool,
    pub shelved_until: Option<Timestamp>,
    pub suppressed: bool,
    pub out_of_service: bool,
    pub closed: bool,
    /// The last time that it was raised.
    pub raised_at: Timestamp,
    pub cleared_at: Option<Timestamp>,
    /// By our clock: of the last event.
    pub changed_at: Timestamp,
    /// Of the last transition (see [`Resume`]).
    pub arrival: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    pub note: Option<String>,
    /// Of the reading that did it.
    pub value: Option<f64>,
    pub event_time: Option<Timestamp>,
    pub peak: Option<f64>,
    /// How often it was raised.
    pub occurrences: u32,
    /// Column `levels`, as JSON.
    pub progress: Progress,
    pub message: String,
    pub labels: BTreeMap<String, String>,
    /// Of the originator and rule, the alarm before this one included.
    pub last_notified_at: Option<Timestamp>,
    /// Its raise was told, and its end was not.
    pub notified: bool,
}

/// Phases of the levels at the last transition, and what was told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    pub readings: u32,
    pub levels: Vec<LevelPhase>,
    /// The severity that was told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Severity>,
    /// When severities were told last: each later entry is of a lower one, and later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<Heard>,
}

/// A severity that was told, and when (microseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    pub severity: Severity,
    pub at: i64,
}

impl Progress {
    pub(super) fn note_heard(&mut self, severity: Severity, at: Timestamp) {
        self.heard.retain(|heard| heard.severity > severity);
        self.heard.push(Heard { severity, at: at.as_micros() });
    }
}

/// One line of an alarm's history: a row of the table `alarm_event`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmEvent {
    pub kind: EventKind,
    pub at: Timestamp,
    pub arrival: Timestamp,
    pub severity: Severity,
    pub value: Option<f64>,
    pub event_time: Option<Timestamp>,
    pub actor: Option<String>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    Raised,
    Escalated,
    Deescalated,
    Cleared,
    LevelRaised,
    LevelCleared,
    Returned,
    /// The condition is gone; a latching alarm stays.
    Latched,
    Acknowledged,
    Unacknowledged,
    ForcedClear,
    Shelved,
    Unshelved,
    ShelveExpired,
    Reset,
    OutOfService,
    InService,
    Suppressed,
    Unsuppressed,
    RuleDisabled,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Deescalated => "deescalated",
            Self::Cleared => "cleared",
            Self::LevelRaised => "level_raised",
            Self::LevelCleared => "level_cleared",
            Self::Returned => "returned",
            Self::Latched => "latched",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::ForcedClear => "forced_clear",
            Self::Shelved => "shelved",
            Self::Unshelved => "unshelved",
            Self::ShelveExpired => "shelve_expired",
            Self::Reset => "reset",
            Self::OutOfService => "out_of_service",
            Self::InService => "in_service",
            Self::Suppressed => "suppressed",
            Self::Unsuppressed => "unsuppressed",
            Self::RuleDisabled => "rule_disabled",
        }
    }
}

impl AlarmRecord {
    /// Where judging goes on after a restart.
    pub fn resume(&self) -> Resume {
        Resume {
            arrival: self.arrival,
            readings: self.progress.readings,
            levels: self.progress.levels.clone(),
        }
    }

    /// Transitions happen and are kept, but nothing is told.
    pub fn is_quiet(&self) -> bool {
        self.shelved_until.is_some() || self.suppressed || self.out_of_service
    }
}
