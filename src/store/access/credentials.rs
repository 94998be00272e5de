//! How devices prove who they are, and what they may do beyond their own topics.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    sea_query::OnConflict,
};

use super::{Digest, digest, permissions, permissions_json};
use crate::{
    store::{Store, StoreError},
    telemetry::{DeviceId, Timestamp},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A generated secret's HMAC.
    Secret(Digest),
    /// The common name of a certificate.
    Certificate(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRow {
    pub id: i64,
    pub device: DeviceId,
    pub proof: Proof,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCredential {
    pub device: DeviceId,
    pub proof: Proof,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
}

impl Store {
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn device_credentials(&self) -> Result<Vec<CredentialRow>, StoreError> {
        use entity::device_credential::{Column, Entity};
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.readers).await?;
        Ok(rows.into_iter().filter_map(credential_row).collect())
    }

    /// Adds a credential; the device's other secrets end at `others_until`, where that is given.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when the device is gone.
    pub async fn create_device_credential(
        &self,
        credential: &NewCredential,
        others_until: Option<Timestamp>,
    ) -> Result<CredentialRow, StoreError> {
        use entity::device_credential::{ActiveModel, Column, Entity};
        let write = self.begin().await?;
        if let Some(until) = others_until {
            let later = Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(until.as_micros()));
            Entity::update_many()
                .set(ActiveModel { expires_at: Set(Some(until.as_micros())), ..Default::default() })
                .filter(Column::DeviceId.eq(credential.device.0))
                .filter(Column::Kind.eq("secret"))
                .filter(later)
                .exec(&write.transaction)
                .await?;
        }
        let (kind, secret_hash, subject) = match &credential.proof {
            Proof::Secret(digest) => ("secret", Some(digest.to_vec()), None),
            Proof::Certificate(subject) => ("certificate", None, Some(subject.clone())),
        };
        let model = ActiveModel {
            device_id: Set(credential.device.0),
            kind: Set(kind.to_owned()),
            secret_hash: Set(secret_hash),
            subject: Set(subject),
            created_at: Set(credential.created_at.as_micros()),
            created_by: Set(credential.created_by.clone()),
            expires_at: Set(credential.expires_at.map(Timestamp::as_micros)),
            ..Default::default()
        };
        let row = Entity::insert(model).exec_with_returning(&write.transaction).await?;
        write.commit().await?;
        credential_row(row).ok_or(StoreError::NotFound("the credential"))
    }

    /// # Errors
    /// As above.
    pub async fn delete_device_credentials(&self, ids: &[i64]) -> Result<(), StoreError> {
        use entity::device_credential::{Column, Entity};
        let write = self.begin().await?;
        let these = Column::Id.is_in(ids.iter().copied());
        Entity::delete_many().filter(these).exec(&write.transaction).await?;
        write.commit().await
    }

    /// What devices may do beyond their own topics; those without are left out.
    ///
    /// # Errors
    /// As above.
    pub async fn device_permissions(&self) -> Result<Vec<(DeviceId, Vec<String>)>, StoreError> {
        let rows = entity::device_access::Entity::find().all(&self.readers).await?;
        let row = |row: entity::device_access::Model| {
            (DeviceId(row.device_id), permissions(&row.mqtt_allow))
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// # Errors
    /// [`StoreError::Rejected`] when the device is gone.
    pub async fn set_device_permissions(
        &self,
        device: DeviceId,
        permissions: &[String],
    ) -> Result<(), StoreError> {
        use entity::device_access::{ActiveModel, Column, Entity};
        let write = self.begin().await?;
        let model = ActiveModel {
            device_id: Set(device.0),
            mqtt_allow: Set(permissions_json(permissions)),
        };
        let mut replace = OnConflict::column(Column::DeviceId);
        replace.update_column(Column::MqttAllow);
        Entity::insert(model)
            .on_conflict(replace)
            .exec_without_returning(&write.transaction)
            .await?;
        write.commit().await
    }
}

fn credential_row(row: entity::device_credential::Model) -> Option<CredentialRow> {
    let secret = row.secret_hash.as_deref().and_then(digest).map(Proof::Secret);
    let Some(proof) = secret.or_else(|| row.subject.map(Proof::Certificate)) else {
        tracing::warn!(id = row.id, "a stored credential can't be read and is left out");
        return None;
    };
    Some(CredentialRow {
        id: row.id,
        device: DeviceId(row.device_id),
        proof,
        created_at: Timestamp::from_micros(row.created_at),
        created_by: row.created_by,
        expires_at: row.expires_at.map(Timestamp::from_micros),
        used_at: row.used_at.map(Timestamp::from_micros),
    })
}
