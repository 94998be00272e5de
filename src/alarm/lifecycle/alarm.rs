//! From transitions and commands to the alarm's record, its history, and what is to be told.
//!
//! What is to be told later (held back by the cooldown, repeated, the end of shelving) is no list of
//! its own: it follows from the record, so that a restart loses none of it.

use super::{
    AlarmEvent, AlarmRecord, Command, CommandError, EventKind, Facts, Notice, NoticeKind, Policy,
    Progress, Transition, TransitionKind,
};
use crate::telemetry::Timestamp;

/// The alarm of one rule and originator: the open one, or the last that was closed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Alarm {
    pub record: Option<AlarmRecord>,
}

#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    Transition(&'a Transition),
    /// Everything that arrived before it has been applied.
    Tick(Timestamp),
    /// The broker was not running. Of the repeats that were due meanwhile only the last is told.
    Down {
        from: Timestamp,
        to: Timestamp,
    },
    Command {
        command: Command<'a>,
        at: Timestamp,
        actor: Option<&'a str>,
        note: Option<&'a str>,
    },
}

/// What one change leads to; all of it concerns the alarm in the slot afterwards.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The record is another alarm than before.
    pub is_started: bool,
    /// The record is to be written.
    pub is_changed: bool,
    pub events: Vec<AlarmEvent>,
    pub notices: Vec<Notice>,
    /// What the cooldown held back until it was true no more; `at`: when it would have been told.
    pub held_back: Option<Notice>,
}

impl Outcome {
    /// The end of an alarm is told with the reading that ended it; the record keeps the one that
    /// raised it.
    fn tell_what_cleared(&mut self, policy: &Policy, facts: &Facts<'_>, transition: &Transition) {
        if transition.kind != TransitionKind::Cleared {
            return;
        }
        let ends = self.notices.iter_mut().filter(|notice| notice.kind == NoticeKind::Cleared);
        for notice in ends {
            notice.value = transition.value;
            notice.event_time = transition.event_time;
            notice.message = policy.message(facts, transition);
        }
    }
}

impl Alarm {
    /// Applies one change; changes come in order of arrival.
    ///
    /// # Errors
    /// A command that does not fit the alarm, which is left as it was but for timers that were due.
    pub fn apply(
        &mut self,
        policy: &Policy,
        facts: &Facts<'_>,
        change: Change<'_>,
    ) -> Result<Outcome, CommandError> {
        let mut outcome = Outcome::default();
        let at = match change {
            Change::Transition(transition) => transition.arrival,
            Change::Tick(watermark) => watermark,
            Change::Down { from, .. } => from,
            Change::Command { at, .. } => at,
        };
        self.fire(policy, at, false, &mut outcome);
        let waiting = self.record.as_ref().and_then(|record| record.waiting(policy));
        match change {
            Change::Transition(transition) => {
                self.transition(policy, facts, transition, &mut outcome);
            }
            Change::Tick(_) => return Ok(outcome),
            Change::Down { to, .. } => {
                self.fire(policy, to, true, &mut outcome);
                return Ok(outcome);
            }
            Change::Command { command, at, actor, note } => {
                let record = self.record.as_mut().ok_or(CommandError::NoAlarm)?;
                let event = (at, actor.map(str::to_owned), note.map(str::to_owned));
                // What was read while it was latched did not belong to it.
                let worst = command.worst().filter(|_| !record.latched);
                record.command(command, event, &mut outcome)?;
                record.note_peak(policy, worst);
            }
        }
        self.fire(policy, at, false, &mut outcome);
        if let Change::Transition(transition) = change {
            outcome.tell_what_cleared(policy, facts, transition);
        }
        let is_over = |record: &AlarmRecord, notice: &Notice| {
            !record.active || record.severity < notice.severity
        };
        let record = self.record.as_ref();
        outcome.held_back =
            waiting.filter(|notice| record.is_some_and(|record| is_over(record, notice)));
        Ok(outcome)
    }

    /// When a [`Change::Tick`] with a later watermark may change something.
    pub fn next_deadline(&self, policy: &Policy) -> Option<Timestamp> {
        self.record.as_ref()?.earliest(policy).map(|(at, _)| at)
    }

    fn fire(&mut self, policy: &Policy, until: Timestamp, is_down: bool, outcome: &mut Outcome) {
        let Some(record) = &mut self.record else { return };
        while let Some((at, due)) = record.earliest(policy).filter(|(at, _)| *at <= until) {
            match due {
                Due::Unshelve => {
                    record.shelved_until = None;
                    record.push(EventKind::ShelveExpired, (at, None, None), outcome);
                    record.end_quiet(at, outcome);
                }
                Due::Notice(NoticeKind::Repeated) if is_down => {
                    record.tell(NoticeKind::Repeated, policy.last_repeat(at, until), outcome);
                }
                Due::Notice(kind) => record.tell(kind, at, outcome),
            }
        }
    }

    fn transition(
        &mut self,
        policy: &Policy,
        facts: &Facts<'_>,
        transition: &Transition,
        outcome: &mut Outcome,
    ) {
        if transition.kind == TransitionKind::Raised
            && self.record.as_ref().is_none_or(|record| record.closed)
        {
            let before = self.record.take();
            self.record = Some(AlarmRecord::start(policy, facts, transition, before));
            outcome.is_started = true;
        }
        if let Some(record) = &mut self.record {
            record.take_over(policy, facts, transition, outcome);
        }
    }
}

/// What becomes due by itself.
#[derive(Debug, Clone, Copy)]
enum Due {
    Unshelve,
    Notice(NoticeKind),
}

/// Time, actor and note of an event that no reading caused.
type Origin = (Timestamp, Option<String>, Option<String>);

impl AlarmRecord {
    fn start(
        policy: &Policy,
        facts: &Facts<'_>,
        transition: &Transition,
        before: Option<Self>,
    ) -> Self {
        let before = before.as_ref();
        Self {
            id: 0,
            rule_id: policy.rule_id,
            rule_version: policy.rule_version,
            rule_name: policy.rule_name.clone(),
            device: facts.device.clone(),
            sensor: facts.sensor.map(|(id, name)| (id, name.clone())),
            severity: transition.severity,
            highest_severity: transition.severity,
            active: false,
            acknowledged: false,
            latched: false,
            shelved_until: before.and_then(|before| before.shelved_until),
            suppressed: facts.suppressed,
            out_of_service: before.is_some_and(|before| before.out_of_service),
            closed: false,
            raised_at: transition.at,
            cleared_at: None,
            changed_at: transition.arrival,
            arrival: transition.arrival,
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            value: transition.value,
            event_time: transition.event_time,
            peak: transition.peak,
            occurrences: 0,
            progress: Progress::default(),
            message: String::new(),
            labels: policy.labels.clone(),
            last_notified_at: before.and_then(|before| before.last_notified_at),
            notified: false,
        }
    }

    fn take_over(
        &mut self,
        policy: &Policy,
        facts: &Facts<'_>,
        transition: &Transition,
        outcome: &mut Outcome,
    ) {
        self.arrival = transition.arrival;
        self.progress.readings = transition.resume.readings;
        self.progress.levels.clone_from(&transition.resume.levels);
        if transition.kind != TransitionKind::Returned {
            self.note_peak(policy, transition.peak);
        }
        let Some(kind) = self.follow(policy, transition) else { return };
        if let EventKind::Raised | EventKind::Escalated | EventKind::Deescalated = kind {
            self.severity = transition.severity;
            self.highest_severity = self.highest_severity.max(transition.severity);
            self.value = transition.value;
            self.event_time = transition.event_time;
            self.message = policy.message(facts, transition);
        }
        if kind == EventKind::Deescalated {
            self.progress.told = self.progress.told.map(|told| told.min(transition.severity));
        }
        self.changed_at = self.changed_at.max(transition.arrival);
        outcome.is_changed = true;
        outcome.events.push(AlarmEvent {
            kind,
            at: transition.at,
            arrival: transition.arrival,
            severity: transition.severity,
            value: transition.value,
            event_time: transition.event_time,
            actor: None,
            note: None,
        });
        let may_be_told = self.escalation_due(policy) <= self.changed_at;
        if kind == EventKind::Escalated && may_be_told && !self.is_quiet() {
            self.tell(NoticeKind::Escalated, transition.arrival, outcome);
        }
    }

    fn note_peak(&mut self, policy: &Policy, value: Option<f64>) {
        if let Some(extreme) = policy.extreme {
            self.peak = extreme.worse(self.peak, value);
        }
    }

    /// Makes it active or ends it; `None` for what comes with a command.
    fn follow(&mut self, policy: &Policy, transition: &Transition) -> Option<EventKind> {
        Some(match transition.kind {
            TransitionKind::Raised => {
                self.raise(policy, transition);
                EventKind::Raised
            }
            TransitionKind::Escalated => EventKind::Escalated,
            TransitionKind::Deescalated => EventKind::Deescalated,
            TransitionKind::Cleared if policy.latching => {
                self.latched = true;
                EventKind::Latched
            }
            TransitionKind::Cleared => {
                self.end(transition.at);
                EventKind::Cleared
            }
            TransitionKind::LevelRaised => EventKind::LevelRaised,
            TransitionKind::LevelCleared => EventKind::LevelCleared,
            TransitionKind::Returned => EventKind::Returned,
            TransitionKind::ForcedClear => return None,
        })
    }

    /// From here on it is of the rule as it is: the version that it names is the one that raised it.
    fn raise(&mut self, policy: &Policy, transition: &Transition) {
        if !self.active {
            self.raised_at = transition.at;
        }
        self.rule_version = policy.rule_version;
        self.rule_name.clone_from(&policy.rule_name);
        self.labels.clone_from(&policy.labels);
        self.active = true;
        self.latched = false;
        self.cleared_at = None;
        self.occurrences = self.occurrences.saturating_add(1);
    }

    /// The alarm is over; a raise that was not told is told no more.
    fn end(&mut self, at: Timestamp) {
        self.active = false;
        self.latched = false;
        self.cleared_at = Some(at.max(self.raised_at));
        self.closed = self.acknowledged;
    }

    fn push(&mut self, kind: EventKind, origin: Origin, outcome: &mut Outcome) {
        let (at, actor, note) = origin;
        self.changed_at = self.changed_at.max(at);
        outcome.is_changed = true;
        outcome.events.push(AlarmEvent {
            kind,
            at,
            arrival: at,
            severity: self.severity,
            value: None,
            event_time: None,
            actor,
            note,
        });
    }

    fn command(
        &mut self,
        command: Command<'_>,
        origin: Origin,
        outcome: &mut Outcome,
    ) -> Result<(), CommandError> {
        let at = origin.0;
        let was_quiet = self.is_quiet();
        let kind = match command {
            Command::Suppress | Command::Unsuppress => {
                let suppress = command == Command::Suppress;
                if self.suppressed == suppress {
                    return Ok(());
                }
                self.suppressed = suppress;
                if suppress { EventKind::Suppressed } else { EventKind::Unsuppressed }
            }
            Command::DisableRule { .. } => {
                if !self.active {
                    return Ok(());
                }
                self.progress.levels.clear();
                self.progress.readings = 0;
                self.arrival = self.arrival.max(at);
                self.end(at);
                EventKind::RuleDisabled
            }
            _ if self.closed => return Err(CommandError::Closed),
            command => self.operate(command, &origin)?,
        };
        self.push(kind, origin, outcome);
        if was_quiet && !self.is_quiet() {
            self.end_quiet(at, outcome);
        }
        Ok(())
    }

    /// What an operator may do to an open alarm.
    fn operate(
        &mut self,
        command: Command<'_>,
        (at, actor, note): &Origin,
    ) -> Result<EventKind, CommandError> {
        let require = |is: bool, error: CommandError| if is { Ok(()) } else { Err(error) };
        Ok(match command {
            Command::Acknowledge => {
                require(!self.acknowledged, CommandError::AlreadyAcknowledged)?;
                self.acknowledged = true;
                self.acknowledged_at = Some(*at);
                self.acknowledged_by.clone_from(actor);
                self.note.clone_from(note);
                self.closed = !self.active;
                EventKind::Acknowledged
            }
            Command::Unacknowledge => {
                require(self.acknowledged, CommandError::NotAcknowledged)?;
                self.acknowledged = false;
                self.acknowledged_at = None;
                self.acknowledged_by = None;
                EventKind::Unacknowledged
            }
            Command::Clear(transition) => {
                require(self.active, CommandError::NotActive)?;
                self.arrival = transition.arrival;
                self.progress.readings = transition.resume.readings;
                self.progress.levels.clone_from(&transition.resume.levels);
                self.end(*at);
                EventKind::ForcedClear
            }
            Command::Reset => {
                require(self.latched, CommandError::NotLatched)?;
                self.end(*at);
                EventKind::Reset
            }
            Command::Shelve { until } => {
                require(until > *at, CommandError::ShelvedInPast)?;
                self.shelved_until = Some(until);
                EventKind::Shelved
            }
            Command::Unshelve => {
                require(self.shelved_until.is_some(), CommandError::NotShelved)?;
                self.shelved_until = None;
                EventKind::Unshelved
            }
            Command::TakeOutOfService => {
                require(!self.out_of_service, CommandError::AlreadyOutOfService)?;
                self.out_of_service = true;
                EventKind::OutOfService
            }
            Command::PutInService => {
                require(self.out_of_service, CommandError::InService)?;
                self.out_of_service = false;
                EventKind::InService
            }
            Command::Suppress => EventKind::Suppressed,
            Command::Unsuppress => EventKind::Unsuppressed,
            Command::DisableRule { .. } => EventKind::RuleDisabled,
        })
    }

    /// An alarm that was told before it was made quiet is told again; one that was not, follows by
    /// itself.
    fn end_quiet(&mut self, at: Timestamp, outcome: &mut Outcome) {
        if self.active && !self.acknowledged && self.notified && !self.is_quiet() {
            self.tell(NoticeKind::Repeated, at, outcome);
        }
    }

    /// What becomes due next by itself. Everything follows from the record.
    fn earliest(&self, policy: &Policy) -> Option<(Timestamp, Due)> {
        // What is closed makes room for another alarm, which knows nothing of what was told of this
        // one: its end is told, or whoever heard of it would take it for active for ever.
        let owes_its_end = self.closed && self.notified;
        if self.is_quiet() && !owes_its_end {
            return self.shelved_until.map(|until| (until, Due::Unshelve));
        }
        let after = |micros: i64| {
            let due = self.last_notified_at.map(|last| last.plus_micros(micros));
            due.map_or(self.changed_at, |due| due.max(self.changed_at))
        };
        let is_untold = self.progress.told.is_none_or(|told| self.severity > told);
        let (at, kind) = match (self.active, self.notified) {
            (true, false) if !self.acknowledged => (after(policy.cooldown), NoticeKind::Raised),
            (true, true) if is_untold => (self.escalation_due(policy), NoticeKind::Escalated),
            (true, true) if !self.acknowledged => (after(policy.repeat?), NoticeKind::Repeated),
            (false, true) => (self.changed_at, NoticeKind::Cleared),
            _ => return None,
        };
        Some((at, Due::Notice(kind)))
    }

    /// What the cooldown holds back at the moment.
    fn waiting(&self, policy: &Policy) -> Option<Notice> {
        match self.earliest(policy)? {
            (at, Due::Notice(kind @ (NoticeKind::Raised | NoticeKind::Escalated)))
                if at > self.changed_at =>
            {
                Some(self.notice(kind, at))
            }
            _ => None,
        }
    }

    /// When the severity may be told: the cooldown holds back what is no worse than what was told
    /// within it, so that a value that swings about a limit tells of it once.
    fn escalation_due(&self, policy: &Policy) -> Timestamp {
        let told = self.progress.heard.iter().rev().find(|heard| heard.severity >= self.severity);
        let due = told.map(|told| Timestamp::from_micros(told.at).plus_micros(policy.cooldown));
        due.map_or(self.changed_at, |due| due.max(self.changed_at))
    }

    fn tell(&mut self, kind: NoticeKind, at: Timestamp, outcome: &mut Outcome) {
        self.last_notified_at = Some(at);
        self.notified = kind != NoticeKind::Cleared;
        self.progress.told = self.notified.then_some(self.severity);
        if self.notified {
            self.progress.note_heard(self.severity, at);
        }
        outcome.is_changed = true;
        outcome.notices.push(self.notice(kind, at));
    }

    fn notice(&self, kind: NoticeKind, at: Timestamp) -> Notice {
        Notice {
            kind,
            at,
            severity: self.severity,
            value: self.value,
            event_time: self.event_time,
            message: self.message.clone(),
        }
    }
}
