//! Which devices and sensors there are, and how they are: the truth of the moment, in memory.
//!
//! Every device is loaded at start; the store holds what must outlive the process. The committer
//! adopts what its transactions have stored; people's edits come through `api`. Presence follows the
//! connections (`presence`).

mod device;
mod presence;
mod report;
mod sensor;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};

pub use device::{Device, DeviceSnapshot};
pub use presence::{PresenceChange, PresenceSettings};
pub use report::ReportedSample;
pub use sensor::{Sensor, SensorSettings};

use self::presence::Presence;
use crate::{
    store::{DeviceRow, ReportRow, SensorRow},
    telemetry::{Approval, DeviceKey, Report, SensorId, Timestamp},
};

/// What becomes of a device that is seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownDevices {
    /// Registered at once.
    Learn,
    /// Registered as pending; its data is held until somebody approves it.
    Pending,
    /// Refused.
    Reject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrySettings {
    pub unknown: UnknownDevices,
    /// Devices learned in an hour; further ones become pending.
    pub learned_per_hour_max: usize,
    pub presence: PresenceSettings,
}

pub struct Registry {
    devices: RwLock<HashMap<DeviceKey, Arc<Device>, RandomState>>,
    sensors: RwLock<HashMap<SensorId, Arc<Sensor>, RandomState>>,
    /// Devices whose report is not written yet. Bound: each device once.
    unsaved: Mutex<Vec<Arc<Device>>>,
    presence: Mutex<Presence>,
    /// When devices were learned, within the last hour. Bound: `learned_per_hour_max`.
    learned: Mutex<Vec<Timestamp>>,
    /// Deleted since somebody asked. Bound: a deletion is a job, and is asked for every second.
    removed: Mutex<Vec<DeviceKey>>,
    /// The latest time of receipt that any reading has, in microseconds. Only the committer moves it.
    last_received: AtomicI64,
    settings: RegistrySettings,
}

/// How a message of a known device has gone, for its registry entry.
#[derive(Debug, Clone)]
pub struct Observation<'a> {
    pub received_at: Timestamp,
    /// `None`: over HTTP, or in another's name.
    pub connection: Option<u64>,
    pub is_heartbeat: bool,
    /// It came before, and says nothing of whether the device is there.
    pub is_replayed: bool,
    pub report: &'a Report,
    /// The readings stored of a data message.
    pub samples: Vec<ReportedSample>,
}

impl Registry {
    pub fn new(settings: RegistrySettings) -> Self {
        Self {
            devices: RwLock::default(),
            sensors: RwLock::default(),
            unsaved: Mutex::default(),
            presence: Mutex::new(Presence::new(settings.presence)),
            learned: Mutex::default(),
            removed: Mutex::default(),
            last_received: AtomicI64::new(Timestamp::MIN.as_micros()),
            settings,
        }
    }

    /// Takes in what the store holds.
    pub fn load(&self, devices: Vec<DeviceRow>, sensors: Vec<SensorRow>) {
        let mut keys = HashMap::new();
        for row in devices {
            keys.insert(row.id, row.key.clone());
            self.adopt_device(Arc::new(Device::new(row)));
        }
        for row in sensors {
            let device = keys.get(&row.device).and_then(|key| self.get(key.as_str()));
            if let Some(device) = device {
                let sensor = Arc::new(Sensor::new(device.key.clone(), row));
                if let Some(newest) = sensor.newest() {
                    self.note_received(newest.received_at);
                }
                self.adopt_sensor(&device, sensor);
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<Arc<Device>> {
        self.devices.read().get(key).cloned()
    }

    pub fn sensor(&self, id: SensorId) -> Option<Arc<Sensor>> {
        self.sensors.read().get(&id).cloned()
    }

    /// Every device, by key.
    pub fn all(&self) -> Vec<Arc<Device>> {
        let mut devices: Vec<_> = self.devices.read().values().cloned().collect();
        devices.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        devices
    }

    /// Registered devices and, of these, the ones online and the ones pending.
    pub fn count(&self) -> DeviceCount {
        let mut count = DeviceCount::default();
        for device in self.devices.read().values() {
            let (online, approval) = device.presence_and_approval();
            count.total += 1;
            count.online += usize::from(online);
            count.pending += usize::from(approval == Approval::Pending);
            count.blocked += usize::from(approval == Approval::Blocked);
        }
        count
    }

    /// What the policy says of a device that is not registered, when `learning` others are about to
    /// be learned with it.
    pub fn judge_unknown(&self, now: Timestamp, learning: usize) -> UnknownDevices {
        if self.settings.unknown != UnknownDevices::Learn {
            return self.settings.unknown;
        }
        let hour = Duration::from_secs(3_600).as_micros() as i64;
        let mut learned = self.learned.lock();
        learned.retain(|at| now.micros_since(*at) < hour);
        if learned.len() + learning >= self.settings.learned_per_hour_max {
            return UnknownDevices::Pending;
        }
        UnknownDevices::Learn
    }

    /// The earliest time of receipt of the next message's readings: later than that of any reading
    /// before, so that the order in which readings were stored can be read from the store.
    pub fn next_received(&self) -> Timestamp {
        self.last_received().plus_micros(1)
    }

    /// The latest time of receipt that any reading has.
    pub fn last_received(&self) -> Timestamp {
        Timestamp::from_micros(self.last_received.load(Ordering::Relaxed))
    }

    /// A reading has this time of receipt.
    pub fn note_received(&self, at: Timestamp) {
        self.last_received.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    /// Counts a device learned by the policy.
    pub fn note_learned(&self, at: Timestamp) {
        self.learned.lock().push(at);
    }

    /// Registers a stored device; the one that is there already wins.
    pub fn adopt_device(&self, device: Arc<Device>) -> Arc<Device> {
        self.devices.write().entry(device.key.clone()).or_insert(device).clone()
    }

    /// Registers a stored sensor of a device; the one that is there already wins.
    pub fn adopt_sensor(&self, device: &Device, sensor: Arc<Sensor>) -> Arc<Sensor> {
        let sensor = device.adopt_sensor(sensor);
        self.sensors.write().entry(sensor.id).or_insert(sensor).clone()
    }

    /// Every sensor, by number.
    pub fn all_sensors(&self) -> Vec<Arc<Sensor>> {
        let mut sensors: Vec<_> = self.sensors.read().values().cloned().collect();
        sensors.sort_unstable_by_key(|sensor| sensor.id);
        sensors
    }

    /// Takes a deleted sensor out.
    pub fn remove_sensor(&self, sensor: &Sensor) {
        if let Some(device) = self.get(sensor.device.as_str()) {
            device.remove_sensor(sensor.name.as_str());
        }
        self.sensors.write().remove(&sensor.id);
    }

    /// Takes a deleted device out.
    pub fn remove(&self, device: &Device) {
        self.devices.write().remove(&device.key);
        let mut sensors = self.sensors.write();
        for sensor in device.sensors() {
            sensors.remove(&sensor.id);
        }
        drop(sensors);
        self.removed.lock().push(device.key.clone());
    }

    /// Devices that were deleted since the last call.
    pub fn take_removed(&self) -> Vec<DeviceKey> {
        std::mem::take(&mut *self.removed.lock())
    }

    /// Follows a message of a device: seen, online, and what it says of itself.
    pub fn observe(&self, device: &Arc<Device>, observation: Observation<'_>) {
        let (connection, at) = (observation.connection, observation.received_at);
        let is_sign = !observation.is_replayed;
        let must_save = device.observe(observation);
        if must_save {
            self.unsaved.lock().push(device.clone());
        }
        if is_sign && device.needs_binding(connection) {
            self.presence.lock().seen(device, connection, at);
        }
    }

    /// Devices whose reports changed since the last call, as they are.
    pub fn take_unsaved(&self) -> Vec<ReportRow> {
        let devices = std::mem::take(&mut *self.unsaved.lock());
        devices.iter().map(|device| device.take_report()).collect()
    }

    /// Gives back reports that could not be written.
    pub fn mark_unsaved(&self, rows: &[ReportRow]) {
        let ids: std::collections::HashSet<_> = rows.iter().map(|row| row.device).collect();
        let devices = self.devices.read();
        let again = devices.values().filter(|device| ids.contains(&device.id));
        let mut unsaved = self.unsaved.lock();
        unsaved.extend(again.filter(|device| device.mark_unsaved()).cloned());
    }

    pub fn connection_opened(&self, connection: u64) {
        self.presence.lock().opened(connection);
    }

    /// The connection has proven to be the device's: it is online as long as that lasts.
    pub fn connection_bound(&self, connection: u64, key: &str, at: Timestamp) {
        if let Some(device) = self.get(key) {
            self.presence.lock().seen(&device, Some(connection), at);
        }
    }

    pub fn connection_closed(&self, connection: u64, at: Timestamp) {
        self.presence.lock().closed(connection, at);
    }

    /// Whose presence has changed since the last call; to be called once a second.
    pub fn take_presence_changes(&self, now: Timestamp) -> Vec<PresenceChange> {
        let mut presence = self.presence.lock();
        if presence.is_time_to_look_for_silence(now) {
            let devices = self.devices.read();
            presence.look_for_silence(devices.values(), now);
        }
        let changes = presence.take_changes(now);
        drop(presence);
        for change in &changes {
            if change.device.mark_unsaved() {
                self.unsaved.lock().push(change.device.clone());
            }
        }
        changes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceCount {
    pub total: usize,
    pub online: usize,
    pub pending: usize,
    pub blocked: usize,
}
