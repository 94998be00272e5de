//! Figures about alarms as they are shown.

use poem_openapi::Object;

use super::{Api, alarm_rule_form::Severity, alarm_view::AlarmState, problem::Fault, wire::Time};
use crate::store::{AlarmCount, ChatteringAlarm, DeviceOccurrences, RuleOccurrences};

const DAY: i64 = 86_400 * 1_000_000;
/// Chattering alarms that are named.
const CHATTERING_MAX: u64 = 100;

/// Figures about alarms
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct AlarmSummary {
    /// Alarms whose condition holds at present
    active: u64,
    /// Alarms that wait for an acknowledgement at present; those shelved, suppressed or out of
    /// service don't
    unacknowledged: u64,
    /// What is open at present, by severity and state
    open: Vec<OpenAlarms>,
    from: Time,
    to: Time,
    /// The ten that raised most often in the range
    top_rules: Vec<RuleRaises>,
    /// The ten for which was raised most often in the range
    top_devices: Vec<DeviceRaises>,
    /// Raised three times or more within a minute, somewhere in the range; at most 100
    chattering: Vec<ChatteringOriginator>,
    /// From being raised to being acknowledged, of the alarms that were raised in the range
    mean_seconds_to_acknowledge: Option<f64>,
    /// How many alarms that mean is over
    acknowledged: u64,
}

/// Open alarms that are alike
#[derive(Debug, Clone, Object)]
struct OpenAlarms {
    severity: Severity,
    state: AlarmState,
    shelved: bool,
    suppressed: bool,
    out_of_service: bool,
    count: u64,
}

/// How often a rule has raised
#[derive(Debug, Clone, Object)]
struct RuleRaises {
    rule_id: i64,
    rule: String,
    raised: u64,
}

/// How often was raised for a device
#[derive(Debug, Clone, Object)]
struct DeviceRaises {
    device: String,
    raised: u64,
}

/// A rule and a sensor or device of which it raised too often in a short time
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct ChatteringOriginator {
    rule_id: i64,
    rule: String,
    device: String,
    sensor: Option<String>,
    /// The newest alarm of them
    alarm: i64,
    /// In the whole range
    raised: u64,
    last_raised_at: Time,
}

pub(super) async fn of(
    api: &Api,
    from: Option<Time>,
    to: Option<Time>,
) -> Result<AlarmSummary, Fault> {
    let to = to.map_or_else(|| api.now(), |time| time.0);
    let from = from.map_or_else(|| to.plus_micros(-DAY), |time| time.0);
    if from >= to {
        return Err(Fault::invalid("from", "from is before to"));
    }
    let summary = api.store.alarm_summary(from, to).await?;
    let chattering = api.store.chattering_alarms(from, to, CHATTERING_MAX).await?;
    let count = |is_counted: fn(&AlarmCount) -> bool| {
        summary.open.iter().filter(|alike| is_counted(alike)).map(|alike| alike.count).sum()
    };
    Ok(AlarmSummary {
        active: count(|alike| alike.active),
        unacknowledged: count(AlarmCount::is_waiting),
        open: summary.open.iter().map(OpenAlarms::from).collect(),
        from: Time(from),
        to: Time(to),
        top_rules: summary.top_rules.into_iter().map(RuleRaises::from).collect(),
        top_devices: summary.top_devices.into_iter().map(DeviceRaises::from).collect(),
        chattering: chattering.into_iter().map(ChatteringOriginator::from).collect(),
        mean_seconds_to_acknowledge: summary.mean_micros_to_acknowledge.map(|mean| mean / 1e6),
        acknowledged: summary.acknowledged,
    })
}

impl From<&AlarmCount> for OpenAlarms {
    fn from(alike: &AlarmCount) -> Self {
        Self {
            severity: Severity::from_code(alike.severity),
            state: AlarmState::of(alike.active, alike.acknowledged),
            shelved: alike.shelved,
            suppressed: alike.suppressed,
            out_of_service: alike.out_of_service,
            count: alike.count,
        }
    }
}

impl From<RuleOccurrences> for RuleRaises {
    fn from(row: RuleOccurrences) -> Self {
        Self { rule_id: row.rule_id, rule: row.rule_name, raised: row.occurrences }
    }
}

impl From<DeviceOccurrences> for DeviceRaises {
    fn from(row: DeviceOccurrences) -> Self {
        Self { device: row.device, raised: row.occurrences }
    }
}

impl From<ChatteringAlarm> for ChatteringOriginator {
    fn from(row: ChatteringAlarm) -> Self {
        Self {
            rule_id: row.rule_id,
            rule: row.rule_name,
            device: row.device,
            sensor: row.sensor,
            alarm: row.alarm_id,
            raised: row.occurrences,
            last_raised_at: Time(row.last_raised_at),
        }
    }
}
