//! One batch or one order, judged inside its transaction on an overlay: the engine is not touched
//! until the transaction has committed, and is untouched when it has not.
//!
//! What changes of an alarm is written at once, in the order in which it happens; so an alarm that
//! closes is saved before the one that takes its place.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    Engine, Message,
    facts::{OwnedFacts, judged},
    index::{DeviceEntries, Entry, EntryId, Originator, Reader, Rule, Subject},
    rows::{to_event_row, to_row},
    telling::{Told, note_held_back, tell},
};
use crate::{
    alarm::{
        lifecycle::{
            Alarm, Change, Command, CommandError, EventKind, Input, Outcome, Slot, State,
            Transition, step,
        },
        rule::Severity,
    },
    registry::{Device, Sensor},
    store::{AlarmEventRow, AlarmRow, StoreError, StoredReading, Transaction},
    telemetry::{DeviceId, DeviceKey, SensorId, SensorName, Timestamp},
};

/// Entries made by an evaluation are numbered from here on until the engine has taken them over.
const ADDED: EntryId = EntryId::MAX / 2;

/// Everything that an evaluation has changed, for [`Engine::adopt`].
#[derive(Default)]
pub struct Judged {
    pub(super) touched: HashMap<EntryId, Touched, RandomState>,
    pub(super) added: Vec<Entry>,
    /// Their numbers by device.
    added_of: HashMap<DeviceId, Vec<EntryId>, RandomState>,
    pub(super) removed: HashSet<EntryId, RandomState>,
    /// Devices that were not known, with the numbers of their added entries.
    pub(super) devices: HashMap<DeviceId, (Arc<Device>, DeviceEntries), RandomState>,
    pub(super) sensors: HashMap<SensorId, AddedSensor, RandomState>,
    pub(super) newest: HashMap<SensorId, Timestamp, RandomState>,
    pub(super) rule: Option<RuleChange>,
    /// Open alarms without an entry: as they stand, or gone.
    pub(super) orphans: HashMap<i64, Option<Alarm>, RandomState>,
    pub(super) alarms_started: i64,
    pub(super) events: Vec<(&'static str, u64)>,
    pub(super) news: Vec<News>,
    pub(super) has_told: bool,
    pub(super) watermark: Option<Timestamp>,
    /// Devices that every rule in force has looked at.
    pub(super) known: Vec<Arc<Device>>,
    /// Deleted devices.
    pub(super) forgotten: Vec<Arc<Device>>,
    /// What happened, where somebody wants to see it.
    pub(super) happened: Option<Vec<Happened>>,
}

/// Something that happens to an alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    pub kind: EventKind,
    pub rule: String,
    pub device: DeviceKey,
    pub sensor: Option<SensorName>,
    pub severity: Severity,
    pub value: Option<f64>,
    pub message: String,
}

/// What one change has done to an alarm, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// As it stands after all of them.
    pub alarm: AlarmRow,
    pub events: Vec<AlarmEventRow>,
}

impl Judged {
    /// For those who listen, once it is committed; in the order of the events' numbers.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }
}

#[derive(Debug)]
pub(super) struct Touched {
    pub(super) state: State,
    /// `None`: as it was.
    pub(super) alarm: Option<Alarm>,
}

/// A sensor that was not known.
pub(super) struct AddedSensor {
    pub(super) device: Arc<Device>,
    pub(super) sensor: Arc<Sensor>,
    readers: Vec<(EntryId, Slot)>,
}

#[derive(Debug, Clone)]
pub(super) enum RuleChange {
    Put(Arc<Rule>),
    Take(i64),
}

pub(super) struct Evaluation<'a, 'txn> {
    pub(super) engine: &'a Engine,
    pub(super) transaction: &'a mut Transaction<'txn>,
    /// When this is done, by our clock.
    pub(super) now: Timestamp,
    pub(super) judged: Judged,
    transitions: Vec<Transition>,
}

impl<'a, 'txn> Evaluation<'a, 'txn> {
    pub(super) fn new(
        engine: &'a Engine,
        transaction: &'a mut Transaction<'txn>,
        now: Timestamp,
    ) -> Self {
        let judged = Judged::default();
        Self { engine, transaction, now, judged, transitions: Vec::new() }
    }

    pub(super) fn message(&mut self, message: &Message<'_>) -> Result<(), StoreError> {
        let of_device = self.of_device(message.device);
        if message.is_sign && !of_device.signs.is_empty() {
            for id in of_device.signs.clone() {
                self.feed(id, Input::Sign { at: message.arrival })?;
            }
        }
        if let Some(text) = message.status {
            for id in self.of_device(message.device).statuses.clone() {
                self.feed(id, Input::Status { text, at: message.arrival })?;
            }
        }
        // One message may bring several readings of one sensor; their order is that of replays.
        if message.fresh.is_sorted_by_key(|(sensor, reading)| (reading.received_at, sensor.id)) {
            for (sensor, reading) in message.fresh {
                self.reading(message.device, sensor, reading)?;
            }
        } else {
            let mut fresh: Vec<_> = message.fresh.iter().collect();
            fresh.sort_by_key(|(sensor, reading)| (reading.received_at, sensor.id));
            for (sensor, reading) in fresh {
                self.reading(message.device, sensor, reading)?;
            }
        }
        Ok(())
    }

    fn reading(
        &mut self,
        device: &Arc<Device>,
        sensor: &Arc<Sensor>,
        reading: &StoredReading,
    ) -> Result<(), StoreError> {
        let known = self.engine.index.sensors.get(&sensor.id);
        let newest = match self.judged.newest.get(&sensor.id) {
            Some(newest) => Some(*newest),
            None => known.and_then(|known| known.newest),
        };
        let (mut judged, newest) = judged(reading, newest);
        self.judged.newest.insert(sensor.id, newest);
        let engine = self.engine;
        if let Some(known) = known {
            for Reader { entry, slot, quiet } in &known.readers {
                if quiet.holds(&judged) && !self.judged.touched.contains_key(entry) {
                    continue;
                }
                judged.sensor = *slot;
                self.feed(*entry, Input::Reading(judged))?;
            }
            return Ok(());
        }
        debug_assert!(engine.has_rules());
        for (id, slot) in self.added_sensor(device, sensor) {
            judged.sensor = slot;
            self.feed(id, Input::Reading(judged))?;
        }
        Ok(())
    }

    /// The entries of a device; those that rules have for a device that is seen for the first time
    /// are made.
    fn of_device(&mut self, device: &Arc<Device>) -> &DeviceEntries {
        let engine = self.engine;
        if let Some(known) = engine.index.devices.get(&device.id) {
            return known;
        }
        if !self.judged.devices.contains_key(&device.id) {
            let mut entries = DeviceEntries::default();
            for (rule, originator) in engine.index.originators(device) {
                let id = self.add(&rule, originator);
                entries.add(id, &rule.compiled);
            }
            self.judged.devices.insert(device.id, (device.clone(), entries));
        }
        let (_, entries) = self
            .judged
            .devices
            .entry(device.id)
            .or_insert_with(|| (device.clone(), DeviceEntries::default()));
        entries
    }

    /// Who looks at a sensor that is seen for the first time.
    fn added_sensor(&mut self, device: &Arc<Device>, sensor: &Arc<Sensor>) -> Vec<(EntryId, Slot)> {
        if let Some(added) = self.judged.sensors.get(&sensor.id) {
            return added.readers.clone();
        }
        let mut readers = Vec::new();
        for id in self.of_device(device).all.clone() {
            if let Some((rule, originator)) = self.subject(id)
                && originator.sensor.is_none()
                && let Some(slot) = rule.compiled.slot(sensor.name.as_str())
            {
                readers.push((id, slot));
            }
        }
        for (rule, originator) in self.engine.index.originators_of_sensor(device, sensor) {
            let id = self.add(&rule, originator);
            if let Some((_, entries)) = self.judged.devices.get_mut(&device.id) {
                entries.add(id, &rule.compiled);
            }
            readers.push((id, Slot(0)));
        }
        let (device, sensor) = (device.clone(), sensor.clone());
        let added = AddedSensor { device, sensor, readers: readers.clone() };
        self.judged.sensors.insert(added.sensor.id, added);
        readers
    }

    fn add(&mut self, rule: &Arc<Rule>, originator: Originator) -> EntryId {
        let state = State::new(&rule.compiled);
        self.add_entry(Entry::new(rule.clone(), originator, state, Alarm::default()))
    }

    pub(super) fn add_entry(&mut self, entry: Entry) -> EntryId {
        let id = Self::added_id(self.judged.added.len());
        self.judged.added_of.entry(entry.originator.device.id).or_default().push(id);
        self.judged.added.push(entry);
        id
    }

    pub(super) fn added_id(place: usize) -> EntryId {
        ADDED + place
    }

    pub(super) fn subject(&self, id: EntryId) -> Option<Subject> {
        let entry = match id.checked_sub(ADDED) {
            Some(place) => self.judged.added.get(place)?,
            None => self.engine.index.entry(id)?,
        };
        Some((entry.rule.clone(), entry.originator.clone()))
    }

    pub(super) fn alarm(&self, id: EntryId) -> Option<&Alarm> {
        if let Some(place) = id.checked_sub(ADDED) {
            return self.judged.added.get(place).map(|entry| &entry.alarm);
        }
        let touched = self.judged.touched.get(&id).and_then(|touched| touched.alarm.as_ref());
        touched.or_else(|| self.engine.index.entry(id).map(|entry| &entry.alarm))
    }

    /// The worst value that an entry's active alarm has seen.
    pub(super) fn worst(&self, id: EntryId) -> Option<f64> {
        let entry = self.engine.index.entry(id)?;
        let touched = self.judged.touched.get(&id).map(|touched| &touched.state);
        touched.unwrap_or(&entry.state).worst(&entry.rule.compiled)
    }

    pub(super) fn is_active(&self, id: EntryId) -> bool {
        let record = self.alarm(id).and_then(|alarm| alarm.record.as_ref());
        record.is_some_and(|record| record.active)
    }

    fn touch(&mut self, id: EntryId) -> Option<&mut Touched> {
        let entry = self.engine.index.entry(id)?;
        let untouched = || Touched { state: entry.state.clone(), alarm: None };
        Some(self.judged.touched.entry(id).or_insert_with(untouched))
    }

    /// Judges one input of an entry.
    pub(super) fn feed(&mut self, id: EntryId, input: Input<'_>) -> Result<(), StoreError> {
        let transitions = self.step(id, input);
        for transition in &transitions {
            // A transition fits every alarm.
            let _ = self.change(id, Change::Transition(transition))?;
        }
        self.transitions = transitions;
        Ok(())
    }

    /// The transitions of one input, not applied yet.
    pub(super) fn step(&mut self, id: EntryId, input: Input<'_>) -> Vec<Transition> {
        let mut transitions = std::mem::take(&mut self.transitions);
        transitions.clear();
        match id.checked_sub(ADDED) {
            Some(place) => {
                if let Some(entry) = self.judged.added.get_mut(place) {
                    step(&entry.rule.compiled, &mut entry.state, input, &mut transitions);
                }
            }
            None => {
                let engine = self.engine;
                if let (Some(entry), Some(touched)) = (engine.index.entry(id), self.touch(id)) {
                    step(&entry.rule.compiled, &mut touched.state, input, &mut transitions);
                }
            }
        }
        transitions
    }

    /// Fires the timers of an entry and its alarm that are due.
    pub(super) fn tick(&mut self, id: EntryId, watermark: Timestamp) -> Result<(), StoreError> {
        self.feed(id, Input::Tick { watermark })?;
        let is_due = match self.subject(id) {
            None => false,
            Some((rule, _)) => self
                .alarm(id)
                .and_then(|alarm| alarm.next_deadline(&rule.policy))
                .is_some_and(|deadline| deadline <= watermark),
        };
        if is_due {
            let _ = self.change(id, Change::Tick(watermark))?;
        }
        Ok(())
    }

    /// Applies one change to an entry's alarm and writes what comes of it; then to the alarms that
    /// it suppresses.
    pub(super) fn change(
        &mut self,
        id: EntryId,
        change: Change<'_>,
    ) -> Result<Result<(), CommandError>, StoreError> {
        let Some((rule, originator)) = self.subject(id) else {
            return Ok(Err(CommandError::NoAlarm));
        };
        let was_active = self.is_active(id);
        let mut alarm = self.alarm(id).cloned().unwrap_or_default();
        let facts = OwnedFacts::new(&rule, &originator, change, || self.is_suppressed(id));
        let outcome = match alarm.apply(&rule.policy, &facts.borrow(), change) {
            Ok(outcome) => outcome,
            Err(error) => return Ok(Err(error)),
        };
        if outcome == Outcome::default() {
            return Ok(Ok(()));
        }
        self.write(&mut alarm, outcome, &rule.body.targets, Some((&rule, &originator)))?;
        match id.checked_sub(ADDED) {
            Some(place) => {
                if let Some(entry) = self.judged.added.get_mut(place) {
                    entry.alarm = alarm;
                }
            }
            None => {
                if let Some(touched) = self.touch(id) {
                    touched.alarm = Some(alarm);
                }
            }
        }
        if self.is_active(id) != was_active {
            self.suppress_others(id, &rule, &originator)?;
        }
        Ok(Ok(()))
    }

    /// Writes an alarm, its events and who is to be told.
    pub(super) fn write(
        &mut self,
        alarm: &mut Alarm,
        outcome: Outcome,
        targets: &[String],
        subject: Option<(&Arc<Rule>, &Originator)>,
    ) -> Result<(), StoreError> {
        let Some(record) = &mut alarm.record else { return Ok(()) };
        if outcome.is_started {
            self.judged.alarms_started += 1;
            record.id = self.engine.last_alarm_id + self.judged.alarms_started;
        }
        let alarm = to_row(record);
        self.transaction.save_alarm(&alarm)?;
        let mut events = Vec::with_capacity(outcome.events.len());
        for event in outcome.events {
            self.judged.events.push((event.kind.as_str(), 1));
            if let Some(happened) = &mut self.judged.happened {
                happened.push(Happened {
                    kind: event.kind,
                    rule: record.rule_name.clone(),
                    device: record.device.clone(),
                    sensor: record.sensor.as_ref().map(|(_, name)| name.clone()),
                    severity: event.severity,
                    value: event.value,
                    message: record.message.clone(),
                });
            }
            let mut row = to_event_row(record.id, event);
            row.id = self.transaction.append_alarm_event(&row)?;
            events.push(row);
        }
        let last_event = events.last().map(|event| event.id);
        if !events.is_empty() {
            self.judged.news.push(News { alarm, events });
        }
        let told = Told { record, subject, targets, event: last_event, now: self.now };
        for notice in &outcome.notices {
            let routing = self.engine.notifier.routing();
            self.judged.has_told |= tell(self.transaction, &routing, &told, notice)?;
        }
        if let Some(notice) = &outcome.held_back {
            note_held_back(self.transaction, &self.engine.notifier.routing(), &told, notice)?;
        }
        Ok(())
    }

    /// The other entries of an entry's device.
    fn siblings(&self, originator: &Originator) -> Vec<EntryId> {
        let device = originator.device.id;
        let known = self.engine.index.devices.get(&device);
        let added = self.judged.devices.get(&device).map(|(_, entries)| entries);
        let listed = known.or(added).map(|entries| entries.all.clone()).unwrap_or_default();
        let mut ids = listed;
        ids.extend(self.judged.added_of.get(&device).into_iter().flatten());
        ids.retain(|id| !self.judged.removed.contains(id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether an alarm that suppresses those of an entry is active.
    pub(super) fn is_suppressed(&self, id: EntryId) -> bool {
        let Some((rule, originator)) = self.subject(id) else { return false };
        self.siblings(&originator).into_iter().filter(|other| *other != id).any(|other| {
            self.is_active(other)
                && self.subject(other).is_some_and(|(other, _)| rule.is_suppressed_by(&other))
        })
    }

    /// An alarm has become active, or is so no more: what it suppresses follows.
    pub(super) fn suppress_others(
        &mut self,
        cause: EntryId,
        rule: &Arc<Rule>,
        originator: &Originator,
    ) -> Result<(), StoreError> {
        for other in self.siblings(originator) {
            let Some((other_rule, _)) = self.subject(other) else { continue };
            if other == cause || !other_rule.is_suppressed_by(rule) {
                continue;
            }
            let is_open = |alarm: &Alarm| alarm.record.as_ref().is_some_and(|it| !it.closed);
            if self.alarm(other).is_some_and(is_open) {
                let suppressed = self.is_suppressed(other);
                let command = if suppressed { Command::Suppress } else { Command::Unsuppress };
                let at = self.now;
                let change = Change::Command { command, at, actor: None, note: None };
                let _ = self.change(other, change)?;
            }
        }
        Ok(())
    }
}
