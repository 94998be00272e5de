//! Devices and sensors that a batch meets for the first time: registered by policy, inside the
//! batch's transaction and on its overlay.

use std::sync::Arc;

use super::{
    rejection::{Rejection, RejectionReason},
    stage::Stage,
    submission::{DeviceRef, Submission},
};
use crate::{
    registry::{Device, Sensor, UnknownDevices},
    store::{DeviceRow, NewDevice, NewSensor, SensorRow, StoreError},
    telemetry::{Approval, DeviceKey, DeviceKind, Sample, Timestamp},
};

impl Stage<'_, '_> {
    /// The device, learned if it has to be and may be.
    pub(super) fn device(
        &mut self,
        submission: &Submission,
    ) -> Result<Result<Arc<Device>, Rejection>, StoreError> {
        let (key, kind) = match &submission.device {
            DeviceRef::Known(device) if !self.is_gone(device) => return Ok(Ok(device.clone())),
            // Deleted while the message waited: it is as if never seen.
            DeviceRef::Known(device) => (&device.key, device.snapshot().kind),
            DeviceRef::New(key, kind) => (key, *kind),
            DeviceRef::Illegal => {
                let detail = "the message names no device";
                return Ok(Err(Rejection::of_message(RejectionReason::DeviceId, detail)));
            }
        };
        let known = self.registry.get(key.as_str());
        if let Some(device) = known.or_else(|| self.staged.devices.get(key).cloned()) {
            return Ok(Ok(device));
        }
        let now = submission.received_at;
        let approval = match self.registry.judge_unknown(now, self.staged.learned.len()) {
            UnknownDevices::Learn => Approval::Active,
            UnknownDevices::Pending => Approval::Pending,
            UnknownDevices::Reject => {
                let detail = format!("the device {key} is not registered");
                let reason = RejectionReason::UnknownDevice;
                return Ok(Err(Rejection::of_message(reason, detail)));
            }
        };
        let device = self.learn_device(key, kind, approval, now)?;
        if approval == Approval::Active {
            self.staged.learned.push(now);
        }
        self.staged.devices.insert(key.clone(), device.clone());
        Ok(Ok(device))
    }

    /// Whether a device has been deleted since somebody looked it up.
    fn is_gone(&self, device: &Arc<Device>) -> bool {
        device.is_leaving()
            && self
                .registry
                .get(device.key.as_str())
                .is_none_or(|known| !Arc::ptr_eq(&known, device))
    }

    fn learn_device(
        &mut self,
        key: &DeviceKey,
        kind: DeviceKind,
        approval: Approval,
        first_seen: Timestamp,
    ) -> Result<Arc<Device>, StoreError> {
        let learned = NewDevice {
            key: key.clone(),
            name: None,
            kind,
            gateway: None,
            labels: "{}".to_owned(),
            approval,
            first_seen,
        };
        let id = self.transaction.ensure_device(&learned)?;
        Ok(Arc::new(Device::new(DeviceRow::made(id, &learned))))
    }

    /// The sensor, learned if it has to be.
    pub(super) fn sensor(
        &mut self,
        device: &Arc<Device>,
        sample: &Sample,
        now: Timestamp,
    ) -> Result<Arc<Sensor>, StoreError> {
        let unit = sample.unit.as_ref().map(|unit| unit.as_str());
        let known = device
            .sensor(sample.sensor.as_str())
            .or_else(|| self.staged.sensors.get(&(device.id, sample.sensor.clone())).cloned());
        if let Some(sensor) = known {
            if let Some(unit) = unit
                && sensor.with_settings(|settings| settings.unit.is_none())
            {
                self.transaction.learn_unit(sensor.id, unit)?;
                self.staged.units.push((sensor.clone(), unit.into()));
            }
            return Ok(sensor);
        }
        let unit = unit.map(str::to_owned);
        let learned = NewSensor {
            device: device.id,
            name: sample.sensor.clone(),
            unit: unit.clone(),
            created_at: now,
        };
        let id = self.transaction.ensure_sensor(&learned)?;
        let sensor = Arc::new(Sensor::new(
            device.key.clone(),
            SensorRow {
                id,
                device: device.id,
                name: sample.sensor.clone(),
                display_name: None,
                kind: None,
                unit,
                location: None,
                min: None,
                max: None,
                active: true,
                resolution: None,
                newest: None,
                version: 1,
                retired_at: None,
            },
        ));
        self.staged.sensors.insert((device.id, sample.sensor.clone()), sensor.clone());
        Ok(sensor)
    }
}
