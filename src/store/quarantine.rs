//! Refused messages, for people to look at, retry and delete.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    Select, sea_query::Expr,
};

use super::{QuarantineRow, Store, StoreError};
use crate::telemetry::Timestamp;

pub(super) const SIZE: &str = "SELECT count(*) AS entries, \
    CAST(coalesce(sum(length(payload)), 0) AS BIGINT) AS bytes FROM quarantine";

impl Store {
    /// Newest first, and whether there are more; `before` is the last id of the page before. A page
    /// ends at `limit` entries, and before the one that makes its payloads more than `bytes_max`,
    /// unless that is the first.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn quarantine_page(
        &self,
        device: Option<&str>,
        before: Option<i64>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<(Vec<QuarantineRow>, bool), StoreError> {
        let all = sizes(device, before, limit as u64 + 1);
        let all: Vec<(i64, i32)> = all.into_tuple().all(&self.readers).await?;
        let mut bytes = 0;
        let fitting = all.iter().take(limit).take_while(|(_, size)| {
            let is_first = bytes == 0;
            bytes += usize::try_from(*size).unwrap_or(0).max(1);
            is_first || bytes <= bytes_max
        });
        let count = fitting.count();
        // Entries are not changed in size, and later ones are not of this page.
        let newest = all.first().map_or(i64::MAX, |(id, _)| id.saturating_add(1));
        let rows = page(device, Some(newest), count as u64).all(&self.readers).await?;
        Ok((rows.into_iter().map(row).collect(), count < all.len()))
    }

    /// # Errors
    /// As above.
    pub async fn quarantined(&self, id: i64) -> Result<Option<QuarantineRow>, StoreError> {
        let found = entity::quarantine::Entity::find_by_id(id).one(&self.readers).await?;
        Ok(found.map(row))
    }

    /// `false`: there was no such entry.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_quarantined(&self, id: i64) -> Result<bool, StoreError> {
        let write = self.begin().await?;
        let deleted = entity::quarantine::Entity::delete_by_id(id).exec(&write.transaction).await?;
        write.commit().await?;
        Ok(deleted.rows_affected > 0)
    }

    /// Notes that a retry of the entry was refused, and why.
    ///
    /// # Errors
    /// As above.
    pub async fn count_quarantine_attempt(
        &self,
        id: i64,
        reason: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        use entity::quarantine::Column;
        let write = self.begin().await?;
        entity::quarantine::Entity::update_many()
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .col_expr(Column::Reason, Expr::value(reason))
            .col_expr(Column::Detail, Expr::value(detail))
            .filter(Column::Id.eq(id))
            .exec(&write.transaction)
            .await?;
        write.commit().await
    }

    /// Entries, and the bytes of their payloads.
    ///
    /// # Errors
    /// As above.
    pub async fn quarantine_size(&self) -> Result<(u64, u64), StoreError> {
        let statement = self.engine.statement(SIZE, []);
        let Some(row) = self.readers.query_one_raw(statement).await? else {
            return Ok((0, 0));
        };
        let (entries, bytes): (i64, i64) = (row.try_get("", "entries")?, row.try_get("", "bytes")?);
        Ok((u64::try_from(entries).unwrap_or(0), u64::try_from(bytes).unwrap_or(0)))
    }
}

pub(super) fn page(
    device: Option<&str>,
    before: Option<i64>,
    limit: u64,
) -> Select<entity::quarantine::Entity> {
    use entity::quarantine::Column;
    let mut select = entity::quarantine::Entity::find();
    if let Some(device) = device {
        select = select.filter(Column::Device.eq(device));
    }
    if let Some(before) = before {
        select = select.filter(Column::Id.lt(before));
    }
    select.order_by_desc(Column::Id).limit(limit)
}

/// The same, with only id and size of each.
pub(super) fn sizes(
    device: Option<&str>,
    before: Option<i64>,
    limit: u64,
) -> Select<entity::quarantine::Entity> {
    let select = page(device, before, limit).select_only();
    select.column(entity::quarantine::Column::Id).expr(Expr::cust("length(payload)"))
}

fn row(row: entity::quarantine::Model) -> QuarantineRow {
    QuarantineRow {
        id: row.id,
        received_at: Timestamp::from_micros(row.received_at),
        source: row.source,
        topic: row.topic,
        client_id: row.client_id,
        device: row.device,
        reason: row.reason,
        detail: row.detail,
        payload: row.payload,
        attempts: row.attempts,
    }
}
