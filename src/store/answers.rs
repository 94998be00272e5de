//! Answers to requests that may come again (`Idempotency-Key`), for as long as they are kept.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, sea_query::OnConflict,
};

use super::{Store, StoreError};
use crate::telemetry::Timestamp;

/// Answers that a trim leaves, and bytes of their bodies: in all, and of one caller, who so can't push
/// out those of others. The oldest go.
const ANSWERS_MAX: u64 = 10_000;
const BYTES_MAX: u64 = 64 << 20;
const ANSWERS_OF_ONE_MAX: u64 = 1_000;
const BYTES_OF_ONE_MAX: u64 = 8 << 20;
/// Bytes at the front of a key that stand for who asked.
pub const CALLER_BYTES: usize = 8;
const TRIM: &str = "DELETE FROM http_answer WHERE \"key\" IN (SELECT \"key\" FROM \
    (SELECT \"key\", row_number() OVER (ORDER BY created_at DESC, \"key\") AS place, \
    sum(length(body)) OVER (ORDER BY created_at DESC, \"key\" ROWS UNBOUNDED PRECEDING) AS size, \
    row_number() OVER (PARTITION BY substr(\"key\", 1, 8) ORDER BY created_at DESC, \"key\") \
    AS own_place, sum(length(body)) OVER (PARTITION BY substr(\"key\", 1, 8) \
    ORDER BY created_at DESC, \"key\" ROWS UNBOUNDED PRECEDING) AS own_size FROM http_answer) \
    AS placed WHERE place > ?1 OR size > ?2 OR own_place > ?3 OR own_size > ?4)";
// The statement has the number itself: PostgreSQL would take a value for one that is too wide.
const _: () = assert!(CALLER_BYTES == 8);

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Digest of who asked ([`CALLER_BYTES`]), then of who, of what, and of the key that was sent along.
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

    /// Keeps an answer; those older than `since` go.
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
        write.commit().await
    }

    /// Deletes what is past the bounds. Looks at every answer: not for each one that is kept.
    ///
    /// # Errors
    /// As above.
    pub async fn trim_http_answers(&self) -> Result<(), StoreError> {
        let bounds = [ANSWERS_MAX, BYTES_MAX, ANSWERS_OF_ONE_MAX, BYTES_OF_ONE_MAX];
        let trim = self.engine.statement(TRIM, bounds.map(Into::into));
        let write = self.begin().await?;
        write.transaction.execute_raw(trim).await?;
        write.commit().await
    }
}
