//! Sign-ins that go on: one row for each family of refresh tokens, with digests only.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::{Digest, digest};
use crate::{
    store::{Store, StoreError},
    telemetry::Timestamp,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub id: i64,
    pub user: i64,
    pub selector_hash: Digest,
    pub token_hash: Digest,
    pub created_at: Timestamp,
    pub last_use: SessionUse,
}

/// When and from where its refresh token was used last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUse {
    pub used_at: Timestamp,
    pub expires_at: Timestamp,
    pub user_agent: Option<String>,
    pub address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    pub user: i64,
    pub selector_hash: Digest,
    pub token_hash: Digest,
    pub first_use: SessionUse,
}

impl Store {
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn user_sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        use entity::user_session::{Column, Entity};
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.readers).await?;
        Ok(rows.into_iter().filter_map(session_row).collect())
    }

    /// # Errors
    /// [`StoreError::Rejected`] when the user is gone.
    pub async fn create_user_session(&self, session: &NewSession) -> Result<i64, StoreError> {
        let write = self.begin().await?;
        let used = &session.first_use;
        let model = entity::user_session::ActiveModel {
            user_id: Set(session.user),
            selector_hash: Set(session.selector_hash.to_vec()),
            token_hash: Set(session.token_hash.to_vec()),
            created_at: Set(used.used_at.as_micros()),
            used_at: Set(used.used_at.as_micros()),
            expires_at: Set(used.expires_at.as_micros()),
            user_agent: Set(used.user_agent.clone()),
            address: Set(used.address.clone()),
            ..Default::default()
        };
        let inserted = entity::user_session::Entity::insert(model).exec(&write.transaction).await?;
        write.commit().await?;
        Ok(inserted.last_insert_id)
    }

    /// Puts the next refresh token in the place of the one that was used.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when another has been put there in the meantime.
    pub async fn rotate_user_session(
        &self,
        id: i64,
        (old, new): (&Digest, &Digest),
        used: &SessionUse,
    ) -> Result<(), StoreError> {
        use entity::user_session::{ActiveModel, Column, Entity};
        let write = self.begin().await?;
        let model = ActiveModel {
            token_hash: Set(new.to_vec()),
            used_at: Set(used.used_at.as_micros()),
            expires_at: Set(used.expires_at.as_micros()),
            user_agent: Set(used.user_agent.clone()),
            address: Set(used.address.clone()),
            ..Default::default()
        };
        let updated = Entity::update_many()
            .set(model)
            .filter(Column::Id.eq(id))
            .filter(Column::TokenHash.eq(old.to_vec()))
            .exec(&write.transaction)
            .await?;
        if updated.rows_affected == 0 {
            return Err(StoreError::Outdated);
        }
        write.commit().await
    }

    /// # Errors
    /// As above.
    pub async fn end_user_sessions(&self, ids: &[i64]) -> Result<(), StoreError> {
        use entity::user_session::{Column, Entity};
        if ids.is_empty() {
            return Ok(());
        }
        let write = self.begin().await?;
        for chunk in ids.chunks(1_000) {
            let these = Column::Id.is_in(chunk.iter().copied());
            Entity::delete_many().filter(these).exec(&write.transaction).await?;
        }
        write.commit().await
    }
}

fn session_row(row: entity::user_session::Model) -> Option<SessionRow> {
    Some(SessionRow {
        id: row.id,
        user: row.user_id,
        selector_hash: digest(&row.selector_hash)?,
        token_hash: digest(&row.token_hash)?,
        created_at: Timestamp::from_micros(row.created_at),
        last_use: SessionUse {
            used_at: Timestamp::from_micros(row.used_at),
            expires_at: Timestamp::from_micros(row.expires_at),
            user_agent: row.user_agent,
            address: row.address,
        },
    })
}
