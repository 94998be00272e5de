//! A desk at which one alarm is watched and handled.

use proptest::prelude::*;

use super::*;
use crate::telemetry::{DeviceKey, SensorId, SensorName};

/// One originator under one rule with its alarm; events and notices as short lines.
pub(super) struct Desk {
    pub(super) rule: CompiledRule,
    pub(super) policy: Policy,
    pub(super) state: State,
    pub(super) alarm: Alarm,
    pub(super) device: DeviceKey,
    pub(super) sensor: SensorName,
    pub(super) suppressed: bool,
    pub(super) events: Vec<String>,
    pub(super) notices: Vec<String>,
    pub(super) last: Outcome,
}

impl Desk {
    pub(super) fn new(rule: Value) -> Self {
        let rule = AlarmRule::from_value(rule).unwrap();
        let compiled = CompiledRule::new(&rule).unwrap();
        Self {
            state: State::new(&compiled),
            rule: compiled,
            policy: Policy::new(7, 3, &rule),
            alarm: Alarm::default(),
            device: DeviceKey::new("boiler-1").unwrap(),
            sensor: SensorName::in_topic("temperature").unwrap(),
            suppressed: false,
            events: Vec::new(),
            notices: Vec::new(),
            last: Outcome::default(),
        }
    }

    pub(super) fn apply(&mut self, change: Change<'_>) -> Result<(), CommandError> {
        let facts = Facts {
            device: &self.device,
            device_name: Some("Boiler"),
            sensor: Some((SensorId(4), &self.sensor)),
            cause: None,
            unit: Some("°C"),
            suppressed: self.suppressed,
        };
        self.last = self.alarm.apply(&self.policy, &facts, change)?;
        for event in &self.last.events {
            let (kind, at) = (event.kind.as_str(), seconds(event.at));
            self.events.push(format!("{kind} {} at {at}", event.severity));
        }
        for notice in &self.last.notices {
            let (kind, at) = (notice.kind.as_str(), seconds(notice.at));
            self.notices.push(format!("{kind} {} at {at}", notice.severity));
        }
        Ok(())
    }

    pub(super) fn feed(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        step(&self.rule, &mut self.state, input, &mut out);
        for transition in &out {
            self.apply(Change::Transition(transition)).unwrap();
        }
    }

    pub(super) fn values(&mut self, values: &[(f64, f64)]) -> &mut Self {
        for (at, value) in values {
            self.feed(Input::Reading(reading(0, *at, Some(*value))));
        }
        self
    }

    pub(super) fn tick_at(&mut self, watermark: Timestamp) {
        self.feed(Input::Tick { watermark });
        self.apply(Change::Tick(watermark)).unwrap();
    }

    pub(super) fn tick(&mut self, at_seconds: f64) -> &mut Self {
        self.tick_at(at(at_seconds));
        self
    }

    pub(super) fn command_at(
        &mut self,
        at: Timestamp,
        command: Command<'_>,
    ) -> Result<(), CommandError> {
        self.apply(Change::Command { command, at, actor: Some("ann"), note: Some("seen") })
    }

    pub(super) fn command(
        &mut self,
        at_seconds: f64,
        command: Command<'_>,
    ) -> Result<(), CommandError> {
        self.command_at(at(at_seconds), command)
    }

    pub(super) fn ok(&mut self, at_seconds: f64, command: Command<'_>) -> &mut Self {
        self.command(at_seconds, command).unwrap();
        self
    }

    /// Clears it as an operator.
    pub(super) fn clear_at(&mut self, at: Timestamp) {
        let mut out = Vec::new();
        step(&self.rule, &mut self.state, Input::Clear { at }, &mut out);
        let forced = out.pop().unwrap();
        for transition in &out {
            self.apply(Change::Transition(transition)).unwrap();
        }
        if self.record().active {
            self.command_at(at, Command::Clear(&forced)).unwrap();
        }
    }

    pub(super) fn record(&self) -> &AlarmRecord {
        self.alarm.record.as_ref().unwrap()
    }

    #[track_caller]
    pub(super) fn gives(&mut self, events: &[&str], notices: &[&str]) {
        assert_eq!(std::mem::take(&mut self.events), events, "events");
        assert_eq!(std::mem::take(&mut self.notices), notices, "notices");
    }
}

impl Desk {
    pub(super) fn attempt(&mut self, now: Timestamp, choice: u8) {
        // A command is for the alarm as it stands when timers that are due have fired.
        self.tick_at(now);
        let command = match choice {
            0 => Command::Acknowledge,
            1 => Command::Unacknowledge,
            2 => Command::Shelve { until: now.plus_micros(30_000_000) },
            3 => Command::Unshelve,
            4 => Command::Reset,
            5 => Command::TakeOutOfService,
            6 => Command::PutInService,
            7 => Command::Suppress,
            8 => Command::Unsuppress,
            9 if self.alarm.record.as_ref().is_some_and(|record| record.active) => {
                return self.clear_at(now);
            }
            _ => return,
        };
        // A command that does not fit is refused.
        let _ = self.command_at(now, command);
    }

    /// What holds after every change.
    pub(super) fn check(&self, is_latching: bool) -> Result<(), TestCaseError> {
        let Some(record) = &self.alarm.record else { return Ok(()) };
        prop_assert_eq!(record.closed, !record.active && record.acknowledged);
        prop_assert!(record.active || !record.latched);
        prop_assert!(record.highest_severity >= record.severity);
        prop_assert!(record.active == record.cleared_at.is_none());
        let severity = self.state.severity(&self.rule);
        if record.active && !record.latched {
            prop_assert_eq!(severity, Some(record.severity));
        } else {
            prop_assert!(severity.is_none());
        }
        prop_assert!(is_latching || !record.latched);
        prop_assert_eq!(record.resume().levels.len(), self.rule.levels.len());
        Ok(())
    }
}
