//! Taking devices and sensors out: out of the lists with their data kept, or deleted with it, in
//! steps that ingest can get between.
//!
//! Whoever deletes readings first sees to it that none are taken any more, then passes
//! [`Store::pass_gate`]: a batch that was under way has then committed, and its sensors can be read.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::Expr,
};

use super::{Store, StoreError, alarms};
use crate::telemetry::{Approval, DeviceId, SensorId, Timestamp};

impl Store {
    /// Waits until the transaction that is under way, if any, has ended.
    pub async fn pass_gate(&self) {
        drop(self.gate.lock().await);
    }

    /// The sensors that the store has of a device.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn sensors_of(&self, device: DeviceId) -> Result<Vec<SensorId>, StoreError> {
        use entity::sensor::Column;
        let ids: Vec<i64> = entity::sensor::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::DeviceId.eq(device.0))
            .into_tuple()
            .all(&self.readers)
            .await?;
        Ok(ids.into_iter().map(SensorId).collect())
    }

    /// Deletes a device whose readings are gone, with its sensors and alarms. What waits to be told
    /// of its alarms is cancelled.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_device(&self, id: DeviceId) -> Result<(), StoreError> {
        let found = entity::device::Entity::find_by_id(id.0).one(&self.readers).await?;
        let key = found.map(|row| row.key);
        if let Some(key) = &key {
            self.delete_alarms(key, None).await?;
        }
        let write = self.begin().await?;
        entity::device::Entity::delete_by_id(id.0).exec(&write.transaction).await?;
        // Those that were raised meanwhile.
        if let Some(key) = &key {
            let all = u64::from(u32::MAX);
            alarms::delete_some(&write.transaction, self.engine, (key, None), all).await?;
        }
        write.commit().await
    }

    /// Deletes a sensor whose readings are gone.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_sensor(&self, id: SensorId) -> Result<(), StoreError> {
        let write = self.begin().await?;
        entity::sensor::Entity::delete_by_id(id.0).exec(&write.transaction).await?;
        write.commit().await
    }

    /// Takes a device out of the lists, its data kept; returns its next version. An edit that
    /// unblocks it brings it back.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is no more at `version`.
    pub async fn retire_device(
        &self,
        id: DeviceId,
        version: i64,
        at: Timestamp,
    ) -> Result<i64, StoreError> {
        use entity::device::Column;
        let write = self.begin().await?;
        let updated = entity::device::Entity::update_many()
            .col_expr(Column::RetiredAt, Expr::value(at.as_micros()))
            .col_expr(Column::Approval, Expr::value(Approval::Blocked.as_str()))
            .col_expr(Column::Version, Expr::value(version + 1))
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

    /// The same of a sensor; an edit that activates it brings it back.
    ///
    /// # Errors
    /// As above.
    pub async fn retire_sensor(
        &self,
        id: SensorId,
        version: i64,
        at: Timestamp,
    ) -> Result<i64, StoreError> {
        use entity::sensor::Column;
        let write = self.begin().await?;
        let model = entity::sensor::ActiveModel {
            retired_at: Set(Some(at.as_micros())),
            active: Set(false),
            version: Set(version + 1),
            ..Default::default()
        };
        let updated = entity::sensor::Entity::update_many()
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
}
