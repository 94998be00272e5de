//! Whom notifications are sent to, and when some of them are not: seldom changed, read often.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
};

use super::{
    NotificationTargetEdit, NotificationTargetRow, Provisioned, SilenceEdit, SilenceRow, Store,
    StoreError,
};
use crate::telemetry::Timestamp;
use entity::{notification_target, silence};

impl Store {
    /// Every target.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn notification_targets(&self) -> Result<Vec<NotificationTargetRow>, StoreError> {
        let rows = notification_target::Entity::find()
            .order_by_asc(notification_target::Column::Id)
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(target).collect())
    }

    /// # Errors
    /// As above.
    pub async fn notification_target(
        &self,
        id: i64,
    ) -> Result<Option<NotificationTargetRow>, StoreError> {
        Ok(notification_target::Entity::find_by_id(id).one(&self.readers).await?.map(target))
    }

    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name.
    pub async fn create_notification_target(
        &self,
        edit: &NotificationTargetEdit,
        at: Timestamp,
    ) -> Result<NotificationTargetRow, StoreError> {
        let write = self.begin().await?;
        let target = insert(&write.transaction, edit, false, at).await?;
        write.commit().await?;
        Ok(target)
    }

    /// Changes a target if it is still at `version`; returns it with its next version.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone; [`StoreError::Exists`] when another target
    /// has that name.
    pub async fn update_notification_target(
        &self,
        id: i64,
        version: i64,
        edit: &NotificationTargetEdit,
        at: Timestamp,
    ) -> Result<NotificationTargetRow, StoreError> {
        let write = self.begin().await?;
        let found = notification_target::Entity::find_by_id(id)
            .filter(notification_target::Column::Version.eq(version))
            .one(&write.transaction)
            .await?;
        let Some(found) = found else { return Err(StoreError::Outdated) };
        let target = update(&write.transaction, found, edit, at).await?;
        write.commit().await?;
        Ok(target)
    }

    /// Deletes a target if it is still at `version`. What waits for it in the outbox stays.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone.
    pub async fn delete_notification_target(
        &self,
        id: i64,
        version: i64,
    ) -> Result<(), StoreError> {
        let write = self.begin().await?;
        let deleted = notification_target::Entity::delete_many()
            .filter(notification_target::Column::Id.eq(id))
            .filter(notification_target::Column::Version.eq(version))
            .exec(&write.transaction)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(StoreError::Outdated);
        }
        write.commit().await
    }

    /// Makes the provisioned targets those of the configuration, as
    /// [`Store::provision_alarm_rules`] does for rules.
    ///
    /// # Errors
    /// As above; nothing is changed then.
    pub async fn provision_notification_targets(
        &self,
        configured: &[NotificationTargetEdit],
        at: Timestamp,
    ) -> Result<Provisioned, StoreError> {
        let write = self.begin().await?;
        let stored = notification_target::Entity::find().all(&write.transaction).await?;
        let mut stored: HashMap<String, notification_target::Model> =
            stored.into_iter().map(|row| (row.name.clone(), row)).collect();
        let mut outcome = Provisioned::default();
        for edit in configured {
            match stored.remove(&edit.name) {
                Some(row) if !row.provisioned => outcome.clashes.push(row.name),
                Some(row) if is_same(&row, edit) => {}
                Some(row) => {
                    update(&write.transaction, row, edit, at).await?;
                    outcome.updated += 1;
                }
                None => {
                    insert(&write.transaction, edit, true, at).await?;
                    outcome.created += 1;
                }
            }
        }
        let gone = stored.into_values().filter(|row| row.provisioned);
        outcome.removed = gone.map(|row| (row.id, row.name)).collect();
        outcome.removed.sort();
        let ids = outcome.removed.iter().map(|(id, _)| *id);
        notification_target::Entity::delete_many()
            .filter(notification_target::Column::Id.is_in(ids))
            .exec(&write.transaction)
            .await?;
        write.commit().await?;
        Ok(outcome)
    }

    /// The silences that end after `ending_after`, or all, in the order in which they were made.
    ///
    /// # Errors
    /// As above.
    pub async fn silences(
        &self,
        ending_after: Option<Timestamp>,
    ) -> Result<Vec<SilenceRow>, StoreError> {
        let mut select = silence::Entity::find();
        if let Some(time) = ending_after {
            select = select.filter(silence::Column::EndsAt.gt(time.as_micros()));
        }
        let rows = select.order_by_asc(silence::Column::Id).all(&self.readers).await?;
        Ok(rows.into_iter().map(silence_row).collect())
    }

    /// # Errors
    /// As above.
    pub async fn silence(&self, id: i64) -> Result<Option<SilenceRow>, StoreError> {
        Ok(silence::Entity::find_by_id(id).one(&self.readers).await?.map(silence_row))
    }

    /// # Errors
    /// As above.
    pub async fn create_silence(
        &self,
        edit: &SilenceEdit,
        at: Timestamp,
    ) -> Result<SilenceRow, StoreError> {
        let write = self.begin().await?;
        let model = silence::ActiveModel {
            body: Set(edit.body.clone()),
            starts_at: Set(edit.starts_at.as_micros()),
            ends_at: Set(edit.ends_at.as_micros()),
            created_at: Set(at.as_micros()),
            ..Default::default()
        };
        let id = silence::Entity::insert(model).exec(&write.transaction).await?.last_insert_id;
        write.commit().await?;
        let SilenceEdit { body, starts_at, ends_at } = edit.clone();
        Ok(SilenceRow { id, body, starts_at, ends_at, created_at: at })
    }

    /// # Errors
    /// [`StoreError::NotFound`] when it is gone.
    pub async fn update_silence(&self, id: i64, edit: &SilenceEdit) -> Result<(), StoreError> {
        let write = self.begin().await?;
        let model = silence::ActiveModel {
            body: Set(edit.body.clone()),
            starts_at: Set(edit.starts_at.as_micros()),
            ends_at: Set(edit.ends_at.as_micros()),
            ..Default::default()
        };
        let updated = silence::Entity::update_many()
            .set(model)
            .filter(silence::Column::Id.eq(id))
            .exec(&write.transaction)
            .await?;
        if updated.rows_affected == 0 {
            return Err(StoreError::NotFound("the silence"));
        }
        write.commit().await
    }

    /// `false`: there was no such silence.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_silence(&self, id: i64) -> Result<bool, StoreError> {
        let write = self.begin().await?;
        let deleted = silence::Entity::delete_by_id(id).exec(&write.transaction).await?;
        write.commit().await?;
        Ok(deleted.rows_affected > 0)
    }
}

fn is_same(row: &notification_target::Model, edit: &NotificationTargetEdit) -> bool {
    row.channel == edit.channel && row.enabled == edit.enabled && row.body == edit.body
}

async fn insert(
    transaction: &DatabaseTransaction,
    edit: &NotificationTargetEdit,
    provisioned: bool,
    at: Timestamp,
) -> Result<NotificationTargetRow, StoreError> {
    let model = notification_target::ActiveModel {
        name: Set(edit.name.clone()),
        channel: Set(edit.channel.clone()),
        provisioned: Set(provisioned),
        enabled: Set(edit.enabled),
        version: Set(1),
        body: Set(edit.body.clone()),
        created_at: Set(at.as_micros()),
        updated_at: Set(at.as_micros()),
        ..Default::default()
    };
    let inserted = notification_target::Entity::insert(model).exec(transaction).await;
    Ok(NotificationTargetRow {
        id: inserted.map_err(name_taken)?.last_insert_id,
        name: edit.name.clone(),
        channel: edit.channel.clone(),
        provisioned,
        enabled: edit.enabled,
        version: 1,
        body: edit.body.clone(),
        created_at: at,
        updated_at: at,
    })
}

async fn update(
    transaction: &DatabaseTransaction,
    row: notification_target::Model,
    edit: &NotificationTargetEdit,
    at: Timestamp,
) -> Result<NotificationTargetRow, StoreError> {
    let version = row.version + 1;
    let model = notification_target::ActiveModel {
        name: Set(edit.name.clone()),
        channel: Set(edit.channel.clone()),
        enabled: Set(edit.enabled),
        version: Set(version),
        body: Set(edit.body.clone()),
        updated_at: Set(at.as_micros()),
        ..Default::default()
    };
    notification_target::Entity::update_many()
        .set(model)
        .filter(notification_target::Column::Id.eq(row.id))
        .exec(transaction)
        .await
        .map_err(name_taken)?;
    let NotificationTargetEdit { name, channel, enabled, body } = edit.clone();
    Ok(NotificationTargetRow {
        name,
        channel,
        enabled,
        version,
        body,
        updated_at: at,
        ..target(row)
    })
}

fn name_taken(error: sea_orm::DbErr) -> StoreError {
    match StoreError::from(error) {
        StoreError::Exists(_) => StoreError::Exists("a target of that name"),
        other => other,
    }
}

fn target(row: notification_target::Model) -> NotificationTargetRow {
    NotificationTargetRow {
        id: row.id,
        name: row.name,
        channel: row.channel,
        provisioned: row.provisioned,
        enabled: row.enabled,
        version: row.version,
        body: row.body,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    }
}

fn silence_row(row: silence::Model) -> SilenceRow {
    SilenceRow {
        id: row.id,
        body: row.body,
        starts_at: Timestamp::from_micros(row.starts_at),
        ends_at: Timestamp::from_micros(row.ends_at),
        created_at: Timestamp::from_micros(row.created_at),
    }
}
