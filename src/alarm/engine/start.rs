//! The engine at the start of the broker: every state as it would be had the broker not stopped.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Engine,
    evaluation::Evaluation,
    history::Down,
    index::{Entry, Index, Originator, Rule},
    rows::to_record,
};
use crate::{
    alarm::{
        lifecycle::{Alarm, AlarmRecord, Change, Command, Facts, Policy, State},
        notify::Notifier,
    },
    registry::Registry,
    store::{AlarmRow, AlarmRuleRow, BrokerRun, StoreError, Writer},
    telemetry::{DeviceKey, SensorId, Timestamp},
};

/// What the store knows of alarms when the broker starts.
pub struct Start {
    pub rules: Vec<AlarmRuleRow>,
    /// Of each rule and originator the newest alarm, open or closed.
    pub alarms: Vec<AlarmRow>,
    pub last_alarm_id: i64,
    /// Runs before this one, in order.
    pub runs: Vec<BrokerRun>,
    pub registry: Arc<Registry>,
    pub notifier: Notifier,
    pub now: Timestamp,
}

type AlarmKey = (i64, DeviceKey, Option<SensorId>);

impl Engine {
    /// Makes the engine ready, and writes what became due while the broker did not run. Blocks.
    ///
    /// # Errors
    /// What the store says.
    pub fn start(start: Start, writer: &mut Writer) -> Result<Self, StoreError> {
        let now = start.now;
        let mut engine = Self {
            index: Index::default(),
            orphans: HashMap::default(),
            timers: BTreeSet::new(),
            registry: start.registry,
            notifier: start.notifier,
            last_alarm_id: start.last_alarm_id,
            active: Default::default(),
        };
        for row in start.rules.iter().filter(|row| row.enabled) {
            match Rule::new(row) {
                Ok(rule) => engine.index.put_rule(Arc::new(rule)),
                Err(error) => {
                    tracing::error!(rule = row.name, %error, "an alarm rule can't be used");
                }
            }
        }
        let alarms = start.alarms.iter().filter_map(to_record);
        let alarms = alarms.map(|record| (key(&record), record)).collect();
        let past = Past::new(&start.runs, now);
        let judged = writer.transaction(|transaction| {
            let mut evaluation = Evaluation::new(&engine, transaction, now);
            evaluation.restore(alarms, &past)?;
            Ok(evaluation.judged)
        })?;
        engine.adopt(judged);
        engine.show();
        Ok(engine)
    }
}

/// When the broker ran.
struct Past {
    alive_until: Timestamp,
    downs: Vec<Down>,
}

impl Past {
    fn new(runs: &[BrokerRun], now: Timestamp) -> Self {
        let alive_until = runs.last().map_or(now, |run| run.alive_until);
        Self { alive_until, downs: downs(runs, Some(now)) }
    }
}

/// The gaps between runs, the one before `next` among them.
pub(in crate::alarm) fn downs(runs: &[BrokerRun], next: Option<Timestamp>) -> Vec<Down> {
    let ends = runs.iter().map(|run| run.alive_until);
    let begins = runs.iter().skip(1).map(|run| run.started_at).chain(next);
    ends.zip(begins).filter(|(from, to)| from < to).collect()
}

fn key(record: &AlarmRecord) -> AlarmKey {
    let sensor = record.sensor.as_ref().map(|(id, _)| *id);
    (record.rule_id, record.device.clone(), sensor)
}

impl Evaluation<'_, '_> {
    fn restore(
        &mut self,
        mut alarms: HashMap<AlarmKey, AlarmRecord>,
        past: &Past,
    ) -> Result<(), StoreError> {
        let engine = self.engine;
        if engine.has_rules() {
            for device in engine.registry.all() {
                for (rule, originator) in engine.index.originators(&device) {
                    let key = (rule.id, device.key.clone(), originator.sensor_id());
                    let alarm = Alarm { record: alarms.remove(&key) };
                    let state = self.resumed(&rule, &originator, &alarm, past)?;
                    self.add_entry(Entry::new(rule, originator, state, alarm));
                }
                // The clock may have been set back.
                device.note_arrival(past.alive_until.max(self.now));
                self.judged.known.push(device);
            }
        }
        for place in 0..self.judged.added.len() {
            let id = Self::added_id(place);
            self.feed_history(id, &past.downs, past.alive_until)?;
            let (from, to) = (past.alive_until, self.now);
            let _ = self.change(id, Change::Down { from, to })?;
            self.tick(id, to)?;
        }
        for (_, record) in alarms {
            self.orphan(record)?;
        }
        for place in 0..self.judged.added.len() {
            self.settle_suppression(Self::added_id(place))?;
        }
        Ok(())
    }

    /// An alarm whose rule is gone, disabled or no longer for its originator.
    fn orphan(&mut self, record: AlarmRecord) -> Result<(), StoreError> {
        if record.closed {
            return Ok(());
        }
        let (id, device) = (record.id, record.device.clone());
        let policy = Policy::retired(&record);
        let mut alarm = Alarm { record: Some(record) };
        let facts = Facts {
            device: &device,
            device_name: None,
            sensor: None,
            cause: None,
            unit: None,
            suppressed: false,
        };
        let (command, at) = (Command::DisableRule { worst: None }, self.now);
        let change = Change::Command { command, at, actor: None, note: None };
        if let Ok(outcome) = alarm.apply(&policy, &facts, change) {
            self.write(&mut alarm, outcome, &[], None)?;
        }
        if alarm.record.as_ref().is_some_and(|record| !record.closed) {
            self.judged.orphans.insert(id, Some(alarm));
        }
        Ok(())
    }

    fn resumed(
        &self,
        rule: &Rule,
        originator: &Originator,
        alarm: &Alarm,
        past: &Past,
    ) -> Result<State, StoreError> {
        let resume = alarm.record.as_ref().map(AlarmRecord::resume);
        let (compiled, begun) = (&rule.compiled, rule.updated_at);
        let mut state = State::restart(compiled, resume.as_ref(), begun, past.alive_until);
        let Some(active) = alarm.record.as_ref().filter(|record| record.active) else {
            return Ok(state);
        };
        if let Some(peak) = active.peak {
            state.note_peak(compiled, peak);
        }
        if let (Some(sensor), Some(since)) = (&originator.sensor, active.event_time)
            && let Some((least, greatest)) = self.transaction.value_range_since(sensor.id, since)?
        {
            state.note_peak(compiled, least);
            state.note_peak(compiled, greatest);
        }
        Ok(state)
    }
}
