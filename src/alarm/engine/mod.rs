//! The engine: alarm rules over what the committer stores, judged before it is acknowledged.
//!
//! Owned by the committer's thread, so nothing here is locked. Each batch and each order is judged on
//! an overlay (`evaluation`) inside the transaction that stores it, and taken over by
//! [`Engine::adopt`] once that has committed: a transition, its notifications and the readings that
//! caused it are on disk together or not at all.
//!
//! Timers fire up to the watermark only: what arrived before it has been judged. Whatever comes later
//! is given a later arrival ([`Device::note_arrival`]), so what is judged live and what is judged
//! again after a restart come in the same order.

mod evaluation;
mod facts;
mod history;
mod index;
mod order;
mod orders;
mod rows;
mod start;
mod telling;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use metrics::{counter, gauge};

pub use evaluation::{Happened, Judged, News};
pub(super) use facts::{OwnedFacts, judged};
pub(super) use history::{Down, SLACK};
pub(super) use index::{Originator, Rule, originators_of_rule};
pub use order::{Action, CarriedOut, Done, Operated, Order, OrderError};
pub use start::Start;
pub(super) use start::downs;
pub(super) use telling::shown;

use self::{
    evaluation::{Evaluation, RuleChange},
    index::{Entry, EntryId, Index},
};
use super::{
    lifecycle::{Alarm, Change, Input},
    notify::Notifier,
    rule::Severity,
};
use crate::{
    metrics::names,
    registry::{Device, Registry, Sensor},
    store::{StoreError, StoredReading, Transaction},
    telemetry::Timestamp,
};

/// What was stamped that long ago is queued or judged; a timer waits for it.
const WATERMARK_LAG: i64 = 100_000;

/// What of a message is judged.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub device: &'a Arc<Device>,
    /// See [`Device::arrival`]; at most that of its readings.
    pub arrival: Timestamp,
    /// It shows that the device lives.
    pub is_sign: bool,
    /// The status that it reports.
    pub status: Option<&'a str>,
    /// What it stored, duplicates left out.
    pub fresh: &'a [(Arc<Sensor>, StoredReading)],
}

/// Something that becomes due without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer(EntryId);

pub struct Engine {
    index: Index,
    /// Open alarms of rules that are gone or disabled, and of originators that a rule is no longer
    /// for: nothing raises or clears them, people still acknowledge them.
    orphans: HashMap<i64, Alarm, RandomState>,
    timers: BTreeSet<(Timestamp, EntryId)>,
    registry: Arc<Registry>,
    notifier: Notifier,
    last_alarm_id: i64,
    active: [u32; Severity::ALL.len()],
}

impl Engine {
    /// Judges a batch's messages. Writes what comes of it with `transaction`.
    ///
    /// # Errors
    /// What the store says; nothing has changed then.
    pub fn evaluate<'m>(
        &self,
        transaction: &mut Transaction<'_>,
        messages: impl IntoIterator<Item = Message<'m>>,
        now: Timestamp,
    ) -> Result<Judged, StoreError> {
        if !self.has_rules() {
            return Ok(Judged::default());
        }
        let mut evaluation = Evaluation::new(self, transaction, now);
        for message in messages {
            evaluation.message(&message)?;
        }
        Ok(evaluation.judged)
    }

    /// What would happen to alarms if this were stored. Its transaction is to be rolled back.
    ///
    /// # Errors
    /// As above.
    pub fn preview<'m>(
        &self,
        transaction: &mut Transaction<'_>,
        messages: impl IntoIterator<Item = Message<'m>>,
        now: Timestamp,
    ) -> Result<Vec<Happened>, StoreError> {
        if !self.has_rules() {
            return Ok(Vec::new());
        }
        let mut evaluation = Evaluation::new(self, transaction, now);
        evaluation.judged.happened = Some(Vec::new());
        for message in messages {
            evaluation.message(&message)?;
        }
        Ok(evaluation.judged.happened.unwrap_or_default())
    }

    /// What is due by itself until `watermark`.
    pub fn due(&self, watermark: Timestamp) -> Vec<Timer> {
        self.timers.range(..=(watermark, EntryId::MAX)).map(|(_, id)| Timer(*id)).collect()
    }

    /// Fires timers, and those of the same states that are due until `watermark`.
    ///
    /// # Errors
    /// As [`Engine::evaluate`].
    pub fn fire(
        &self,
        transaction: &mut Transaction<'_>,
        timers: &[Timer],
        (watermark, now): (Timestamp, Timestamp),
    ) -> Result<Judged, StoreError> {
        let mut evaluation = Evaluation::new(self, transaction, now);
        for Timer(id) in timers {
            if let Some(entry) = self.index.entry(*id) {
                entry.originator.device.note_arrival(watermark);
            }
            evaluation.tick(*id, watermark)?;
        }
        evaluation.judged.watermark = Some(watermark);
        Ok(evaluation.judged)
    }

    /// Lets a timer be that can't be fired, until its state changes. Says which rule and originator it
    /// is of.
    pub fn park(&mut self, Timer(id): Timer) -> String {
        let Some(entry) = self.index.entry_mut(id) else { return String::new() };
        if let Some(at) = entry.timer.take() {
            self.timers.remove(&(at, id));
        }
        let sensor = entry.originator.sensor.as_ref().map_or("", |sensor| sensor.name.as_str());
        format!("{} {} {sensor}", entry.rule.body.name, entry.originator.device.key)
    }

    /// The store did not take anything for a while, so that nobody was heard: that is no silence.
    ///
    /// # Errors
    /// As [`Engine::evaluate`].
    pub fn note_stall(
        &self,
        transaction: &mut Transaction<'_>,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Judged, StoreError> {
        let mut evaluation = Evaluation::new(self, transaction, to);
        for (id, entry) in self.index.all() {
            entry.originator.device.note_arrival(to);
            evaluation.feed(id, Input::Down { from, to })?;
            let _ = evaluation.change(id, Change::Down { from, to })?;
        }
        Ok(evaluation.judged)
    }

    /// Takes over what an evaluation has changed: its transaction has committed, and devices and
    /// sensors that it saw for the first time are registered.
    pub fn adopt(&mut self, judged: Judged) {
        let must_show = !judged.added.is_empty()
            || !judged.removed.is_empty()
            || judged.touched.values().any(|touched| touched.alarm.is_some());
        match judged.rule {
            Some(RuleChange::Put(rule)) => self.index.put_rule(rule),
            Some(RuleChange::Take(id)) => drop(self.index.take_rule(id)),
            None => {}
        }
        for id in judged.removed {
            if let Some(entry) = self.index.remove(id) {
                self.forget(id, &entry);
            }
        }
        for (id, touched) in judged.touched {
            let Some(entry) = self.index.entry_mut(id) else { continue };
            entry.state = touched.state;
            if let Some(alarm) = touched.alarm {
                let before = entry.active_severity();
                entry.alarm = alarm;
                let after = entry.active_severity();
                count(&mut self.active, before, after);
            }
            self.index.note_quiet(id);
            self.set_timer(id, judged.watermark);
        }
        for added in judged.sensors.values() {
            if self.index.devices.contains_key(&added.device.id) {
                self.index.attach_sensor(&added.device, &added.sensor);
            }
        }
        for entry in judged.added {
            count(&mut self.active, None, entry.active_severity());
            let id = self.index.insert(entry);
            self.set_timer(id, judged.watermark);
        }
        for device in judged.devices.values().map(|(device, _)| device).chain(&judged.known) {
            self.index.note_known(device);
        }
        for (sensor, newest) in judged.newest {
            if let Some(known) = self.index.sensors.get_mut(&sensor) {
                known.newest = known.newest.max(Some(newest));
            }
        }
        for (id, orphan) in judged.orphans {
            match orphan {
                Some(alarm) => drop(self.orphans.insert(id, alarm)),
                None => drop(self.orphans.remove(&id)),
            }
        }
        for device in judged.forgotten {
            self.index.forget_device(device.id, &device.sensors());
        }
        if !self.has_rules() {
            self.index.forget_all();
            self.timers.clear();
        }
        self.last_alarm_id += judged.alarms_started;
        for (kind, count) in judged.events {
            counter!(names::ALARM_EVENTS, "kind" => kind).increment(count);
        }
        if judged.has_told {
            self.notifier.wake();
        }
        if must_show {
            self.show();
        }
    }

    /// When [`Engine::due`] has something.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| at.plus_micros(WATERMARK_LAG))
    }

    /// Up to when everything that arrived is judged once what is taken from the queue is: `oldest`
    /// is the oldest time of receipt of what stays there.
    pub fn watermark(now: Timestamp, oldest: Option<Timestamp>) -> Timestamp {
        let settled = now.plus_micros(-WATERMARK_LAG);
        oldest.map_or(settled, |oldest| settled.min(oldest))
    }

    pub(super) fn has_rules(&self) -> bool {
        !self.index.rules.is_empty()
    }

    fn forget(&mut self, id: EntryId, entry: &Entry) {
        if let Some(at) = entry.timer {
            self.timers.remove(&(at, id));
        }
        count(&mut self.active, entry.active_severity(), None);
    }

    /// A deadline that moves away leaves its timer where it is: it then fires early, for nothing, once.
    fn set_timer(&mut self, id: EntryId, fired_until: Option<Timestamp>) {
        let Some(entry) = self.index.entry_mut(id) else { return };
        let due = entry.next_deadline();
        let has_fired = entry.timer.is_some_and(|at| Some(at) <= fired_until);
        let is_earlier = due.is_some_and(|due| entry.timer.is_none_or(|at| due < at));
        if !has_fired && !is_earlier {
            return;
        }
        if let Some(at) = entry.timer.take() {
            self.timers.remove(&(at, id));
        }
        if let Some(due) = due {
            // A timer that stays due would spin.
            let due = due.max(fired_until.map_or(due, |until| until.plus_micros(1)));
            entry.timer = Some(due);
            self.timers.insert((due, id));
        }
    }

    fn show(&self) {
        for (severity, count) in Severity::ALL.into_iter().zip(self.active) {
            gauge!(names::ALARMS_ACTIVE, "severity" => severity.as_str()).set(f64::from(count));
        }
    }
}

fn count(
    active: &mut [u32; Severity::ALL.len()],
    before: Option<Severity>,
    after: Option<Severity>,
) {
    if before == after {
        return;
    }
    if let Some(count) = before.and_then(|severity| active.get_mut(severity as usize)) {
        *count = count.saturating_sub(1);
    }
    if let Some(count) = after.and_then(|severity| active.get_mut(severity as usize)) {
        *count += 1;
    }
}
