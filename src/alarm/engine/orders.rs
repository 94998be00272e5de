//! Orders are carried out: those of operators with alarms, of editors with rules and devices, and
//! presence. Each order is judged in a transaction of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Engine, Judged,
    evaluation::{Evaluation, RuleChange},
    index::{Entry, EntryId, Originator, Rule, originators_of_rule},
    order::{Action, CarriedOut, Operated, Order, OrderError},
    rows::to_row,
};
use crate::{
    alarm::lifecycle::{
        Alarm, Change, Command, CommandError, Facts, Input, Notice, NoticeKind, Outcome, Policy,
        State, TransitionKind,
    },
    registry::Device,
    store::{AlarmRow, StoreError, Transaction},
    telemetry::{SensorId, Timestamp},
};

/// What became of an order.
pub struct Executed {
    pub judged: Judged,
    pub carried_out: CarriedOut,
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
        let mut carried_out = CarriedOut::Silently;
        match order {
            Order::Operate { alarm, action, actor, note, .. } => {
                let by = (actor.as_deref(), note.as_deref());
                let place = self.places_of(&[*alarm]).remove(alarm);
                let row = evaluation.operate(place, *alarm, *action, by)?;
                carried_out = CarriedOut::Alarm(Box::new(row));
            }
            Order::OperateAll { alarms, action, actor, note, .. } => {
                let by = (actor.as_deref(), note.as_deref());
                carried_out = CarriedOut::Each(evaluation.operate_all(alarms, *action, by)?);
            }
            Order::PutRule { row, .. } if row.enabled => evaluation.put_rule(Rule::new(row)?)?,
            Order::PutRule { row, .. } => evaluation.remove_rule(row.id)?,
            Order::RemoveRule { id, .. } => evaluation.remove_rule(*id)?,
            Order::Reconsider { device } => evaluation.reconsider(device)?,
            Order::Forget { device, sensor, .. } => evaluation.forget(device, *sensor)?,
            Order::Presence { device, online, at } => evaluation.presence(device, *online, *at)?,
        }
        Ok(Executed { judged: evaluation.judged, carried_out })
    }

    /// Where alarms are kept; those that are not named have no rule, are closed, or there are none.
    fn places_of(&self, alarms: &[i64]) -> HashMap<i64, EntryId> {
        let wanted: HashSet<i64> = alarms.iter().copied().collect();
        let entries = self.index.all().filter_map(|(place, entry)| {
            let alarm = entry.alarm.record.as_ref()?.id;
            wanted.contains(&alarm).then_some((alarm, place))
        });
        entries.collect()
    }

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
    fn operate_all(
        &mut self,
        alarms: &[i64],
        action: Action,
        by: (Option<&str>, Option<&str>),
    ) -> Result<Vec<Operated>, OrderError> {
        let places = self.engine.places_of(alarms);
        let mut each = Vec::with_capacity(alarms.len());
        for alarm in alarms {
            let place = places.get(alarm).copied();
            let done = match self.operate(place, *alarm, action, by) {
                Ok(_) => Ok(()),
                Err(OrderError::Refused(why)) => Err(why),
                Err(error) => return Err(error),
            };
            each.push((*alarm, done));
        }
        Ok(each)
    }

    fn operate(
        &mut self,
        place: Option<EntryId>,
        alarm_id: i64,
        action: Action,
        (actor, note): (Option<&str>, Option<&str>),
    ) -> Result<AlarmRow, OrderError> {
        let found = place.and_then(|id| Some((id, self.engine.index.entry(id)?)));
        let Some((id, entry)) = found else {
            return self.operate_orphan(alarm_id, action, (actor, note));
        };
        let at = entry.originator.device.arrival(self.now);
        // What was due before the command comes before it, another alarm perhaps.
        self.tick(id, at)?;
        let is_it = |alarm: &Alarm| alarm.record.as_ref().is_some_and(|it| it.id == alarm_id);
        if !self.alarm(id).is_some_and(is_it) {
            return Err(CommandError::Closed.into());
        }
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
        let targets = self.targets_of(&alarm);
        self.write(&mut alarm, outcome, &targets, None)?;
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
        let mut leaving = known.map(|known| known.all.clone()).unwrap_or_default();
        leaving.retain(|id| !stay.contains(id));
        // What one of them suppresses is not raised because it goes.
        self.judged.removed.extend(&leaving);
        for id in leaving {
            self.retire(id)?;
        }
        self.judged.known.push(device.clone());
        for id in begun {
            self.settle_suppression(id)?;
        }
        Ok(())
    }

    fn forget(&mut self, device: &Arc<Device>, sensor: Option<SensorId>) -> Result<(), StoreError> {
        let engine = self.engine;
        let is_its = |of: Option<SensorId>| sensor.is_none() || of == sensor;
        let known = engine.index.devices.get(&device.id);
        let mut leaving = known.map(|known| known.all.clone()).unwrap_or_default();
        leaving.retain(|id| self.subject(*id).is_some_and(|(_, it)| is_its(it.sensor_id())));
        // What one of them suppresses is not raised because it goes.
        self.judged.removed.extend(&leaving);
        for id in leaving {
            let (at, command) = (self.now, Command::DisableRule { worst: self.worst(id) });
            let _ = self.change(id, Change::Command { command, at, actor: None, note: None })?;
            if let (Some(mut alarm), Some((rule, originator))) =
                (self.alarm(id).cloned(), self.subject(id))
            {
                self.tell_end(&mut alarm, &rule.body.targets, Some((&rule, &originator)))?;
            }
        }
        for (id, alarm) in &engine.orphans {
            let record = alarm.record.as_ref().filter(|record| record.device == device.key);
            if record.is_some_and(|record| is_its(record.sensor.as_ref().map(|(id, _)| *id))) {
                let targets = self.targets_of(alarm);
                self.tell_end(&mut alarm.clone(), &targets, None)?;
                self.judged.orphans.insert(*id, None);
            }
        }
        if sensor.is_none() {
            self.judged.forgotten.push(device.clone());
        }
        Ok(())
    }

    /// Who is told of an alarm that has no entry: those of its rule, where that is still there.
    fn targets_of(&self, alarm: &Alarm) -> Vec<String> {
        let rule = alarm.record.as_ref().map(|record| record.rule_id);
        let rule = rule.and_then(|id| self.engine.index.rules.get(&id));
        rule.map_or_else(Vec::new, |rule| rule.body.targets.clone())
    }

    /// Tells the end of an alarm that is not active and will not be followed, though it is kept quiet.
    fn tell_end(
        &mut self,
        alarm: &mut Alarm,
        targets: &[String],
        subject: Option<(&Arc<Rule>, &Originator)>,
    ) -> Result<(), StoreError> {
        let Some(record) = alarm.record.as_mut().filter(|record| record.notified) else {
            return Ok(());
        };
        record.notified = false;
        let notice = Notice {
            kind: NoticeKind::Cleared,
            at: self.now,
            severity: record.severity,
            value: record.value,
            event_time: record.event_time,
            message: record.message.clone(),
        };
        let outcome = Outcome { is_changed: true, notices: vec![notice], ..Outcome::default() };
        self.write(alarm, outcome, targets, subject)
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
        let worst = earlier.and_then(|id| self.worst(id));
        let at = originator.device.arrival(self.now);
        let mut state = State::begin(&rule.compiled, resume.as_ref(), at);
        for peak in [peak, worst].into_iter().flatten() {
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

    /// Takes an entry out: its alarm is cleared, and stays to be acknowledged where it was not. Its end is
    /// told though it is kept quiet: nothing else will be heard of it.
    fn retire(&mut self, id: EntryId) -> Result<(), StoreError> {
        let (at, command) = (self.now, Command::DisableRule { worst: self.worst(id) });
        let _ = self.change(id, Change::Command { command, at, actor: None, note: None })?;
        let mut alarm = self.alarm(id).cloned().unwrap_or_default();
        if let Some((rule, originator)) = self.subject(id) {
            self.tell_end(&mut alarm, &rule.body.targets, Some((&rule, &originator)))?;
        }
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
