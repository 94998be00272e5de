//! Deleting a device or a sensor with its readings, or readings of a range, step by step.
//!
//! Nothing is left behind: its messages are refused from the order on, and the store's gate is
//! passed before its sensors are read, so that a batch that had taken one of its messages before has
//! committed, with the sensors that it made.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{DELETE_DEVICE, DELETE_SENSOR, JobError, Jobs, progress::Progress};
use crate::{
    alarm::engine::Order,
    registry::{Device, Registry, Sensor},
    store::{JobRow, StoreError, TimeRange},
    telemetry::{DeviceId, SensorId, Timestamp},
};

pub(super) fn parameters(id: i64) -> String {
    json!({"id": id}).to_string()
}

pub(super) fn data_parameters(sensors: &[Arc<Sensor>], (from, to): TimeRange) -> String {
    let sensors: Vec<i64> = sensors.iter().map(|sensor| sensor.id.0).collect();
    // A bound that is none is left out.
    let bound = |time: Timestamp, none| (time != none).then(|| time.to_string());
    let (from, to) = (bound(from, ALL.0), bound(to, ALL.1));
    json!({"sensors": sensors, "from": from, "to": to}).to_string()
}

/// All of a sensor's readings.
const ALL: TimeRange = (Timestamp::MIN, Timestamp::MAX);

/// The number of what is to be deleted.
fn id(row: &JobRow) -> Result<i64, JobError> {
    let parameters: Map<String, Value> = serde_json::from_str(&row.parameters).unwrap_or_default();
    let id = parameters.get("id").and_then(Value::as_i64);
    id.ok_or_else(|| JobError::Invalid("the job does not say what to delete".to_owned()))
}

/// Refuses the data of what a job of before the restart deletes.
pub(super) fn mark(registry: &Registry, row: &JobRow) {
    each(registry, row, |subject| match subject {
        Subject::Device(device) => drop(device.begin_leaving()),
        Subject::Sensor(sensor) => drop(sensor.begin_leaving()),
    });
}

/// The deletion failed: what is left of it is taken up again.
pub(super) fn unmark(registry: &Registry, row: &JobRow) {
    each(registry, row, |subject| match subject {
        Subject::Device(device) => device.stay(),
        Subject::Sensor(sensor) => sensor.stay(),
    });
}

enum Subject<'a> {
    Device(&'a Device),
    Sensor(&'a Sensor),
}

fn each(registry: &Registry, row: &JobRow, act: impl Fn(Subject<'_>)) {
    let Ok(id) = id(row) else { return };
    if row.kind == DELETE_DEVICE
        && let Some(device) = registry.get(&row.subject)
        && device.id == DeviceId(id)
    {
        act(Subject::Device(&device));
    }
    if row.kind == DELETE_SENSOR
        && let Some(sensor) = registry.sensor(SensorId(id))
    {
        act(Subject::Sensor(&sensor));
    }
}

impl Jobs {
    /// What a deletion concerns takes no more data, or takes them again: other alarm rules are for it.
    pub(super) fn reconsider(&self, row: &JobRow) {
        let Ok(id) = id(row) else { return };
        let device = match row.kind.as_str() {
            DELETE_DEVICE => self.registry.get(&row.subject),
            DELETE_SENSOR => {
                let sensor = self.registry.sensor(SensorId(id));
                sensor.and_then(|sensor| self.registry.get(sensor.device.as_str()))
            }
            _ => None,
        };
        if let Some(device) = device {
            self.committer.order(Order::Reconsider { device });
        }
    }

    /// Ends what is open of the alarms, and deletes their rows once nobody can write them any more.
    /// An end that the store refuses for what it is ends the job: it would be refused again.
    async fn end_alarms(
        &self,
        device: &Arc<Device>,
        sensor: Option<SensorId>,
    ) -> Result<(), JobError> {
        let (done, ended) = oneshot::channel();
        let device = device.clone();
        let key = device.key.to_string();
        self.committer.order(Order::Forget { device, sensor, done: Some(done) });
        let not_carried_out = |_| StoreError::Unavailable("alarms are not ended yet".to_owned());
        ended.await.map_err(not_carried_out)??;
        Ok(self.store.delete_alarms(&key, sensor).await?)
    }

    pub(super) async fn remove_device(
        &self,
        row: &JobRow,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        let id = DeviceId(id(row)?);
        self.store.pass_gate().await;
        if let Some(device) = self.registry.get(&row.subject).filter(|device| device.id == id) {
            self.end_alarms(&device, None).await?;
        }
        let sensors = self.store.sensors_of(id).await?;
        progress.total = i64::try_from(sensors.len()).unwrap_or(i64::MAX);
        progress.done = 0;
        for sensor in sensors {
            self.remove_readings(sensor, ALL, progress).await?;
            progress.done += 1;
            self.note(progress).await?;
        }
        // Who takes its name next is another device.
        if self.registry.get(&row.subject).is_none_or(|device| device.id == id) {
            let keys = self.access.keys.forget_device(&row.subject).await?;
            progress.add("keys", keys);
        }
        self.store.delete_device(id).await?;
        self.access.devices.forget(id).await;
        if let Some(device) = self.registry.get(&row.subject)
            && device.id == id
        {
            self.registry.remove(&device);
        }
        Ok(())
    }

    pub(super) async fn remove_sensor(
        &self,
        row: &JobRow,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        let id = SensorId(id(row)?);
        progress.total = 1;
        self.store.pass_gate().await;
        if let Some(sensor) = self.registry.sensor(id)
            && let Some(device) = self.registry.get(sensor.device.as_str())
        {
            self.end_alarms(&device, Some(id)).await?;
        }
        self.remove_readings(id, ALL, progress).await?;
        self.store.delete_sensor(id).await?;
        progress.done = 1;
        if let Some(sensor) = self.registry.sensor(id) {
            self.registry.remove_sensor(&sensor);
        }
        Ok(())
    }

    pub(super) async fn remove_data(
        &self,
        row: &JobRow,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        let given: Map<String, Value> = serde_json::from_str(&row.parameters).unwrap_or_default();
        let unclear = || JobError::Invalid("the job does not say what to delete".to_owned());
        let bound = |name: &str, none| match given.get(name).and_then(Value::as_str) {
            Some(text) => text.parse::<Timestamp>().map_err(|_| unclear()),
            None => Ok(none),
        };
        let range = (bound("from", ALL.0)?, bound("to", ALL.1)?);
        let sensors = given.get("sensors").and_then(Value::as_array).ok_or_else(unclear)?;
        self.store.pass_gate().await;
        progress.done = 0;
        for id in sensors.iter().filter_map(Value::as_i64).map(SensorId) {
            self.remove_readings(id, range, progress).await?;
            progress.done += 1;
            self.note(progress).await?;
        }
        Ok(())
    }

    /// Lets the registry have the newest reading that is left of a sensor.
    async fn look_for_newest(&self, id: SensorId) -> Result<(), JobError> {
        let Some(sensor) = self.registry.sensor(id) else { return Ok(()) };
        loop {
            let before = sensor.newest_stored();
            let newest = self.store.newest(id).await?;
            if sensor.replace_newest(before, newest) {
                return Ok(());
            }
        }
    }

    async fn remove_readings(
        &self,
        sensor: SensorId,
        range: TimeRange,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        let ended = self.remove_steps(sensor, range, progress).await;
        // However it ended: what is gone is no more the newest.
        self.look_for_newest(sensor).await?;
        ended
    }

    async fn remove_steps(
        &self,
        sensor: SensorId,
        range: TimeRange,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        loop {
            let removed = self.store.delete_some_readings(sensor, range).await?;
            progress.add("readings", removed.readings);
            if !removed.has_more {
                return Ok(());
            }
            self.note(progress).await?;
        }
    }
}
