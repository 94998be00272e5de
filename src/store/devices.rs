//! Devices and sensors: read whole at start, changed by people one at a time.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseBackend, EntityTrait, QueryFilter,
    QueryOrder, Statement,
};

use super::{
    DeviceEdit, DeviceRow, NewDevice, SensorEdit, SensorRow, Store, StoreError, StoredReading,
    alarms,
};
use crate::telemetry::{
    Approval, DeviceFacts, DeviceId, DeviceKey, DeviceKind, Location, Quality, SensorId,
    SensorName, Timestamp,
};

/// The newest reading of every sensor: one seek in the readings' primary key for each. The join's
/// order matters, and `CROSS JOIN` is how SQLite is told to keep it.
pub(super) const NEWEST: &str = "SELECT r.sensor_id, r.event_time, r.received_at, r.value, \
    r.quality FROM sensor s CROSS JOIN reading r WHERE r.sensor_id = s.id AND r.event_time = \
    (SELECT max(event_time) FROM reading WHERE sensor_id = s.id)";

/// Rows deleted in one go, so that ingest waits for moments only.
const DELETE_CHUNK: u64 = 5_000;
pub(super) const DELETE_READINGS: &str = "DELETE FROM reading WHERE sensor_id = ? AND event_time \
    IN (SELECT event_time FROM reading WHERE sensor_id = ? LIMIT ?)";

impl Store {
    /// Every device.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn devices(&self) -> Result<Vec<DeviceRow>, StoreError> {
        let rows = entity::device::Entity::find()
            .order_by_asc(entity::device::Column::Id)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().filter_map(device_row).collect())
    }

    /// Every sensor with its newest reading.
    ///
    /// # Errors
    /// As above.
    pub async fn sensors(&self) -> Result<Vec<SensorRow>, StoreError> {
        let statement = Statement::from_string(DatabaseBackend::Sqlite, NEWEST);
        let mut newest = HashMap::new();
        for row in self.readers.query_all_raw(statement).await? {
            let reading = StoredReading {
                sensor: SensorId(row.try_get("", "sensor_id")?),
                event_time: Timestamp::from_micros(row.try_get("", "event_time")?),
                received_at: Timestamp::from_micros(row.try_get("", "received_at")?),
                value: row.try_get("", "value")?,
                quality: Quality::from_code(row.try_get("", "quality")?),
            };
            newest.insert(reading.sensor, reading);
        }
        let rows = entity::sensor::Entity::find()
            .order_by_asc(entity::sensor::Column::Id)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().filter_map(|row| sensor_row(row, &mut newest)).collect())
    }

    /// Registers a device by hand.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that key.
    pub async fn create_device(&self, device: &NewDevice) -> Result<DeviceId, StoreError> {
        let write = self.begin().await?;
        let model = entity::device::ActiveModel {
            key: Set(device.key.as_str().to_owned()),
            name: Set(device.name.clone()),
            kind: Set(device.kind.as_str().to_owned()),
            gateway: Set(device.gateway.clone()),
            labels: Set(device.labels.clone()),
            first_seen: Set(device.first_seen.as_micros()),
            online: Set(false),
            approval: Set(device.approval.as_str().to_owned()),
            version: Set(1),
            ..Default::default()
        };
        let inserted = entity::device::Entity::insert(model).exec(&write.transaction).await;
        let id = inserted
            .map_err(|error| match StoreError::from(error) {
                StoreError::Exists(_) => StoreError::Exists("a device of that id"),
                other => other,
            })?
            .last_insert_id;
        write.commit().await?;
        Ok(DeviceId(id))
    }

    /// Changes a device if it is still at `version`; returns its next version.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone.
    pub async fn update_device(
        &self,
        id: DeviceId,
        version: i64,
        edit: &DeviceEdit,
    ) -> Result<i64, StoreError> {
        use entity::device::Column;
        let write = self.begin().await?;
        let model = entity::device::ActiveModel {
            name: Set(edit.name.clone()),
            kind: Set(edit.kind.as_str().to_owned()),
            gateway: Set(edit.gateway.clone()),
            labels: Set(edit.labels.clone()),
            approval: Set(edit.approval.as_str().to_owned()),
            version: Set(version + 1),
            ..Default::default()
        };
        let updated = entity::device::Entity::update_many()
            .set(model)
            .filter(Column::Id.eq(id.0))
            .filter(Column::Version.eq(version))
            .exec(&write.transaction)
            .await?;
        if updated.rows_affected == 0 {
            return Err(StoreError::Outdated);
        }
        write.commit().await?;
        Ok(version + 1)
    }

    /// Changes a sensor.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is gone.
    pub async fn update_sensor(&self, id: SensorId, edit: &SensorEdit) -> Result<(), StoreError> {
        let write = self.begin().await?;
        let model = entity::sensor::ActiveModel {
            display_name: Set(edit.display_name.clone()),
            kind: Set(edit.kind.clone()),
            unit: Set(edit.unit.clone()),
            location: Set(edit.location.clone()),
            min: Set(edit.min),
            max: Set(edit.max),
            active: Set(edit.active),
            ..Default::default()
        };
        let updated = entity::sensor::Entity::update_many()
            .set(model)
            .filter(entity::sensor::Column::Id.eq(id.0))
            .exec(&write.transaction)
            .await?;
        if updated.rows_affected == 0 {
            return Err(StoreError::NotFound("the sensor"));
        }
        write.commit().await
    }

    /// Deletes a device with its sensors, readings and alarms, in steps that ingest can get between.
    /// What waits to be told of its alarms is cancelled.
    ///
    /// # Errors
    /// What is deleted by then stays deleted; calling again goes on.
    pub async fn delete_device(
        &self,
        id: DeviceId,
        sensors: &[SensorId],
    ) -> Result<(), StoreError> {
        for sensor in sensors {
            loop {
                let write = self.begin().await?;
                let statement = Statement::from_sql_and_values(
                    DatabaseBackend::Sqlite,
                    DELETE_READINGS,
                    [sensor.0.into(), sensor.0.into(), DELETE_CHUNK.into()],
                );
                let deleted = write.transaction.execute_raw(statement).await?.rows_affected();
                write.commit().await?;
                if deleted < DELETE_CHUNK {
                    break;
                }
            }
            let write = self.begin().await?;
            entity::reading_claimed_time::Entity::delete_many()
                .filter(entity::reading_claimed_time::Column::SensorId.eq(sensor.0))
                .exec(&write.transaction)
                .await?;
            write.commit().await?;
        }
        let found = entity::device::Entity::find_by_id(id.0).one(&self.readers).await?;
        let key = found.map(|row| row.key);
        if let Some(key) = &key {
            self.delete_alarms(key).await?;
        }
        let write = self.begin().await?;
        entity::device::Entity::delete_by_id(id.0).exec(&write.transaction).await?;
        // Those that were raised while the readings went.
        if let Some(key) = &key {
            alarms::delete_some(&write.transaction, key, u64::from(u32::MAX)).await?;
        }
        write.commit().await
    }
}

/// A row that some other program made illegal is left out, and said so.
fn device_row(row: entity::device::Model) -> Option<DeviceRow> {
    let Ok(key) = DeviceKey::new(&row.key) else {
        tracing::warn!(key = row.key, "a stored device has an illegal id and is left out");
        return None;
    };
    let location = row.latitude.zip(row.longitude);
    Some(DeviceRow {
        id: DeviceId(row.id),
        key,
        name: row.name,
        kind: row.kind.parse().unwrap_or(DeviceKind::Device),
        gateway: row.gateway,
        facts: DeviceFacts {
            status: row.status,
            firmware: row.firmware,
            ip: row.ip,
            uptime_seconds: row.uptime_seconds,
            location: location.and_then(|(latitude, longitude)| Location::new(latitude, longitude)),
        },
        labels: row.labels,
        first_seen: Timestamp::from_micros(row.first_seen),
        last_seen: row.last_seen.map(Timestamp::from_micros),
        last_heartbeat: row.last_heartbeat.map(Timestamp::from_micros),
        online: row.online,
        last_report: row.last_report,
        approval: row.approval.parse().unwrap_or(Approval::Blocked),
        version: row.version,
    })
}

fn sensor_row(
    row: entity::sensor::Model,
    newest: &mut HashMap<SensorId, StoredReading>,
) -> Option<SensorRow> {
    let Ok(name) = SensorName::in_topic(&row.name) else {
        tracing::warn!(name = row.name, "a stored sensor has an illegal name and is left out");
        return None;
    };
    let id = SensorId(row.id);
    Some(SensorRow {
        id,
        device: DeviceId(row.device_id),
        name,
        display_name: row.display_name,
        kind: row.kind,
        unit: row.unit,
        location: row.location,
        min: row.min,
        max: row.max,
        active: row.active,
        newest: newest.remove(&id),
    })
}
