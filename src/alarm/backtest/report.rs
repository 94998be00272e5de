//! What a backtest found: everything is counted, and the first of it is listed.

use std::{collections::BTreeMap, sync::Arc};

use super::{Backtest, TriedAlarm, episode::Episode, replay::Range};
use crate::{
    alarm::{
        engine::{Originator, Rule, shown},
        lifecycle::{AlarmEvent, AlarmRecord, EventKind, Notice, NoticeKind},
        notify::Routing,
        rule::Severity,
    },
    telemetry::{DeviceKey, SensorId, SensorName, Timestamp},
};

/// Entries of a list in a report; what comes after them is counted only.
pub const ALARMS_MAX: usize = 1_000;
pub const EVENTS_MAX: usize = 5_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Readings in the range, of the sensors that the rules look at.
    pub readings: u64,
    pub rule: RuleReport,
    pub compared: Option<RuleReport>,
    /// Where there is a rule to compare with.
    pub difference: Option<Difference>,
}

/// What one rule would have done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleReport {
    pub name: String,
    /// Number and version of a stored rule.
    pub stored: Option<(i64, i64)>,
    /// Sensors, or devices, that it has a state for.
    pub originators: u64,
    /// Those of them that had an alarm.
    pub alarming: u64,
    /// Alarms that were active in the range.
    pub alarms_total: u64,
    pub active_at_start: u64,
    pub active_at_end: u64,
    pub by_severity: [u64; Severity::ALL.len()],
    /// How long alarms were active, all taken together; of each what lies in the range.
    pub active_micros: i64,
    pub longest_micros: i64,
    /// The first [`ALARMS_MAX`], in the order in which they were raised.
    pub alarms: Vec<TriedAlarm>,
    pub events_total: u64,
    /// The first [`EVENTS_MAX`], in their order.
    pub events: Vec<TriedEvent>,
    pub notices: NoticeCounts,
    /// Messages by target, as targets stand.
    pub targets: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TriedEvent {
    pub device: DeviceKey,
    pub sensor: Option<(SensorId, SensorName)>,
    pub kind: EventKind,
    pub at: Timestamp,
    pub arrival: Timestamp,
    pub severity: Severity,
    pub value: Option<f64>,
    pub event_time: Option<Timestamp>,
}

/// What would have been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoticeCounts {
    pub raised: u64,
    pub escalated: u64,
    pub cleared: u64,
    pub repeated: u64,
}

/// Alarms of one rule during which the other has none of the same originator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Difference {
    /// Alarms of the rule that the compared one has, too.
    pub common: u64,
    /// Alarms of the rule only.
    pub added: u64,
    /// Alarms of the compared rule only.
    pub removed: u64,
    /// The first [`ALARMS_MAX`] of each.
    pub added_alarms: Vec<TriedAlarm>,
    pub removed_alarms: Vec<TriedAlarm>,
}

impl NoticeCounts {
    pub fn total(&self) -> u64 {
        self.raised + self.escalated + self.cleared + self.repeated
    }

    fn count(&mut self, kind: NoticeKind) {
        *match kind {
            NoticeKind::Raised => &mut self.raised,
            NoticeKind::Escalated => &mut self.escalated,
            NoticeKind::Cleared => &mut self.cleared,
            NoticeKind::Repeated => &mut self.repeated,
        } += 1;
    }
}

/// The first of many by time, though they don't come in order.
struct First<T> {
    max: usize,
    entries: Vec<(Timestamp, T)>,
    /// What comes then or later is not among the first.
    end: Timestamp,
}

impl<T> First<T> {
    fn new(max: usize) -> Self {
        Self { max, entries: Vec::new(), end: Timestamp::MAX }
    }

    fn push(&mut self, at: Timestamp, entry: impl FnOnce() -> T) {
        if at >= self.end {
            return;
        }
        self.entries.push((at, entry()));
        if self.entries.len() >= self.max * 2 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.entries.sort_by_key(|(at, _)| *at);
        self.entries.truncate(self.max);
        if self.entries.len() == self.max {
            self.end = self.entries.last().map_or(self.end, |(at, _)| *at);
        }
    }

    fn into_vec(mut self) -> Vec<T> {
        self.cut();
        self.entries.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// A report that is being made.
pub(super) struct Findings {
    readings: u64,
    routing: Arc<Routing>,
    rule: OfRule,
    compared: Option<OfRule>,
}

struct OfRule {
    report: RuleReport,
    alarms: First<TriedAlarm>,
    events: First<TriedEvent>,
    /// Those that the other rule does not have.
    own: u64,
    own_alarms: First<TriedAlarm>,
}

impl OfRule {
    fn new(rule: &Rule) -> Self {
        let report = RuleReport {
            name: rule.body.name.clone(),
            stored: (rule.id > 0).then_some((rule.id, rule.version)),
            ..RuleReport::default()
        };
        Self {
            report,
            alarms: First::new(ALARMS_MAX),
            events: First::new(EVENTS_MAX),
            own: 0,
            own_alarms: First::new(ALARMS_MAX),
        }
    }

    /// With the alarms that the other rule does not have.
    fn into_report(self) -> (RuleReport, Vec<TriedAlarm>) {
        let (alarms, events) = (self.alarms.into_vec(), self.events.into_vec());
        (RuleReport { alarms, events, ..self.report }, self.own_alarms.into_vec())
    }
}

impl Findings {
    pub(super) fn new(backtest: &Backtest) -> Self {
        Self {
            readings: 0,
            routing: backtest.routing.clone(),
            rule: OfRule::new(&backtest.rule.rule),
            compared: backtest.compare_with.as_ref().map(|compared| OfRule::new(&compared.rule)),
        }
    }

    pub(super) fn into_report(self) -> Report {
        let added = self.rule.own;
        let (rule, added_alarms) = self.rule.into_report();
        let Some(compared) = self.compared else {
            let (compared, difference) = (None, None);
            return Report { readings: self.readings, rule, compared, difference };
        };
        let removed = compared.own;
        let (compared, removed_alarms) = compared.into_report();
        let difference = Difference {
            common: rule.alarms_total.saturating_sub(added),
            added,
            removed,
            added_alarms,
            removed_alarms,
        };
        let (compared, difference) = (Some(compared), Some(difference));
        Report { readings: self.readings, rule, compared, difference }
    }

    /// 0: the rule; 1: the one that it is compared with.
    fn of_rule(&mut self, side: usize) -> Option<&mut OfRule> {
        if side == 0 { Some(&mut self.rule) } else { self.compared.as_mut() }
    }

    pub(super) fn count_reading(&mut self) {
        self.readings += 1;
    }

    pub(super) fn count_originator(&mut self, side: usize, is_alarming: bool) {
        if let Some(of_rule) = self.of_rule(side) {
            of_rule.report.originators += 1;
            of_rule.report.alarming += u64::from(is_alarming);
        }
    }

    pub(super) fn event(&mut self, side: usize, originator: &Originator, event: AlarmEvent) {
        let Some(of_rule) = self.of_rule(side) else { return };
        of_rule.report.events_total += 1;
        of_rule.events.push(event.arrival, || TriedEvent {
            device: originator.device.key.clone(),
            sensor: originator.sensor.as_ref().map(|sensor| (sensor.id, sensor.name.clone())),
            kind: event.kind,
            at: event.at,
            arrival: event.arrival,
            severity: event.severity,
            value: event.value,
            event_time: event.event_time,
        });
    }

    pub(super) fn notice(
        &mut self,
        side: usize,
        (rule, originator): (&Arc<Rule>, &Originator),
        record: &AlarmRecord,
        notice: &Notice,
    ) {
        let routing = self.routing.clone();
        let Some(of_rule) = self.of_rule(side) else { return };
        of_rule.report.notices.count(notice.kind);
        if routing.targets.is_empty() {
            return;
        }
        let shown = shown(record, Some((rule, originator)), notice);
        for target in routing.addressees(&shown, &rule.body.targets) {
            match of_rule.report.targets.get_mut(&target.name) {
                Some(count) => *count += 1,
                None => drop(of_rule.report.targets.insert(target.name.clone(), 1)),
            }
        }
    }

    /// An alarm that is over, or active at the end.
    pub(super) fn alarm(
        &mut self,
        side: usize,
        originator: &Originator,
        episode: Episode,
        range: Range,
    ) {
        let Some(of_rule) = self.of_rule(side) else { return };
        let report = &mut of_rule.report;
        let (at, is_over, is_shared) =
            (episode.raised_arrival(), episode.is_over(), episode.is_shared);
        let alarm = episode.into_alarm(originator, range.to);
        report.alarms_total += 1;
        report.active_at_start += u64::from(at < range.from);
        report.active_at_end += u64::from(!is_over);
        if let Some(count) = report.by_severity.get_mut(alarm.highest_severity as usize) {
            *count += 1;
        }
        let begin = alarm.raised_at.max(range.from);
        let end = alarm.cleared_at.unwrap_or(range.to).min(range.to);
        report.active_micros = report.active_micros.saturating_add(end.micros_since(begin).max(0));
        report.longest_micros = report.longest_micros.max(alarm.duration_micros);
        if !is_shared {
            of_rule.own += 1;
            of_rule.own_alarms.push(at, || alarm.clone());
        }
        of_rule.alarms.push(at, || alarm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_are_kept_in_order() {
        let mut first = First::new(3);
        for n in [9, 4, 8, 1, 7, 7, 2, 6, 30, 31, 32, 33, 3] {
            first.push(Timestamp::from_micros(n), || n);
            assert!(first.entries.len() <= 6);
        }
        assert_eq!(first.into_vec(), [1, 2, 3]);
    }
}
