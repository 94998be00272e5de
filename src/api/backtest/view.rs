//! What a backtest found, on the wire.

use std::collections::BTreeMap;

use poem_openapi::Object;

use crate::{
    alarm::{
        backtest::{Difference, NoticeCounts, Report, RuleReport, TriedAlarm, TriedEvent},
        rule::Severity,
    },
    api::wire::Time,
    telemetry::{SensorId, SensorName, Timestamp},
};

/// What a rule would have done
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct BacktestResult {
    from: Time,
    /// As asked for, or the present where that is in the future
    to: Time,
    /// Readings in the range, of the sensors that the rules look at
    readings: u64,
    /// What the rules ask for that is not kept, and so could not be judged
    limitations: Vec<String>,
    rule: BacktestOutcome,
    /// Of `compare_with`
    compared: Option<BacktestOutcome>,
    difference: Option<BacktestDifference>,
}

/// What one rule would have done
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct BacktestOutcome {
    name: String,
    /// Only of a stored rule
    rule_id: Option<i64>,
    version: Option<i64>,
    /// Sensors, or devices, that the rule is for
    originators: u64,
    /// Those of them that had an alarm
    alarming: u64,
    /// Alarms that were active in the range
    alarms_total: u64,
    /// Those raised before the range
    active_at_start: u64,
    active_at_end: u64,
    /// Alarms by their highest severity
    by_severity: BTreeMap<String, u64>,
    /// How long alarms were active in the range, all taken together
    active_seconds: f64,
    /// The longest alarm
    longest_seconds: f64,
    /// The first 1000, in the order in which they were raised
    alarms: Vec<BacktestAlarm>,
    events_total: u64,
    /// The first 5000, in the order in which they happened
    events: Vec<BacktestEvent>,
    notifications: BacktestNotifications,
}

/// An alarm from its raise to its clear
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct BacktestAlarm {
    device: String,
    /// Missing where the rule is judged per device
    sensor: Option<String>,
    sensor_id: Option<i64>,
    raised_at: Time,
    /// Missing where it is active at the end
    cleared_at: Option<Time>,
    /// To the end of the range where it did not clear
    duration_seconds: f64,
    /// `info`, `warning`, `minor`, `major` or `critical`
    highest_severity: String,
    /// Of the reading that raised it
    value: Option<f64>,
    /// The worst value
    peak: Option<f64>,
    /// How often it was raised; more than once only where it latches
    occurrences: u32,
    message: String,
}

/// One change of an alarm
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct BacktestEvent {
    device: String,
    sensor: Option<String>,
    sensor_id: Option<i64>,
    /// `raised`, `escalated`, `deescalated`, `cleared`, `level_raised`, `level_cleared`, `returned`
    /// or `latched`
    kind: String,
    /// The time that it bears: that of the reading, or the end of a delay
    at: Time,
    /// When it became known
    arrival: Time,
    severity: String,
    value: Option<f64>,
    event_time: Option<Time>,
}

/// What would have been told; nothing was
#[derive(Debug, Clone, Object)]
struct BacktestNotifications {
    total: u64,
    raised: u64,
    escalated: u64,
    cleared: u64,
    repeated: u64,
    /// By notification target, as targets stand now; silences are left aside
    targets: BTreeMap<String, u64>,
}

/// What two rules have in common, and what only one has: an alarm is common where the other rule has
/// one of the same sensor or device at the same time
#[derive(Debug, Clone, Object)]
struct BacktestDifference {
    /// Alarms of `rule` that `compare_with` has, too
    common: u64,
    /// Alarms of `rule` only
    added: u64,
    /// Alarms of `compare_with` only
    removed: u64,
    /// The first 1000
    added_alarms: Vec<BacktestAlarm>,
    /// The first 1000
    removed_alarms: Vec<BacktestAlarm>,
}

impl BacktestResult {
    pub(super) fn new(
        (from, to): (Timestamp, Timestamp),
        limitations: &[&'static str],
        report: Report,
    ) -> Self {
        Self {
            from: Time(from),
            to: Time(to),
            readings: report.readings,
            limitations: limitations.iter().map(|text| (*text).to_owned()).collect(),
            rule: report.rule.into(),
            compared: report.compared.map(Into::into),
            difference: report.difference.map(Into::into),
        }
    }
}

impl From<RuleReport> for BacktestOutcome {
    fn from(report: RuleReport) -> Self {
        let severities = Severity::ALL.iter().zip(report.by_severity);
        Self {
            name: report.name,
            rule_id: report.stored.map(|(id, _)| id),
            version: report.stored.map(|(_, version)| version),
            originators: report.originators,
            alarming: report.alarming,
            alarms_total: report.alarms_total,
            active_at_start: report.active_at_start,
            active_at_end: report.active_at_end,
            by_severity: severities.map(|(it, count)| (it.as_str().to_owned(), count)).collect(),
            active_seconds: seconds(report.active_micros),
            longest_seconds: seconds(report.longest_micros),
            alarms: report.alarms.into_iter().map(Into::into).collect(),
            events_total: report.events_total,
            events: report.events.into_iter().map(Into::into).collect(),
            notifications: BacktestNotifications::new(report.notices, report.targets),
        }
    }
}

impl From<TriedAlarm> for BacktestAlarm {
    fn from(alarm: TriedAlarm) -> Self {
        let (sensor_id, sensor) = named(alarm.sensor);
        Self {
            device: alarm.device.to_string(),
            sensor,
            sensor_id,
            raised_at: Time(alarm.raised_at),
            cleared_at: alarm.cleared_at.map(Time),
            duration_seconds: seconds(alarm.duration_micros),
            highest_severity: alarm.highest_severity.as_str().to_owned(),
            value: alarm.value,
            peak: alarm.peak,
            occurrences: alarm.occurrences,
            message: alarm.message,
        }
    }
}

impl From<TriedEvent> for BacktestEvent {
    fn from(event: TriedEvent) -> Self {
        let (sensor_id, sensor) = named(event.sensor);
        Self {
            device: event.device.to_string(),
            sensor,
            sensor_id,
            kind: event.kind.as_str().to_owned(),
            at: Time(event.at),
            arrival: Time(event.arrival),
            severity: event.severity.as_str().to_owned(),
            value: event.value,
            event_time: event.event_time.map(Time),
        }
    }
}

impl BacktestNotifications {
    fn new(counts: NoticeCounts, targets: BTreeMap<String, u64>) -> Self {
        let NoticeCounts { raised, escalated, cleared, repeated } = counts;
        Self { total: counts.total(), raised, escalated, cleared, repeated, targets }
    }
}

impl From<Difference> for BacktestDifference {
    fn from(difference: Difference) -> Self {
        Self {
            common: difference.common,
            added: difference.added,
            removed: difference.removed,
            added_alarms: difference.added_alarms.into_iter().map(Into::into).collect(),
            removed_alarms: difference.removed_alarms.into_iter().map(Into::into).collect(),
        }
    }
}

fn named(sensor: Option<(SensorId, SensorName)>) -> (Option<i64>, Option<String>) {
    sensor.map_or((None, None), |(id, name)| (Some(id.0), Some(name.to_string())))
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
