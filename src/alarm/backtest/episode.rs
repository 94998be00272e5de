//! One time that an alarm was active, and which ones two rules have in common.

use crate::{
    alarm::{
        engine::Originator,
        lifecycle::{AlarmRecord, Extreme, Transition, TransitionKind},
        rule::Severity,
    },
    telemetry::{DeviceKey, SensorId, SensorName, Timestamp},
};

/// An alarm that would have been: from its raise to its clear. Nobody acknowledges in a backtest, so
/// that an originator's alarms would all be one; here each is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct TriedAlarm {
    pub device: DeviceKey,
    /// `None` for a rule with one state per device.
    pub sensor: Option<(SensorId, SensorName)>,
    pub raised_at: Timestamp,
    /// `None`: it is active at the end.
    pub cleared_at: Option<Timestamp>,
    /// To the end where it did not clear.
    pub duration_micros: i64,
    pub highest_severity: Severity,
    /// Of the reading that raised it.
    pub value: Option<f64>,
    pub peak: Option<f64>,
    /// How often it was raised; more than once only where it latches.
    pub occurrences: u32,
    pub message: String,
}

/// An alarm while it is judged.
#[derive(Debug, Clone)]
pub(super) struct Episode {
    raised_at: Timestamp,
    raised_arrival: Timestamp,
    cleared_at: Option<Timestamp>,
    cleared_arrival: Option<Timestamp>,
    highest_severity: Severity,
    value: Option<f64>,
    peak: Option<f64>,
    occurrences: u32,
    message: String,
    /// The other rule has one at the same time.
    pub(super) is_shared: bool,
}

impl Episode {
    /// Begins with the transition that made the record active.
    pub(super) fn new(record: &AlarmRecord, transition: &Transition) -> Self {
        Self {
            raised_at: record.raised_at,
            raised_arrival: transition.arrival,
            cleared_at: None,
            cleared_arrival: None,
            highest_severity: transition.severity,
            value: transition.value,
            peak: transition.peak,
            occurrences: 0,
            message: record.message.clone(),
            is_shared: false,
        }
    }

    pub(super) fn follow(&mut self, record: &AlarmRecord, transition: &Transition, latches: bool) {
        if transition.kind == TransitionKind::Raised {
            self.occurrences = self.occurrences.saturating_add(1);
        }
        self.highest_severity = self.highest_severity.max(transition.severity);
        // Where it latches the record has no other alarm, and its peak outlasts a second raise.
        self.peak = if latches { record.peak } else { transition.peak };
        if !record.active {
            self.cleared_at = record.cleared_at;
            self.cleared_arrival = Some(transition.arrival);
        }
    }

    /// The worst value up to the end, where there is no transition that would tell it.
    pub(super) fn note_peak(&mut self, extreme: Extreme, peak: Option<f64>) {
        self.peak = extreme.worse(self.peak, peak);
    }

    pub(super) fn raised_arrival(&self) -> Timestamp {
        self.raised_arrival
    }

    pub(super) fn is_over(&self) -> bool {
        self.cleared_arrival.is_some()
    }

    /// Whether something of it lies after `from`.
    pub(super) fn reaches(&self, from: Timestamp) -> bool {
        self.cleared_arrival.is_none_or(|cleared| cleared >= from)
    }

    /// Whether both were active at a time after `from`.
    pub(super) fn overlaps(&self, other: &Self, from: Timestamp) -> bool {
        // One that is raised and cleared by one reading has a length, too.
        let end = |episode: &Self| {
            let cleared = episode.cleared_arrival.unwrap_or(Timestamp::MAX);
            cleared.max(episode.raised_arrival.plus_micros(1))
        };
        let begin = self.raised_arrival.max(other.raised_arrival);
        begin < end(self).min(end(other)) && self.reaches(from) && other.reaches(from)
    }

    pub(super) fn into_alarm(self, originator: &Originator, to: Timestamp) -> TriedAlarm {
        let end = self.cleared_at.unwrap_or(to);
        TriedAlarm {
            device: originator.device.key.clone(),
            sensor: originator.sensor.as_ref().map(|sensor| (sensor.id, sensor.name.clone())),
            raised_at: self.raised_at,
            cleared_at: self.cleared_at,
            duration_micros: end.micros_since(self.raised_at).max(0),
            highest_severity: self.highest_severity,
            value: self.value,
            peak: self.peak,
            occurrences: self.occurrences,
            message: self.message,
        }
    }
}

/// Marks what two rules have in common of one originator.
pub(super) fn share(some: &mut [Episode], others: &mut [Episode], from: Timestamp) {
    for one in some {
        for other in others.iter_mut() {
            if one.overlaps(other, from) {
                (one.is_shared, other.is_shared) = (true, true);
            }
        }
    }
}
