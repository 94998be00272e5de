//! One device: who it is, what people have set, what it last said.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value};

use super::{Observation, Sensor, report::LastReport};
use crate::{
    store::{DeviceEdit, DeviceRow, ReportRow},
    telemetry::{
        Approval, DeviceFacts, DeviceId, DeviceKey, DeviceKind, Report, SensorName, Timestamp,
    },
};

#[derive(Debug)]
pub struct Device {
    pub id: DeviceId,
    pub key: DeviceKey,
    state: Mutex<State>,
    sensors: RwLock<HashMap<SensorName, Arc<Sensor>, RandomState>>,
    /// The connection that the device was bound to last; 0: none. Spares a look at the bindings.
    bound_to: AtomicU64,
    /// In microseconds; see [`Device::arrival`].
    last_arrival: AtomicI64,
}

#[derive(Debug)]
struct State {
    name: Option<String>,
    kind: DeviceKind,
    gateway: Option<String>,
    labels: Map<String, Value>,
    approval: Approval,
    version: i64,
    facts: DeviceFacts,
    first_seen: Timestamp,
    last_seen: Option<Timestamp>,
    last_heartbeat: Option<Timestamp>,
    online: bool,
    last_report: LastReport,
    /// Stands among the registry's unsaved.
    is_unsaved: bool,
    /// Connections that speak for it.
    bindings: usize,
    /// Being deleted: its messages are refused.
    is_leaving: bool,
    retired_at: Option<Timestamp>,
}

/// A device as it is at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSnapshot {
    pub id: DeviceId,
    pub key: DeviceKey,
    pub name: Option<String>,
    pub kind: DeviceKind,
    pub gateway: Option<String>,
    pub labels: Map<String, Value>,
    pub approval: Approval,
    pub version: i64,
    pub facts: DeviceFacts,
    pub first_seen: Timestamp,
    pub last_seen: Option<Timestamp>,
    pub last_heartbeat: Option<Timestamp>,
    pub online: bool,
    pub last_report: Option<Map<String, Value>>,
    /// Out of the lists since then, its data kept.
    pub retired_at: Option<Timestamp>,
}

impl Device {
    /// A device as the store has it, not registered by this.
    pub fn new(row: DeviceRow) -> Self {
        Self {
            id: row.id,
            key: row.key,
            state: Mutex::new(State {
                name: row.name,
                kind: row.kind,
                gateway: row.gateway,
                labels: serde_json::from_str(&row.labels).unwrap_or_default(),
                approval: row.approval,
                version: row.version,
                facts: row.facts,
                first_seen: row.first_seen,
                last_seen: row.last_seen,
                last_heartbeat: row.last_heartbeat,
                online: row.online,
                last_report: LastReport::new(row.last_report),
                is_unsaved: false,
                bindings: 0,
                is_leaving: false,
                retired_at: row.retired_at,
            }),
            sensors: RwLock::default(),
            bound_to: AtomicU64::new(0),
            last_arrival: AtomicI64::new(i64::MIN),
        }
    }

    pub fn snapshot(&self) -> DeviceSnapshot {
        let mut state = self.state.lock();
        DeviceSnapshot {
            id: self.id,
            key: self.key.clone(),
            name: state.name.clone(),
            kind: state.kind,
            gateway: state.gateway.clone(),
            labels: state.labels.clone(),
            approval: state.approval,
            version: state.version,
            facts: state.facts.clone(),
            first_seen: state.first_seen,
            last_seen: state.last_seen,
            last_heartbeat: state.last_heartbeat,
            online: state.online,
            last_report: state.last_report.json(),
            retired_at: state.retired_at,
        }
    }

    /// Whether its data is taken; a device that is being deleted counts as blocked.
    pub fn approval(&self) -> Approval {
        let state = self.state.lock();
        if state.is_leaving { Approval::Blocked } else { state.approval }
    }

    pub fn name(&self) -> Option<String> {
        self.state.lock().name.clone()
    }

    /// Whether the gateway of that key speaks for it.
    pub fn is_behind(&self, gateway: &str) -> bool {
        self.state.lock().gateway.as_deref() == Some(gateway)
    }

    /// Whether it is as asked for, where something is asked for.
    pub fn matches(
        &self,
        online: Option<bool>,
        kind: Option<DeviceKind>,
        approval: Option<Approval>,
    ) -> bool {
        let state = self.state.lock();
        online.is_none_or(|online| state.online == online)
            && kind.is_none_or(|kind| state.kind == kind)
            && approval.is_none_or(|approval| state.approval == approval)
    }

    /// When it was seen first, and last.
    pub fn seen(&self) -> (Timestamp, Option<Timestamp>) {
        let state = self.state.lock();
        (state.first_seen, state.last_seen)
    }

    /// Whether any of its sensors ever said something.
    pub fn has_readings(&self) -> bool {
        self.sensors.read().values().any(|sensor| sensor.newest().is_some())
    }

    /// Whether a text in lower case is part of its key, its name, the value of a label, or the place of a
    /// sensor.
    pub fn has_text(&self, text: &str) -> bool {
        let has = |field: &str| field.to_lowercase().contains(text);
        let state = self.state.lock();
        if has(self.key.as_str())
            || state.name.as_deref().is_some_and(has)
            || state.labels.values().filter_map(Value::as_str).any(has)
        {
            return true;
        }
        drop(state);
        let sensors = self.sensors.read();
        sensors
            .values()
            .any(|sensor| sensor.with_settings(|s| s.location.as_deref().is_some_and(has)))
    }

    pub(super) fn presence_and_approval(&self) -> (bool, Approval) {
        let state = self.state.lock();
        (state.online, state.approval)
    }

    /// Takes over what somebody has edited and the store has taken.
    pub fn apply(&self, edit: DeviceEdit, version: i64) {
        let mut state = self.state.lock();
        state.name = edit.name;
        state.kind = edit.kind;
        state.gateway = edit.gateway;
        state.labels = serde_json::from_str(&edit.labels).unwrap_or_default();
        state.approval = edit.approval;
        state.version = version;
        if edit.approval != Approval::Blocked {
            state.retired_at = None;
        }
    }

    /// Takes over that it is out of the lists.
    pub fn retire(&self, at: Timestamp, version: i64) {
        let mut state = self.state.lock();
        state.approval = Approval::Blocked;
        state.version = version;
        state.retired_at = Some(at);
    }

    /// The gateway that speaks for it.
    pub fn gateway(&self) -> Option<String> {
        self.state.lock().gateway.clone()
    }

    /// Whether it has every one of these labels, by name and, where one is given, by value.
    pub fn has_labels(&self, wanted: &[(String, Option<String>)]) -> bool {
        let labels = &self.state.lock().labels;
        wanted.iter().all(|(name, value)| {
            labels.get(name).is_some_and(|found| {
                value.as_ref().is_none_or(|value| found.as_str() == Some(value))
            })
        })
    }

    /// From here on its messages are refused. `false`: somebody is deleting it already.
    pub fn begin_leaving(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().is_leaving, true)
    }

    /// Being deleted, or deleted.
    pub fn is_leaving(&self) -> bool {
        self.state.lock().is_leaving
    }

    pub fn is_retired(&self) -> bool {
        self.state.lock().retired_at.is_some()
    }

    /// The deletion failed; it stays.
    pub fn stay(&self) {
        self.state.lock().is_leaving = false;
    }

    /// A time of receipt for a message, later than any given before for this device, so that the
    /// order in which its readings were judged can be told from the store.
    pub fn arrival(&self, received_at: Timestamp) -> Timestamp {
        let received_at = received_at.as_micros();
        let later = |last: i64| received_at.max(last.saturating_add(1));
        let order = Ordering::Relaxed;
        let last = self.last_arrival.fetch_update(order, order, |last| Some(later(last)));
        Timestamp::from_micros(last.map_or(received_at, later))
    }

    /// What was judged of this device reaches up to `at`; whatever comes is to arrive later.
    pub fn note_arrival(&self, at: Timestamp) {
        self.last_arrival.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    pub fn sensor(&self, name: &str) -> Option<Arc<Sensor>> {
        self.sensors.read().get(name).cloned()
    }

    /// Its sensors, by name.
    pub fn sensors(&self) -> Vec<Arc<Sensor>> {
        let mut sensors: Vec<_> = self.sensors.read().values().cloned().collect();
        sensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        sensors
    }

    pub(super) fn adopt_sensor(&self, sensor: Arc<Sensor>) -> Arc<Sensor> {
        self.sensors.write().entry(sensor.name.clone()).or_insert(sensor).clone()
    }

    pub(super) fn remove_sensor(&self, name: &str) {
        self.sensors.write().remove(name);
    }

    /// `true`: it has to be put among the unsaved.
    pub(super) fn observe(&self, observation: Observation<'_>) -> bool {
        let at = observation.received_at;
        let mut state = self.state.lock();
        state.last_seen = state.last_seen.max(Some(at));
        if observation.is_heartbeat {
            state.last_heartbeat = state.last_heartbeat.max(Some(at));
        }
        state.facts.merge(&observation.report.facts);
        state.last_report.merge(observation.report, observation.samples, at);
        !std::mem::replace(&mut state.is_unsaved, true)
    }

    /// `true`: it has to be put among the unsaved.
    pub(super) fn mark_unsaved(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().is_unsaved, true)
    }

    pub(super) fn take_report(&self) -> ReportRow {
        self.state.lock().is_unsaved = false;
        self.report()
    }

    fn report(&self) -> ReportRow {
        let mut state = self.state.lock();
        ReportRow {
            device: self.id,
            facts: state.facts.clone(),
            last_seen: state.last_seen,
            last_heartbeat: state.last_heartbeat,
            online: state.online,
            last_report: state
                .last_report
                .json()
                .and_then(|report| serde_json::to_string(&report).ok()),
        }
    }

    /// What it would report with these merged in, in order: for a transaction that is to store it
    /// before anybody sees it.
    pub fn preview<'a>(
        &self,
        reports: impl IntoIterator<Item = (&'a Report, Timestamp)>,
    ) -> ReportRow {
        let mut row = self.report();
        let mut last_report = LastReport::new(row.last_report.take());
        for (report, at) in reports {
            row.facts.merge(&report.facts);
            row.last_seen = row.last_seen.max(Some(at));
            last_report.merge(report, Vec::new(), at);
        }
        row.last_report = last_report.json().and_then(|r| serde_json::to_string(&r).ok());
        row
    }

    /// Whether a message over `connection` may change who speaks for the device or its presence.
    pub(super) fn needs_binding(&self, connection: Option<u64>) -> bool {
        match connection {
            Some(connection) if self.bound_to.load(Ordering::Relaxed) == connection => false,
            _ => connection.is_some() || !self.state.lock().online,
        }
    }

    pub(super) fn bind(&self, connection: u64) {
        self.state.lock().bindings += 1;
        self.bound_to.store(connection, Ordering::Relaxed);
    }

    /// `true`: nobody speaks for it any more.
    pub(super) fn unbind(&self, connection: u64) -> bool {
        let _ = self.bound_to.compare_exchange(connection, 0, Ordering::Relaxed, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.bindings = state.bindings.saturating_sub(1);
        state.bindings == 0
    }

    /// `true`: this changed it.
    pub(super) fn set_online(&self, online: bool) -> bool {
        std::mem::replace(&mut self.state.lock().online, online) != online
    }

    pub(super) fn is_bound(&self) -> bool {
        self.state.lock().bindings > 0
    }

    /// Online although no connection speaks for it, and silent since before `limit`.
    pub(super) fn is_silent_since(&self, limit: Timestamp) -> bool {
        let state = self.state.lock();
        state.online && state.bindings == 0 && state.last_seen.is_none_or(|seen| seen < limit)
    }
}
