//! Rules and originators: which states a reading, a message or a change of presence concerns.
//!
//! An entry is the state of one originator under one rule. Entries are made when a device or sensor is
//! seen for the first time, and for all that are known at start; a reading then finds its entries by
//! its sensor's number, however many rules there are. A device or sensor that stands here has been
//! looked at by every rule in force.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::{
    alarm::{
        lifecycle::{Alarm, CompiledRule, Policy, Quiet, Slot, State},
        rule::{AlarmRule, InvalidRule, ScopedDevice, ScopedSensor, Severity},
    },
    registry::{Device, Sensor},
    store::AlarmRuleRow,
    telemetry::{Approval, DeviceId, SensorId, Timestamp},
};

pub(super) type EntryId = usize;

/// Whom a rule is for.
pub(super) type Subject = (Arc<Rule>, Originator);

/// A rule that is in force.
#[derive(Debug)]
pub(in crate::alarm) struct Rule {
    pub(in crate::alarm) id: i64,
    pub(in crate::alarm) version: i64,
    pub(super) updated_at: Timestamp,
    pub(in crate::alarm) body: AlarmRule,
    pub(in crate::alarm) compiled: CompiledRule,
    pub(in crate::alarm) policy: Policy,
}

impl Rule {
    pub(super) fn new(row: &AlarmRuleRow) -> Result<Self, InvalidRule> {
        let mut body = AlarmRule::from_json(&row.body)?;
        body.enabled = row.enabled;
        Self::of(body, (row.id, row.version), row.updated_at)
    }

    pub(in crate::alarm) fn of(
        body: AlarmRule,
        (id, version): (i64, i64),
        updated_at: Timestamp,
    ) -> Result<Self, InvalidRule> {
        let compiled = CompiledRule::new(&body)?;
        let policy = Policy::new(id, version, &body);
        Ok(Self { id, version, updated_at, body, compiled, policy })
    }

    /// Whether an active alarm of `other` for the same device suppresses this rule's: it is named, or
    /// nothing is and this one asks for readings that a device does not send while it is away.
    pub(super) fn is_suppressed_by(&self, other: &Self) -> bool {
        match self.body.suppressed_by.as_slice() {
            [] => self.compiled.asks_absence() && other.asks_for_the_device(),
            named => named.contains(&other.body.name),
        }
    }

    /// Whether it is about a device that is away, and not about its readings.
    fn asks_for_the_device(&self) -> bool {
        let asks = self.compiled.asks_presence() || self.compiled.asks_signs();
        asks && !self.compiled.asks_absence()
    }
}

/// Whom a state is about.
#[derive(Debug, Clone)]
pub(in crate::alarm) struct Originator {
    pub(in crate::alarm) device: Arc<Device>,
    /// `None` in a rule with one state per device.
    pub(in crate::alarm) sensor: Option<Arc<Sensor>>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) rule: Arc<Rule>,
    pub(super) originator: Originator,
    pub(super) state: State,
    pub(super) alarm: Alarm,
    /// When it stands among the timers.
    pub(super) timer: Option<Timestamp>,
}

impl Entry {
    pub(super) fn new(rule: Arc<Rule>, originator: Originator, state: State, alarm: Alarm) -> Self {
        Self { rule, originator, state, alarm, timer: None }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let (state, alarm) =
            (self.state.next_deadline(), self.alarm.next_deadline(&self.rule.policy));
        match (state, alarm) {
            (Some(state), Some(alarm)) => Some(state.min(alarm)),
            (one, other) => one.or(other),
        }
    }

    /// The severity that it counts with among the active alarms.
    pub(super) fn active_severity(&self) -> Option<Severity> {
        self.alarm.record.as_ref().filter(|record| record.active).map(|record| record.severity)
    }
}

impl Originator {
    pub(in crate::alarm) fn sensor_id(&self) -> Option<SensorId> {
        self.sensor.as_ref().map(|sensor| sensor.id)
    }
}

/// What of one sensor is judged.
#[derive(Debug, Default)]
pub(super) struct SensorEntries {
    pub(super) newest: Option<Timestamp>,
    pub(super) readers: Vec<Reader>,
}

/// An entry that looks at a sensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    pub(super) entry: EntryId,
    pub(super) slot: Slot,
    /// As long as the entry is as it is.
    pub(super) quiet: Quiet,
}

/// What of one device is judged.
#[derive(Debug, Clone, Default)]
pub(super) struct DeviceEntries {
    /// Its sensors' entries among them.
    pub(super) all: Vec<EntryId>,
    /// Those that every message of the device matters to.
    pub(super) signs: Vec<EntryId>,
    pub(super) statuses: Vec<EntryId>,
    pub(super) presences: Vec<EntryId>,
}

impl DeviceEntries {
    pub(super) fn add(&mut self, id: EntryId, rule: &CompiledRule) {
        self.all.push(id);
        if rule.asks_signs() {
            self.signs.push(id);
        }
        if rule.asks_status() {
            self.statuses.push(id);
        }
        if rule.asks_presence() {
            self.presences.push(id);
        }
    }

    fn remove(&mut self, id: EntryId) {
        for list in [&mut self.all, &mut self.signs, &mut self.statuses, &mut self.presences] {
            list.retain(|known| *known != id);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) rules: HashMap<i64, Arc<Rule>, RandomState>,
    /// Rules whose scope lists devices, by device; the others are `general`.
    by_device: HashMap<String, Vec<i64>, RandomState>,
    general: Vec<i64>,
    entries: Vec<Option<Entry>>,
    free: Vec<EntryId>,
    pub(super) sensors: HashMap<SensorId, SensorEntries, RandomState>,
    pub(super) devices: HashMap<DeviceId, DeviceEntries, RandomState>,
}

impl Index {
    pub(super) fn put_rule(&mut self, rule: Arc<Rule>) {
        self.take_rule(rule.id);
        if rule.body.scope.devices.is_empty() {
            self.general.push(rule.id);
        }
        for device in &rule.body.scope.devices {
            self.by_device.entry(device.clone()).or_default().push(rule.id);
        }
        self.rules.insert(rule.id, rule);
    }

    pub(super) fn take_rule(&mut self, id: i64) -> Option<Arc<Rule>> {
        let rule = self.rules.remove(&id)?;
        self.general.retain(|known| *known != id);
        for device in &rule.body.scope.devices {
            if let Some(rules) = self.by_device.get_mut(device) {
                rules.retain(|known| *known != id);
                if rules.is_empty() {
                    self.by_device.remove(device);
                }
            }
        }
        Some(rule)
    }

    /// Rules in force that may be for the device, as far as their list of devices says.
    fn candidates(&self, device: &str) -> impl Iterator<Item = &Arc<Rule>> {
        let listed = self.by_device.get(device).into_iter().flatten();
        listed.chain(&self.general).filter_map(|id| self.rules.get(id))
    }

    /// Whom of a device and its sensors the rules are for: nobody where its messages are not taken.
    pub(super) fn originators(&self, device: &Arc<Device>) -> Vec<Subject> {
        if device.approval() != Approval::Active {
            return Vec::new();
        }
        let scoped = DeviceFacts::of(device);
        let rules: Vec<_> = self
            .candidates(device.key.as_str())
            .filter(|rule| rule.body.enabled && rule.body.scope.matches_device(&scoped.facts()))
            .cloned()
            .collect();
        let sensors = device.sensors();
        let mut found = Vec::new();
        for rule in rules {
            found.extend(originators_of(&rule, device, &sensors));
        }
        found
    }

    /// As [`Self::originators`], of one sensor that has just been seen: the states of its own.
    pub(super) fn originators_of_sensor(
        &self,
        device: &Arc<Device>,
        sensor: &Arc<Sensor>,
    ) -> Vec<Subject> {
        let scoped = DeviceFacts::of(device);
        let mut found = Vec::new();
        for rule in self.candidates(device.key.as_str()) {
            let is_for = rule.body.enabled
                && !rule.compiled.is_per_device()
                && rule.body.scope.matches_device(&scoped.facts());
            if is_for {
                found.extend(originators_of(rule, device, std::slice::from_ref(sensor)));
            }
        }
        found
    }

    pub(super) fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(id)?.as_ref()
    }

    pub(super) fn entry_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.get_mut(id)?.as_mut()
    }

    /// The states of a rule or of a device may be many; these are the ones of one originator.
    pub(super) fn find(&self, rule: i64, originator: &Originator) -> Option<EntryId> {
        let device = self.devices.get(&originator.device.id)?;
        device.all.iter().copied().find(|id| {
            self.entry(*id).is_some_and(|entry| {
                let sensor = entry.originator.sensor_id();
                entry.rule.id == rule && sensor == originator.sensor_id()
            })
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.entries.iter().enumerate().filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }

    /// Entries of one rule.
    pub(super) fn of_rule(&self, rule: i64) -> Vec<EntryId> {
        self.all().filter(|(_, entry)| entry.rule.id == rule).map(|(id, _)| id).collect()
    }

    /// The readers of a device's sensor under a rule with one state per device are added when the
    /// sensor is known, see [`Self::attach_sensor`].
    pub(super) fn insert(&mut self, entry: Entry) -> EntryId {
        let id = self.free.pop().unwrap_or(self.entries.len());
        let device = entry.originator.device.clone();
        self.devices.entry(device.id).or_default().add(id, &entry.rule.compiled);
        match &entry.originator.sensor {
            Some(sensor) => {
                let quiet = entry.state.quiet(&entry.rule.compiled);
                self.sensor(sensor).readers.push(Reader { entry: id, slot: Slot(0), quiet });
            }
            None => {
                for sensor in device.sensors() {
                    if let Some(slot) = entry.rule.compiled.slot(sensor.name.as_str()) {
                        let quiet = Quiet::NEVER;
                        self.sensor(&sensor).readers.push(Reader { entry: id, slot, quiet });
                    }
                }
            }
        }
        match self.entries.get_mut(id) {
            Some(place) => *place = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        id
    }

    /// An entry's state has changed: other readings leave it alone than before.
    pub(super) fn note_quiet(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get(id).and_then(Option::as_ref) else { return };
        let Some(sensor) = &entry.originator.sensor else { return };
        let readers = self.sensors.get_mut(&sensor.id).map(|known| &mut known.readers);
        let own = readers.into_iter().flatten().find(|reader| reader.entry == id);
        if let Some(reader) = own {
            reader.quiet = entry.state.quiet(&entry.rule.compiled);
        }
    }

    pub(super) fn remove(&mut self, id: EntryId) -> Option<Entry> {
        let entry = self.entries.get_mut(id)?.take()?;
        self.free.push(id);
        if let Some(device) = self.devices.get_mut(&entry.originator.device.id) {
            device.remove(id);
        }
        for sensor in entry.originator.device.sensors() {
            if let Some(known) = self.sensors.get_mut(&sensor.id) {
                known.readers.retain(|reader| reader.entry != id);
            }
        }
        if let Some(sensor) = &entry.originator.sensor
            && let Some(known) = self.sensors.get_mut(&sensor.id)
        {
            known.readers.retain(|reader| reader.entry != id);
        }
        Some(entry)
    }

    /// A sensor that is seen for the first time, for the states of its device that look at it.
    pub(super) fn attach_sensor(&mut self, device: &Device, sensor: &Arc<Sensor>) {
        let of_device = self.devices.get(&device.id);
        let mut readers = Vec::new();
        for id in of_device.into_iter().flat_map(|device| &device.all) {
            let Some(entry) = self.entries.get(*id).and_then(Option::as_ref) else { continue };
            if entry.originator.sensor.is_none()
                && let Some(slot) = entry.rule.compiled.slot(sensor.name.as_str())
            {
                readers.push(Reader { entry: *id, slot, quiet: Quiet::NEVER });
            }
        }
        self.sensor(sensor).readers.extend(readers);
    }

    pub(super) fn sensor(&mut self, sensor: &Sensor) -> &mut SensorEntries {
        self.sensors.entry(sensor.id).or_insert_with(|| SensorEntries {
            newest: sensor.newest().map(|reading| reading.event_time),
            readers: Vec::new(),
        })
    }

    /// Every rule in force has looked at the device and its sensors.
    pub(super) fn note_known(&mut self, device: &Arc<Device>) {
        self.devices.entry(device.id).or_default();
        for sensor in device.sensors() {
            self.sensor(&sensor);
        }
    }

    pub(super) fn forget_device(&mut self, device: DeviceId, sensors: &[Arc<Sensor>]) {
        self.devices.remove(&device);
        for sensor in sensors {
            self.sensors.remove(&sensor.id);
        }
    }

    /// Without rules nothing is followed.
    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }
}

/// Whom of a device and its sensors one rule is for.
pub(in crate::alarm) fn originators_of_rule(
    rule: &Arc<Rule>,
    device: &Arc<Device>,
) -> Vec<Originator> {
    let scoped = DeviceFacts::of(device);
    let is_heard = device.approval() == Approval::Active;
    if !is_heard || !rule.body.scope.matches_device(&scoped.facts()) {
        return Vec::new();
    }
    let found = originators_of(rule, device, &device.sensors());
    found.into_iter().map(|(_, originator)| originator).collect()
}

/// Whom of one device's sensors a rule that is for the device is for.
pub(super) fn originators_of(
    rule: &Arc<Rule>,
    device: &Arc<Device>,
    sensors: &[Arc<Sensor>],
) -> Vec<Subject> {
    if rule.compiled.is_per_device() {
        let originator = Originator { device: device.clone(), sensor: None };
        return vec![(rule.clone(), originator)];
    }
    let is_for = |sensor: &&Arc<Sensor>| {
        let is_heard = sensor.with_settings(|settings| settings.active) && !sensor.is_leaving();
        if !is_heard {
            return false;
        }
        let sensor_type = sensor.with_settings(|settings| settings.kind.clone());
        let (name, sensor_type) = (sensor.name.as_str(), sensor_type.as_deref());
        rule.body.scope.matches_sensor(&ScopedSensor { name, sensor_type })
    };
    let originator = |sensor: &Arc<Sensor>| {
        let sensor = Some(sensor.clone());
        (rule.clone(), Originator { device: device.clone(), sensor })
    };
    sensors.iter().filter(is_for).map(originator).collect()
}

/// What scopes ask about a device, held while they do.
pub(super) struct DeviceFacts {
    key: String,
    kind: &'static str,
    gateway: Option<String>,
    labels: serde_json::Map<String, serde_json::Value>,
}

impl DeviceFacts {
    pub(super) fn of(device: &Device) -> Self {
        let snapshot = device.snapshot();
        Self {
            key: snapshot.key.as_str().to_owned(),
            kind: snapshot.kind.as_str(),
            gateway: snapshot.gateway,
            labels: snapshot.labels,
        }
    }

    pub(super) fn facts(&self) -> ScopedDevice<'_> {
        ScopedDevice {
            key: &self.key,
            kind: self.kind,
            gateway: self.gateway.as_deref(),
            labels: &self.labels,
        }
    }
}
