//! Keys of programs.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::{Digest, digest};
use crate::{
    store::{Store, StoreError},
    telemetry::{DeviceKey, Timestamp},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    pub id: i64,
    pub name: String,
    pub prefix: String,
    pub key_hash: Digest,
    /// Words, one space between them.
    pub scopes: String,
    pub device: Option<DeviceKey>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    pub name: String,
    pub prefix: String,
    pub key_hash: Digest,
    pub scopes: String,
    pub device: Option<DeviceKey>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
}

/// All that may be changed of a key, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyEdit {
    pub name: String,
    pub scopes: String,
    pub expires_at: Option<Timestamp>,
}

const TAKEN: &str = "a key of that name";

impl Store {
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn api_keys(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        use entity::api_key::{Column, Entity};
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.readers).await?;
        Ok(rows.into_iter().filter_map(key_row).collect())
    }

    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name.
    pub async fn create_api_key(&self, key: &NewApiKey) -> Result<ApiKeyRow, StoreError> {
        let write = self.begin().await?;
        let model = entity::api_key::ActiveModel {
            name: Set(key.name.clone()),
            prefix: Set(key.prefix.clone()),
            key_hash: Set(key.key_hash.to_vec()),
            scopes: Set(key.scopes.clone()),
            device: Set(key.device.as_ref().map(ToString::to_string)),
            created_at: Set(key.created_at.as_micros()),
            created_by: Set(key.created_by.clone()),
            expires_at: Set(key.expires_at.map(Timestamp::as_micros)),
            version: Set(1),
            ..Default::default()
        };
        let inserted =
            entity::api_key::Entity::insert(model).exec_with_returning(&write.transaction).await;
        let row = inserted.map_err(|error| StoreError::from(error).named(TAKEN))?;
        write.commit().await?;
        key_row(row).ok_or(StoreError::NotFound("the key"))
    }

    /// Changes a key that is still at `version`; returns the next version.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone; [`StoreError::Exists`] when another has
    /// that name.
    pub async fn update_api_key(
        &self,
        id: i64,
        version: i64,
        edit: &ApiKeyEdit,
    ) -> Result<i64, StoreError> {
        use entity::api_key::{ActiveModel, Column, Entity};
        let write = self.begin().await?;
        let model = ActiveModel {
            name: Set(edit.name.clone()),
            scopes: Set(edit.scopes.clone()),
            expires_at: Set(edit.expires_at.map(Timestamp::as_micros)),
            version: Set(version + 1),
            ..Default::default()
        };
        let updated = Entity::update_many()
            .set(model)
            .filter(Column::Id.eq(id))
            .filter(Column::Version.eq(version))
            .exec(&write.transaction)
            .await
            .map_err(|error| StoreError::from(error).named(TAKEN))?;
        if updated.rows_affected == 0 {
            return Err(StoreError::Outdated);
        }
        write.commit().await?;
        Ok(version + 1)
    }

    /// # Errors
    /// As above.
    pub async fn delete_api_key(&self, id: i64) -> Result<(), StoreError> {
        let write = self.begin().await?;
        entity::api_key::Entity::delete_by_id(id).exec(&write.transaction).await?;
        write.commit().await
    }

    /// Notes when keys (first) and credentials of devices were used last.
    ///
    /// # Errors
    /// As above.
    pub async fn note_uses(
        &self,
        keys: &[(i64, Timestamp)],
        credentials: &[(i64, Timestamp)],
    ) -> Result<(), StoreError> {
        use sea_orm::sea_query::Expr;
        if keys.is_empty() && credentials.is_empty() {
            return Ok(());
        }
        let write = self.begin().await?;
        for (id, at) in keys {
            use entity::api_key::{Column, Entity};
            Entity::update_many()
                .col_expr(Column::UsedAt, Expr::value(at.as_micros()))
                .filter(Column::Id.eq(*id))
                .exec(&write.transaction)
                .await?;
        }
        for (id, at) in credentials {
            use entity::device_credential::{Column, Entity};
            Entity::update_many()
                .col_expr(Column::UsedAt, Expr::value(at.as_micros()))
                .filter(Column::Id.eq(*id))
                .exec(&write.transaction)
                .await?;
        }
        write.commit().await
    }
}

fn key_row(row: entity::api_key::Model) -> Option<ApiKeyRow> {
    // A binding that can't be read must not become a key without one.
    let device = row.device.map(|text| DeviceKey::new(&text)).transpose();
    let (Ok(device), Some(key_hash)) = (device, digest(&row.key_hash)) else {
        tracing::warn!(key = row.name, "a stored key can't be read and is left out");
        return None;
    };
    Some(ApiKeyRow {
        id: row.id,
        name: row.name,
        prefix: row.prefix,
        key_hash,
        scopes: row.scopes,
        device,
        created_at: Timestamp::from_micros(row.created_at),
        created_by: row.created_by,
        expires_at: row.expires_at.map(Timestamp::from_micros),
        used_at: row.used_at.map(Timestamp::from_micros),
        version: row.version,
    })
}
