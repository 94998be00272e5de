//! Alarms, their rules and their notifications as they are stored: plain columns. What the JSON in
//! them means, and which transitions are legal, is the alarm room's business.

use crate::telemetry::{SensorId, Timestamp};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRuleRow {
    pub id: i64,
    pub name: String,
    pub enabled: bool,
    /// It stands in the configuration and is not edited here.
    pub provisioned: bool,
    pub version: i64,
    /// A JSON object.
    pub body: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a rule is made of, or is to be from its next version on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRuleEdit {
    pub name: String,
    pub enabled: bool,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRuleVersionRow {
    pub rule_id: i64,
    pub version: i64,
    pub body: String,
    pub created_at: Timestamp,
    pub author: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlarmRow {
    /// Given by the caller, counted up from [`super::Store::max_alarm_id`].
    pub id: i64,
    pub rule_id: i64,
    pub rule_version: i64,
    pub rule_name: String,
    pub device: String,
    pub sensor_id: Option<SensorId>,
    pub sensor: Option<String>,
    /// 0 info to 4 critical.
    pub severity: u8,
    pub highest_severity: u8,
    pub active: bool,
    pub acknowledged: bool,
    /// The condition is gone; the alarm waits for a reset.
    pub latched: bool,
    pub shelved_until: Option<Timestamp>,
    pub suppressed: bool,
    pub out_of_service: bool,
    pub closed: bool,
    pub raised_at: Timestamp,
    pub cleared_at: Option<Timestamp>,
    pub changed_at: Timestamp,
    /// When what made the last transition arrived.
    pub arrival: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    pub note: Option<String>,
    pub value: Option<f64>,
    pub event_time: Option<Timestamp>,
    pub peak: Option<f64>,
    pub occurrences: i64,
    /// JSON: the phases of the rule's levels after the last transition.
    pub levels: String,
    pub message: String,
    /// A JSON object of strings.
    pub labels: String,
    pub last_notified_at: Option<Timestamp>,
    /// That it was raised has been told.
    pub notified: bool,
}

/// The kind of the events that count as an occurrence in the summary and for chattering.
pub const RAISED: &str = "raised";

#[derive(Debug, Clone, PartialEq)]
pub struct AlarmEventRow {
    /// Given by the store; of no meaning when the event is appended.
    pub id: i64,
    pub alarm_id: i64,
    pub kind: String,
    pub at: Timestamp,
    pub arrival: Timestamp,
    pub severity: u8,
    pub value: Option<f64>,
    pub event_time: Option<Timestamp>,
    pub actor: Option<String>,
    pub note: Option<String>,
}

/// How far a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotificationState {
    Waiting,
    Sent,
    Dead,
    Cancelled,
    /// Kept from being told before it waited.
    Suppressed,
}

impl NotificationState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Suppressed => "suppressed",
        }
    }

    /// What nobody here has written counts as dead: it is shown, and not sent.
    pub(super) fn from_column(text: &str) -> Self {
        match text {
            "waiting" => Self::Waiting,
            "sent" => Self::Sent,
            "cancelled" => Self::Cancelled,
            "suppressed" => Self::Suppressed,
            _ => Self::Dead,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// Of two with the same key only the first is written.
    pub key: String,
    pub alarm_id: Option<i64>,
    pub event_id: Option<i64>,
    pub target: String,
    pub channel: String,
    pub kind: String,
    pub group_key: String,
    /// A JSON object: what is told.
    pub body: String,
    pub not_before: Timestamp,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRow {
    pub id: i64,
    pub key: String,
    pub alarm_id: Option<i64>,
    pub event_id: Option<i64>,
    pub target: String,
    pub channel: String,
    pub kind: String,
    pub group_key: String,
    pub body: String,
    pub state: NotificationState,
    pub attempts: u32,
    pub not_before: Timestamp,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationTargetRow {
    pub id: i64,
    pub name: String,
    pub channel: String,
    pub provisioned: bool,
    pub enabled: bool,
    pub version: i64,
    /// A JSON object: the channel's settings, and what is routed here.
    pub body: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a target is made of, or is to be from its next version on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationTargetEdit {
    pub name: String,
    pub channel: String,
    pub enabled: bool,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceRow {
    pub id: i64,
    /// A JSON object: what it matches, why, and who made it.
    pub body: String,
    pub starts_at: Timestamp,
    /// Not included.
    pub ends_at: Timestamp,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceEdit {
    pub body: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
}

/// A time in which the broker ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerRun {
    pub id: i64,
    pub started_at: Timestamp,
    /// It lived at least until then.
    pub alive_until: Timestamp,
}

/// What became of the rules or targets of the configuration at start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provisioned {
    /// Names that somebody has given to one of their own; what the configuration says is left out.
    pub clashes: Vec<String>,
    /// (id, name) of those that the configuration has no more.
    pub removed: Vec<(i64, String)>,
    pub created: usize,
    pub updated: usize,
}
