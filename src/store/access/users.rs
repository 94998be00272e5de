//! People who sign in.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::{permissions, permissions_json};
use crate::{
    store::{Store, StoreError},
    telemetry::Timestamp,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    pub id: i64,
    pub name: String,
    pub email: Option<String>,
    pub role: String,
    pub active: bool,
    pub password_hash: String,
    pub mqtt_allow: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    pub name: String,
    pub email: Option<String>,
    pub role: String,
    pub password_hash: String,
    pub mqtt_allow: Vec<String>,
    pub created_at: Timestamp,
}

/// All that may be changed of a user, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEdit {
    pub email: Option<String>,
    pub role: String,
    pub active: bool,
    pub password_hash: String,
    pub mqtt_allow: Vec<String>,
    pub updated_at: Timestamp,
}

impl Store {
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn users(&self) -> Result<Vec<UserRow>, StoreError> {
        use entity::user::{Column, Entity};
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.readers).await?;
        Ok(rows.into_iter().map(UserRow::from).collect())
    }

    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name.
    pub async fn create_user(&self, user: &NewUser) -> Result<UserRow, StoreError> {
        let write = self.begin().await?;
        let model = entity::user::ActiveModel {
            name: Set(user.name.clone()),
            email: Set(user.email.clone()),
            role: Set(user.role.clone()),
            active: Set(true),
            password_hash: Set(user.password_hash.clone()),
            mqtt_allow: Set(permissions_json(&user.mqtt_allow)),
            created_at: Set(user.created_at.as_micros()),
            updated_at: Set(user.created_at.as_micros()),
            version: Set(1),
            ..Default::default()
        };
        let inserted =
            entity::user::Entity::insert(model).exec_with_returning(&write.transaction).await;
        let row = inserted.map_err(|error| StoreError::from(error).named("a user of that name"))?;
        write.commit().await?;
        Ok(row.into())
    }

    /// Changes a user that is still at `version`; returns the next version.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it is not, or is gone.
    pub async fn update_user(
        &self,
        id: i64,
        version: i64,
        edit: &UserEdit,
    ) -> Result<i64, StoreError> {
        use entity::user::{ActiveModel, Column, Entity};
        let write = self.begin().await?;
        let model = ActiveModel {
            email: Set(edit.email.clone()),
            role: Set(edit.role.clone()),
            active: Set(edit.active),
            password_hash: Set(edit.password_hash.clone()),
            mqtt_allow: Set(permissions_json(&edit.mqtt_allow)),
            updated_at: Set(edit.updated_at.as_micros()),
            version: Set(version + 1),
            ..Default::default()
        };
        let updated = Entity::update_many()
            .set(model)
            .filter(Column::Id.eq(id))
            .filter(Column::Version.eq(version))
            .exec(&write.transaction)
            .await?;
        if updated.rows_affected == 0 {
            return Err(StoreError::Outdated);
        }
        write.commit().await?;
        Ok(version + 1)
    }

    /// Deletes a user with its sessions.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_user(&self, id: i64) -> Result<(), StoreError> {
        let write = self.begin().await?;
        entity::user::Entity::delete_by_id(id).exec(&write.transaction).await?;
        write.commit().await
    }
}

impl From<entity::user::Model> for UserRow {
    fn from(row: entity::user::Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            email: row.email,
            role: row.role,
            active: row.active,
            password_hash: row.password_hash,
            mqtt_allow: permissions(&row.mqtt_allow),
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
            version: row.version,
        }
    }
}
