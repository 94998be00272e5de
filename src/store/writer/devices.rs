//! Devices and sensors that a batch meets for the first time, and what devices say of themselves.

use super::{Transaction, transaction::always};
use crate::{
    store::{NewDevice, NewSensor, ReportRow, StoreError, engine::binds},
    telemetry::{DeviceId, SensorId},
};

impl Transaction<'_> {
    /// The id of the device with that key, which is made where there is none.
    ///
    /// # Errors
    /// As [`super::Writer::transaction`], here and below.
    pub fn ensure_device(&mut self, device: &NewDevice) -> Result<DeviceId, StoreError> {
        self.execute(
            "INSERT INTO device (\"key\", name, kind, gateway, labels, first_seen, online, \
             approval, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?8, ?7, 1) \
             ON CONFLICT (\"key\") DO NOTHING",
            &binds![
                device.key.as_str(),
                &device.name,
                device.kind.as_str(),
                &device.gateway,
                &device.labels,
                device.first_seen,
                device.approval.as_str(),
                false
            ],
        )?;
        let sql = "SELECT id FROM device WHERE \"key\" = ?1";
        let id = self.query_one(sql, &binds![device.key.as_str()], |row| row.int(0))?;
        Ok(DeviceId(always(id)?))
    }

    /// The id of the device's sensor of that name, which is made where there is none.
    ///
    /// # Errors
    /// As above.
    pub fn ensure_sensor(&mut self, sensor: &NewSensor) -> Result<SensorId, StoreError> {
        self.execute(
            "INSERT INTO sensor (device_id, name, unit, active, created_at) \
             VALUES (?1, ?2, ?3, ?5, ?4) ON CONFLICT (device_id, name) DO NOTHING",
            &binds![sensor.device.0, sensor.name.as_str(), &sensor.unit, sensor.created_at, true],
        )?;
        let sql = "SELECT id FROM sensor WHERE device_id = ?1 AND name = ?2";
        let values = binds![sensor.device.0, sensor.name.as_str()];
        let id = self.query_one(sql, &values, |row| row.int(0))?;
        Ok(SensorId(always(id)?))
    }

    /// Sets the unit of a sensor that has none.
    ///
    /// # Errors
    /// As above.
    pub fn learn_unit(&mut self, sensor: SensorId, unit: &str) -> Result<(), StoreError> {
        let sql = "UPDATE sensor SET unit = ?2 WHERE id = ?1 AND unit IS NULL";
        self.execute(sql, &binds![sensor.0, unit]).map(drop)
    }

    /// Writes what messages have changed of a device.
    ///
    /// # Errors
    /// As above.
    pub fn save_report(&mut self, report: &ReportRow) -> Result<(), StoreError> {
        let facts = &report.facts;
        self.execute(
            "UPDATE device SET status = ?2, firmware = ?3, ip = ?4, uptime_seconds = ?5, \
             latitude = ?6, longitude = ?7, last_seen = ?8, last_heartbeat = ?9, \
             online = ?10, last_report = ?11 WHERE id = ?1",
            &binds![
                report.device.0,
                &facts.status,
                &facts.firmware,
                &facts.ip,
                facts.uptime_seconds,
                facts.location.map(|l| l.latitude),
                facts.location.map(|l| l.longitude),
                report.last_seen,
                report.last_heartbeat,
                report.online,
                &report.last_report
            ],
        )
        .map(drop)
    }
}
