//! Devices and sensors: read whole at start, changed by people one at a time.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::Expr,
};

use super::{
    DeviceEdit, DeviceRow, NewDevice, SensorEdit, SensorRow, Store, StoreError, StoredReading,
};
use crate::telemetry::{
    Approval, DeviceFacts, DeviceId, DeviceKey, DeviceKind, Location, SensorId, SensorName,
    Timestamp,
};

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
        let mut newest = self.newest_readings().await?;
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
            retired_at: match edit.approval {
                Approval::Blocked => NotSet,
                Approval::Active | Approval::Pending => Set(None),
            },
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

    /// Registers a sensor by hand. Without a name it is called by its number.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the device has one of that name.
    pub async fn create_sensor(
        &self,
        device: DeviceId,
        name: Option<&SensorName>,
        edit: &SensorEdit,
        created_at: Timestamp,
    ) -> Result<SensorRow, StoreError> {
        use entity::sensor::Column;
        let write = self.begin().await?;
        let exists = |error| match StoreError::from(error) {
            StoreError::Exists(_) => StoreError::Exists("a sensor of that name"),
            other => other,
        };
        let model = entity::sensor::ActiveModel {
            device_id: Set(device.0),
            // No legal name: nobody but this transaction sees it.
            name: Set(name.map_or_else(|| "#".to_owned(), ToString::to_string)),
            created_at: Set(created_at.as_micros()),
            version: Set(1),
            ..sensor_model(edit)
        };
        let inserted = entity::sensor::Entity::insert(model).exec(&write.transaction).await;
        let id = inserted.map_err(exists)?.last_insert_id;
        if name.is_none() {
            entity::sensor::Entity::update_many()
                .col_expr(Column::Name, Expr::value(id.to_string()))
                .filter(Column::Id.eq(id))
                .exec(&write.transaction)
                .await
                .map_err(exists)?;
        }
        write.commit().await?;
        let row = entity::sensor::Entity::find_by_id(id).one(&self.readers).await?;
        let row = row.and_then(|row| sensor_row(row, &mut HashMap::new()));
        row.ok_or(StoreError::NotFound("the sensor"))
    }

    /// Changes a sensor if it is still at `version`; returns its next version.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone.
    pub async fn update_sensor(
        &self,
        id: SensorId,
        version: i64,
        edit: &SensorEdit,
    ) -> Result<i64, StoreError> {
        let write = self.begin().await?;
        let model = entity::sensor::ActiveModel {
            version: Set(version + 1),
            retired_at: if edit.active { Set(None) } else { NotSet },
            ..sensor_model(edit)
        };
        let updated = entity::sensor::Entity::update_many()
            .set(model)
            .filter(entity::sensor::Column::Id.eq(id.0))
            .filter(entity::sensor::Column::Version.eq(version))
            .exec(&write.transaction)
            .await?;
        if updated.rows_affected == 0 {
            return Err(StoreError::Outdated);
        }
        write.commit().await?;
        Ok(version + 1)
    }
}

fn sensor_model(edit: &SensorEdit) -> entity::sensor::ActiveModel {
    entity::sensor::ActiveModel {
        display_name: Set(edit.display_name.clone()),
        kind: Set(edit.kind.clone()),
        unit: Set(edit.unit.clone()),
        location: Set(edit.location.clone()),
        min: Set(edit.min),
        max: Set(edit.max),
        active: Set(edit.active),
        resolution: Set(edit.resolution),
        ..Default::default()
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
        retired_at: row.retired_at.map(Timestamp::from_micros),
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
        resolution: row.resolution,
        newest: newest.remove(&id),
        version: row.version,
        retired_at: row.retired_at.map(Timestamp::from_micros),
    })
}
