//! Answers to requests that may come again (`Idempotency-Key`), for as long as they are kept.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseBackend, EntityTrait, QueryFilter,
    Statement, sea_query::OnConflict,
};

use super::{Store, StoreError};
use crate::telemetry::Timestamp;

/// Answers that are kept; past it the oldest go.
const ANSWERS_MAX: u64 = 10_000;
const TRIM: &str = "DELETE FROM http_answer WHERE created_at <= (SELECT created_at FROM \
    http_answer ORDER BY created_at DESC LIMIT 1 OFFSET ?)";

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Digest of who asked, of what, and of the key that was sent along.
    pub key: [u8; 32],
    /// Digest of the request's body.
    pub request: [u8; 32],
    pub status: u16,
    /// A JSON object.
    pub headers: String,
    pub body: Vec<u8>,
    pub created_at: Timestamp,
}

impl Store {
    /// The answer kept under `key`, unless it is older than `since`.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn http_answer(
        &self,
        key: &[u8; 32],
        since: Timestamp,
    ) -> Result<Option<HttpAnswer>, StoreError> {
        let found = entity::http_answer::Entity::find_by_id(key.to_vec()).one(&self.readers);
        let Some(row) = found.await?.filter(|row| row.created_at >= since.as_micros()) else {
            return Ok(None);
        };
        let digest = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).unwrap_or_default();
        Ok(Some(HttpAnswer {
            key: *key,
            request: digest(row.request),
            status: u16::try_from(row.status).unwrap_or(500),
            headers: row.headers,
            body: row.body,
            created_at: Timestamp::from_micros(row.created_at),
        }))
    }

    /// Keeps an answer; those older than `since`, and the oldest past the bound, go.
    ///
    /// # Errors
    /// As above.
    pub async fn keep_http_answer(
        &self,
        answer: HttpAnswer,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        use entity::http_answer::{ActiveModel, Column, Entity};
        let model = ActiveModel {
            key: Set(answer.key.to_vec()),
            request: Set(answer.request.to_vec()),
            status: Set(i32::from(answer.status)),
            headers: Set(answer.headers),
            body: Set(answer.body),
            created_at: Set(answer.created_at.as_micros()),
        };
        let others = [Column::Request, Column::Status, Column::Headers, Column::Body];
        let replace = OnConflict::column(Column::Key)
            .update_columns(others.into_iter().chain([Column::CreatedAt]))
            .to_owned();
        let write = self.begin().await?;
        let insert = Entity::insert(model).on_conflict(replace);
        insert.exec_without_returning(&write.transaction).await?;
        Entity::delete_many()
            .filter(Column::CreatedAt.lt(since.as_micros()))
            .exec(&write.transaction)
            .await?;
        let trim =
            Statement::from_sql_and_values(DatabaseBackend::Sqlite, TRIM, [ANSWERS_MAX.into()]);
        write.transaction.execute_raw(trim).await?;
        write.commit().await
    }
}
