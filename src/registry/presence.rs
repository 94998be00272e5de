//! Who is online. A connection is bound to the devices that it publishes for; when the last bound
//! connection of a device ends, the device is offline after a grace. Devices seen only over HTTP or
//! through a gateway are offline after a silence.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::RandomState;

use super::Device;
use crate::telemetry::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceSettings {
    /// From the end of the last bound connection to offline.
    pub offline_grace: Duration,
    /// From the last message to offline, where no connection is bound.
    pub offline_after: Duration,
}

/// Devices that one connection can be bound to.
const BINDINGS_MAX: usize = 1_000;
/// Between two looks for silent devices.
const SILENCE_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Presence {
    settings: PresenceSettings,
    /// By connection, what it is bound to. Bound: connections, and `BINDINGS_MAX` for each.
    bound: HashMap<u64, Vec<Arc<Device>>, RandomState>,
    /// Devices without a connection, and when they count as offline. Bound: ended bindings of the
    /// last `offline_grace`.
    leaving: Vec<(Timestamp, Arc<Device>)>,
    changes: Vec<PresenceChange>,
    looked_for_silence_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct PresenceChange {
    pub device: Arc<Device>,
    pub online: bool,
    pub at: Timestamp,
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.plus_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

impl Presence {
    pub(super) fn new(settings: PresenceSettings) -> Self {
        Self {
            settings,
            bound: HashMap::default(),
            leaving: Vec::new(),
            changes: Vec::new(),
            looked_for_silence_at: None,
        }
    }

    pub(super) fn opened(&mut self, connection: u64) {
        self.bound.insert(connection, Vec::new());
    }

    pub(super) fn closed(&mut self, connection: u64, at: Timestamp) {
        let devices = self.bound.remove(&connection).unwrap_or_default();
        let offline_at = after(at, self.settings.offline_grace);
        for device in devices {
            if device.unbind(connection) {
                self.leaving.push((offline_at, device));
            }
        }
    }

    /// A message of the device has come.
    pub(super) fn seen(&mut self, device: &Arc<Device>, connection: Option<u64>, at: Timestamp) {
        if device.set_online(true) {
            self.changes.push(PresenceChange { device: device.clone(), online: true, at });
        }
        let Some(connection) = connection else { return };
        match self.bound.get_mut(&connection) {
            Some(bound) if bound.len() < BINDINGS_MAX => {
                if !bound.iter().any(|known| Arc::ptr_eq(known, device)) {
                    bound.push(device.clone());
                    device.bind(connection);
                }
            }
            Some(_) => {}
            None if device.is_bound() => {}
            // The connection ended while its message was being stored.
            None => {
                let offline_at = after(at, self.settings.offline_grace);
                self.leaving.push((offline_at, device.clone()));
            }
        }
    }

    pub(super) fn is_time_to_look_for_silence(&self, now: Timestamp) -> bool {
        self.looked_for_silence_at.is_none_or(|at| now >= after(at, SILENCE_INTERVAL))
    }

    pub(super) fn look_for_silence<'a>(
        &mut self,
        devices: impl Iterator<Item = &'a Arc<Device>>,
        now: Timestamp,
    ) {
        let silence = i64::try_from(self.settings.offline_after.as_micros()).unwrap_or(i64::MAX);
        let limit = now.plus_micros(-silence);
        for device in devices.filter(|device| device.is_silent_since(limit)) {
            device.set_online(false);
            let change = PresenceChange { device: device.clone(), online: false, at: now };
            self.changes.push(change);
        }
        self.looked_for_silence_at = Some(now);
    }

    pub(super) fn take_changes(&mut self, now: Timestamp) -> Vec<PresenceChange> {
        let changes = &mut self.changes;
        self.leaving.retain(|(offline_at, device)| {
            if device.is_bound() {
                return false;
            }
            if *offline_at > now {
                return true;
            }
            if device.set_online(false) {
                let device = device.clone();
                changes.push(PresenceChange { device, online: false, at: *offline_at });
            }
            false
        });
        std::mem::take(changes)
    }
}
