//! What people and other rooms want done: operators with alarms, editors with rules and devices, and
//! presence. Each order is judged in a transaction of its own.

use std::{convert::Infallible, sync::Arc};

use tokio::sync::oneshot;

use super::{
    Engine, Judged,
    evaluation::{Evaluation, RuleChange},
    index::{Entry, EntryId, Originator, Rule, originators_of_rule},
    rows::to_row,
};
use crate::{
    alarm::{
        lifecycle::{
            Alarm, Change, Command, CommandError, Facts, Input, Policy, State, TransitionKind,
        },
        rule::InvalidRule,
    },
    registry::Device,
    store::{AlarmRow, AlarmRuleRow, StoreError, Transaction},
    telemetry::Timestamp,
};

/// Something for the engine to do.
#[derive(Debug)]
pub enum Order {
    /// An operator's command on an alarm. The reply is the alarm as it then stands; dropped: the
    /// order was not carried out.
    Operate {
        alarm: i64,
        action: Action,
        actor: Option<String>,
        note: Option<String>,
        reply: oneshot::Sender<Result<AlarmRow, OrderError>>,
    },
    /// A rule was made or edited.
    PutRule {
        row: AlarmRuleRow,
        done: Option<Done>,
    },
    /// A rule was deleted.
    RemoveRule {
        id: i64,
        done: Option<Done>,
    },
    /// A device or one of its sensors was edited: other rules may be for it.
    Reconsider {
        device: Arc<Device>,
    },
    /// A device was deleted, with its alarms.
    Forget {
        device: Arc<Device>,
    },
    Presence {
        device: Arc<Device>,
        online: bool,
        at: Timestamp,
    },
}

/// Goes with an order, and is dropped with it when it is carried out: whoever waits for the other end
/// hears that it is closed.
pub type Done = oneshot::Sender<Infallible>;

/// What an operator does to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Acknowledge,
    Unacknowledge,
    Clear,
    Shelve { until: Timestamp },
    Unshelve,
    Reset,
    TakeOutOfService,
    PutInService,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The alarm is not in a state for it; or it is closed, or there is none.
    #[error(transparent)]
    Refused(#[from] CommandError),
    #[error(transparent)]
    Rule(#[from] InvalidRule),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of an order.
pub struct Executed {
    pub judged: Judged,
    /// Of [`Order::Operate`].
    pub alarm: Option<AlarmRow>,
}

impl Action {
    fn command(self) -> Option<Command<'static>> {
        Some(match self {
            Self::Acknowledge => Command::Acknowledge,
            Self::Unacknowledge => Command::Unacknowledge,
            Self::Clear => return None,
            Self::Shelve { until } => Command::Shelve { until },
            Self::Unshelve => Command::Unshelve,
            Self::Reset => Command::Reset,
            Self::TakeOutOfService => Command::TakeOutOfService,
            Self::PutInService => Command::PutInService,
        })
    }
}

impl Engine {
    /// Judges one order; for [`Engine::adopt`] after the commit.
    ///
    /// # Errors
    /// Why it can't be carried out; nothing has changed then.
    pub fn execute(
        &self,
        transaction: &mut Transaction<'_>,
        order: &Order,
        now: Timestamp,
    ) -> Result<Executed, OrderError> {
        let mut evaluation = Evaluation::new(self, transaction, now);
        let mut alarm = None;
        match order {
            Order::Operate { alarm: id, action, actor, note, .. } => {
                let by = (actor.as_deref(), note.as_deref());
                alarm = Some(evaluation.operate(*id, *action, by)?);
            }
            Order::PutRule { row, .. } if row.enabled => evaluation.put_rule(Rule::new(row)?)?,
            Order::PutRule { row, .. } => evaluation.remove_rule(row.id)?,
            Order::RemoveRule { id, .. } => evaluation.remove_rule(*id)?,
            Order::Reconsider { device } => evaluation.reconsider(device)?,
            Order::Forget { device } => evaluation.forget(device),
            Order::Presence { device, online, at } => evaluation.presence(device, *online, *at)?,
        }
        Ok(Executed { judged: evaluation.judged, alarm })
    }
}

impl Engine {
    /// Judges who came and went, together: when a network fails these are many.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn follow_presence(
        &self,
        transaction: &mut Transaction<'_>,
        orders: &[Order],
        now: Timestamp,
    ) -> Result<Judged, StoreError> {
        let mut evaluation = Evaluation::new(self, transaction, now);
        for order in orders {
            if let Order::Presence { device, online, at } = order {
                evaluation.presence(device, *online, *at)?;
            }
        }
        Ok(evaluation.judged)
    }
}

impl Evaluation<'_, '_> {
    fn operate(
        &mut self,
        alarm_id: i64,
        action: Action,
        (actor, note): (Option<&str>, Option<&str>),
    ) -> Result<AlarmRow, OrderError> {
        let is_it =
            |entry: &Entry| entry.alarm.record.as_ref().is_some_and(|record| record.id == alarm_id);
        let found = self.engine.index.all().find(|(_, entry)| is_it(entry));
        let Some((id, entry)) = found else {
            return self.operate_orphan(alarm_id, action, (actor, note));
        };
        let at = entry.originator.device.arrival(self.now);
        // What was due before the command comes before it.
        self.tick(id, at)?;
        match action.command() {
            Some(command) => {
                self.change(id, Change::Command { command, at, actor, note })??;
            }
            None => self.clear(id, at, (actor, note))?,
        }
        let record = self.alarm(id).and_then(|alarm| alarm.record.as_ref());
        Ok(record.map(to_row).ok_or(CommandError::NoAlarm)?)
    }

    fn clear(
        &mut self,
        id: EntryId,
        at: Timestamp,
        (actor, note): (Option<&str>, Option<&str>),
    ) -> Result<(), OrderError> {
        if !self.is_active(id) {
            return Err(CommandError::NotActive.into());
        }
        for transition in self.step(id, Input::Clear { at }) {
            let change = if transition.kind == TransitionKind::ForcedClear {
                let command = Command::Clear(&transition);
                Change::Command { command, at, actor, note }
            } else {
                Change::Transition(&transition)
            };
            self.change(id, change)??;
        }
        Ok(())
    }

    fn operate_orphan(
        &mut self,
        alarm_id: i64,
        action: Action,
        (actor, note): (Option<&str>, Option<&str>),
    ) -> Result<AlarmRow, OrderError> {
        let mut alarm = self.engine.orphans.get(&alarm_id).cloned().ok_or(CommandError::Closed)?;
        let record = alarm.record.as_ref().ok_or(CommandError::NoAlarm)?;
        let policy = Policy::retired(record);
        let device = record.device.clone();
        let facts = Facts {
            device: &device,
            device_name: None,
            sensor: None,
            cause: None,
            unit: None,
            suppressed: false,
        };
        // Nothing active is without its rule.
        let command = action.command().ok_or(CommandError::NotActive)?;
        let change = Change::Command { command, at: self.now, actor, note };
        let outcome = alarm.apply(&policy, &facts, change)?;
        self.write(&mut alarm, outcome, &[], None)?;
        let record = alarm.record.as_ref().ok_or(CommandError::NoAlarm)?;
        let row = to_row(record);
        let stays = (!record.closed).then_some(alarm);
        self.judged.orphans.insert(alarm_id, stays);
        Ok(row)
    }

    fn put_rule(&mut self, rule: Rule) -> Result<(), StoreError> {
        let (rule, engine) = (Arc::new(rule), self.engine);
        let devices = engine.registry.all();
        let mut begun = Vec::new();
        for device in &devices {
            for originator in originators_of_rule(&rule, device) {
                let earlier = engine.index.find(rule.id, &originator);
                begun.push(self.begin(&rule, originator, earlier)?);
            }
            // One that no rule has looked at yet counts as looked at from here on.
            if engine.has_rules() && !engine.index.devices.contains_key(&device.id) {
                for (other, originator) in engine.index.originators(device) {
                    if other.id != rule.id {
                        begun.push(self.begin(&other, originator, None)?);
                    }
                }
            }
        }
        for id in engine.index.of_rule(rule.id) {
            if !self.judged.removed.contains(&id) {
                self.retire(id)?;
            }
        }
        let before = engine.index.rules.get(&rule.id).cloned();
        self.judged.known = devices;
        self.judged.rule = Some(RuleChange::Put(rule));
        for id in begun {
            self.settle_suppression(id)?;
            // What the rule suppressed as it was before may be another's alarms.
            if let (Some(before), Some((_, originator))) = (&before, self.subject(id)) {
                self.suppress_others(id, before, &originator)?;
            }
        }
        Ok(())
    }

    fn remove_rule(&mut self, id: i64) -> Result<(), StoreError> {
        for entry in self.engine.index.of_rule(id) {
            self.retire(entry)?;
        }
        self.judged.rule = Some(RuleChange::Take(id));
        Ok(())
    }

    fn reconsider(&mut self, device: &Arc<Device>) -> Result<(), StoreError> {
        let engine = self.engine;
        let registered = engine.registry.get(device.key.as_str());
        let is_gone = registered.is_none_or(|registered| registered.id != device.id);
        if is_gone || !engine.has_rules() {
            return Ok(());
        }
        let mut stay = Vec::new();
        let mut begun = Vec::new();
        for (rule, originator) in engine.index.originators(device) {
            match engine.index.find(rule.id, &originator) {
                Some(id) => stay.push(id),
                None => begun.push(self.begin(&rule, originator, None)?),
            }
        }
        let known = engine.index.devices.get(&device.id);
        for id in known.map(|known| known.all.clone()).unwrap_or_default() {
            if !stay.contains(&id) {
                self.retire(id)?;
            }
        }
        self.judged.known.push(device.clone());
        for id in begun {
            self.settle_suppression(id)?;
        }
        Ok(())
    }

    fn forget(&mut self, device: &Arc<Device>) {
        let engine = self.engine;
        let known = engine.index.devices.get(&device.id);
        self.judged.removed.extend(known.into_iter().flat_map(|known| &known.all));
        for (id, alarm) in &engine.orphans {
            if alarm.record.as_ref().is_some_and(|record| record.device == device.key) {
                self.judged.orphans.insert(*id, None);
            }
        }
        self.judged.forgotten.push(device.clone());
    }

    fn presence(
        &mut self,
        device: &Arc<Device>,
        online: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let known = self.engine.index.devices.get(&device.id);
        let asking = known.map(|known| known.presences.clone()).unwrap_or_default();
        if asking.is_empty() {
            return Ok(());
        }
        let at = device.arrival(at);
        for id in asking {
            self.feed(id, Input::Presence { online, at })?;
        }
        Ok(())
    }

    /// Makes the entry of an originator under a rule that was made or edited, or that is for it from
    /// here on. What `earlier` and the originator's open alarm were goes on.
    fn begin(
        &mut self,
        rule: &Arc<Rule>,
        originator: Originator,
        earlier: Option<EntryId>,
    ) -> Result<EntryId, StoreError> {
        let alarm = match earlier {
            Some(id) => {
                self.judged.removed.insert(id);
                self.alarm(id).cloned().unwrap_or_default()
            }
            None => self.take_orphan(rule.id, &originator),
        };
        let record = alarm.record.as_ref();
        let resume = record.map(crate::alarm::lifecycle::AlarmRecord::resume);
        let peak = record.filter(|record| record.active).and_then(|record| record.peak);
        let at = originator.device.arrival(self.now);
        let mut state = State::begin(&rule.compiled, resume.as_ref(), at);
        if let Some(peak) = peak {
            state.note_peak(&rule.compiled, peak);
        }
        let id = self.add_entry(Entry::new(rule.clone(), originator, state, alarm));
        self.feed_history(id, &[], at)?;
        self.tick(id, at)?;
        Ok(id)
    }

    fn take_orphan(&mut self, rule: i64, originator: &Originator) -> Alarm {
        let is_it = |alarm: &Alarm| {
            alarm.record.as_ref().is_some_and(|record| {
                let sensor = record.sensor.as_ref().map(|(id, _)| *id);
                record.rule_id == rule
                    && record.device == originator.device.key
                    && sensor == originator.sensor_id()
            })
        };
        let found = self.engine.orphans.iter().find(|(_, alarm)| is_it(alarm));
        let Some((id, alarm)) = found else { return Alarm::default() };
        self.judged.orphans.insert(*id, None);
        alarm.clone()
    }

    /// Takes an entry out: its alarm is cleared, and stays to be acknowledged where it was not.
    fn retire(&mut self, id: EntryId) -> Result<(), StoreError> {
        let (at, command) = (self.now, Command::DisableRule);
        let _ = self.change(id, Change::Command { command, at, actor: None, note: None })?;
        let alarm = self.alarm(id).cloned().unwrap_or_default();
        if let Some(record) = alarm.record.as_ref().filter(|record| !record.closed) {
            self.judged.orphans.insert(record.id, Some(alarm));
        }
        self.judged.removed.insert(id);
        Ok(())
    }

    /// What suppresses an entry's alarm, and what that suppresses, may be another than before.
    pub(super) fn settle_suppression(&mut self, id: EntryId) -> Result<(), StoreError> {
        let Some((rule, originator)) = self.subject(id) else { return Ok(()) };
        self.suppress_others(id, &rule, &originator)?;
        let open = |alarm: &Alarm| alarm.record.as_ref().is_some_and(|record| !record.closed);
        if self.alarm(id).is_some_and(open) {
            let is_suppressed = self.is_suppressed(id);
            let command = if is_suppressed { Command::Suppress } else { Command::Unsuppress };
            let change = Change::Command { command, at: self.now, actor: None, note: None };
            let _ = self.change(id, change)?;
        }
        Ok(())
    }
}
