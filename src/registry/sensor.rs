//! One sensor: what people have set, and the newest it has said.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::{Mutex, RwLock};

use crate::{
    store::{SensorEdit, SensorRow, StoredReading},
    telemetry::{DeviceKey, Reading, SensorId, SensorName, Timestamp},
};

#[derive(Debug)]
pub struct Sensor {
    pub id: SensorId,
    pub name: SensorName,
    pub device: DeviceKey,
    settings: RwLock<SensorSettings>,
    live: Mutex<Live>,
    /// Being deleted: its readings are refused.
    is_leaving: AtomicBool,
}

/// What people have set of a sensor; the unit also by its first reading that has one.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorSettings {
    pub display_name: Option<String>,
    pub kind: Option<String>,
    pub unit: Option<Arc<str>>,
    pub location: Option<String>,
    /// Values outside `min` to `max` are uncertain.
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// An inactive sensor's readings are refused.
    pub active: bool,
    /// The smallest step that it tells apart.
    pub resolution: Option<f64>,
    /// Raised by each edit.
    pub version: i64,
    /// Out of the lists since then, its data kept.
    pub retired_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Live {
    newest: Option<StoredReading>,
    /// The last time given by us, so that the next is another.
    last_received: Timestamp,
}

impl Sensor {
    /// A sensor as the store has it, not registered by this.
    pub fn new(device: DeviceKey, row: SensorRow) -> Self {
        let last_received = row.newest.map_or(Timestamp::MIN, |newest| newest.received_at);
        Self {
            id: row.id,
            name: row.name,
            device,
            settings: RwLock::new(SensorSettings {
                display_name: row.display_name,
                kind: row.kind,
                unit: row.unit.map(Arc::from),
                location: row.location,
                min: row.min,
                max: row.max,
                active: row.active,
                resolution: row.resolution,
                version: row.version,
                retired_at: row.retired_at,
            }),
            live: Mutex::new(Live { newest: row.newest, last_received }),
            is_leaving: AtomicBool::new(false),
        }
    }

    pub fn settings(&self) -> SensorSettings {
        self.settings.read().clone()
    }

    /// Takes over what somebody has edited and the store has taken.
    pub fn apply(&self, edit: SensorEdit, version: i64) {
        let SensorEdit { display_name, kind, unit, location, min, max, active, resolution } = edit;
        let unit = unit.map(Arc::from);
        let mut settings = self.settings.write();
        let retired_at = settings.retired_at.filter(|_| !active);
        *settings = SensorSettings {
            display_name,
            kind,
            unit,
            location,
            min,
            max,
            active,
            resolution,
            version,
            retired_at,
        };
    }

    /// Takes over that it is out of the lists.
    pub fn retire(&self, at: Timestamp, version: i64) {
        let mut settings = self.settings.write();
        settings.active = false;
        settings.version = version;
        settings.retired_at = Some(at);
    }

    /// From here on its readings are refused. `false`: somebody is deleting it already.
    pub fn begin_leaving(&self) -> bool {
        !self.is_leaving.swap(true, Ordering::SeqCst)
    }

    /// The deletion failed; it stays.
    pub fn stay(&self) {
        self.is_leaving.store(false, Ordering::SeqCst);
    }

    /// Being deleted, or deleted.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// Runs `look` on the settings without copying them.
    pub fn with_settings<T>(&self, look: impl FnOnce(&SensorSettings) -> T) -> T {
        look(&self.settings.read())
    }

    /// Sets the unit where there is none.
    pub fn learn_unit(&self, unit: &str) {
        self.settings.write().unit.get_or_insert_with(|| unit.into());
    }

    /// A time of receipt for a reading, later than any given before for this sensor.
    pub fn unique_received_at(&self, received_at: Timestamp) -> Timestamp {
        let mut live = self.live.lock();
        let at = received_at.max(live.last_received.plus_micros(1));
        live.last_received = at;
        at
    }

    /// Takes a reading as the newest, if its event time is.
    pub fn adopt(&self, reading: StoredReading) {
        let mut live = self.live.lock();
        if live.newest.is_none_or(|newest| newest.event_time <= reading.event_time) {
            live.newest = Some(reading);
        }
    }

    /// The newest as the store has it.
    pub fn newest_stored(&self) -> Option<StoredReading> {
        self.live.lock().newest
    }

    /// Takes over what is the newest once others were deleted. `false`: it was no more `before`.
    pub fn replace_newest(
        &self,
        before: Option<StoredReading>,
        newest: Option<StoredReading>,
    ) -> bool {
        let mut live = self.live.lock();
        let is_as_before = live.newest == before;
        if is_as_before {
            live.newest = newest;
        }
        is_as_before
    }

    pub fn newest(&self) -> Option<Reading> {
        Some(self.reading(self.newest_stored()?))
    }

    /// A stored reading with its names.
    pub fn reading(&self, stored: StoredReading) -> Reading {
        Reading {
            device: self.device.clone(),
            sensor: self.name.clone(),
            sensor_id: self.id,
            event_time: stored.event_time,
            received_at: stored.received_at,
            value: stored.value,
            unit: self.settings.read().unit.clone(),
            quality: stored.quality,
        }
    }
}
