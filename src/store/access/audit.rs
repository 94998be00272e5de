//! Who did what to which resource, when, from where.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, Func},
};

use crate::{
    store::{Store, StoreError},
    telemetry::Timestamp,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAudit {
    pub at: Timestamp,
    /// `user`, `key`, `console` or `nobody`.
    pub actor_kind: &'static str,
    pub actor: String,
    pub action: String,
    pub resource: String,
    pub detail: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    pub id: i64,
    pub at: Timestamp,
    pub actor_kind: String,
    pub actor: String,
    pub action: String,
    pub resource: String,
    pub detail: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
}

/// What is asked for; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub action: Option<String>,
    /// What the resource begins with.
    pub resource: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// The last id of the page before.
    pub before: Option<i64>,
}

impl Store {
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn add_audit(&self, entry: NewAudit) -> Result<(), StoreError> {
        let write = self.begin().await?;
        let model = entity::audit::ActiveModel {
            at: Set(entry.at.as_micros()),
            actor_kind: Set(entry.actor_kind.to_owned()),
            actor: Set(entry.actor),
            action: Set(entry.action),
            resource: Set(entry.resource),
            detail: Set(entry.detail),
            address: Set(entry.address),
            request_id: Set(entry.request_id),
            ..Default::default()
        };
        entity::audit::Entity::insert(model).exec(&write.transaction).await?;
        write.commit().await
    }

    /// Newest first.
    ///
    /// # Errors
    /// As above.
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        limit: u64,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let rows = page(filter, limit).all(&self.readers).await?;
        Ok(rows.into_iter().map(AuditRow::from).collect())
    }

    /// Deletes the oldest entries until `entries_max` are left.
    ///
    /// # Errors
    /// As above.
    pub async fn prune_audit(&self, entries_max: i64) -> Result<(), StoreError> {
        use entity::audit::{Column, Entity};
        let newest = Entity::find().order_by_desc(Column::Id).one(&self.readers).await?;
        let Some(newest) = newest else { return Ok(()) };
        let last = newest.id.saturating_sub(entries_max);
        let has_older = Entity::find().filter(Column::Id.lte(last)).one(&self.readers).await?;
        if has_older.is_none() {
            return Ok(());
        }
        let write = self.begin().await?;
        Entity::delete_many().filter(Column::Id.lte(last)).exec(&write.transaction).await?;
        write.commit().await
    }
}

fn page(filter: &AuditFilter, limit: u64) -> Select<entity::audit::Entity> {
    use entity::audit::{Column, Entity};
    let mut select = Entity::find();
    if let Some(actor) = &filter.actor {
        select = select.filter(Column::Actor.eq(actor));
    }
    if let Some(action) = &filter.action {
        select = select.filter(Column::Action.eq(action));
    }
    if let Some(resource) = &filter.resource {
        // LIKE would take % and _ for other characters, and an order may differ from server to server.
        let length = i32::try_from(resource.chars().count()).unwrap_or(i32::MAX);
        let begin = Func::cust("substr").arg(Expr::col(Column::Resource)).arg(1).arg(length);
        select = select.filter(Expr::expr(begin).eq(resource.as_str()));
    }
    if let Some(from) = filter.from {
        select = select.filter(Column::At.gte(from.as_micros()));
    }
    if let Some(to) = filter.to {
        select = select.filter(Column::At.lt(to.as_micros()));
    }
    if let Some(before) = filter.before {
        select = select.filter(Column::Id.lt(before));
    }
    select.order_by_desc(Column::Id).limit(limit)
}

impl From<entity::audit::Model> for AuditRow {
    fn from(row: entity::audit::Model) -> Self {
        Self {
            id: row.id,
            at: Timestamp::from_micros(row.at),
            actor_kind: row.actor_kind,
            actor: row.actor,
            action: row.action,
            resource: row.resource,
            detail: row.detail,
            address: row.address,
            request_id: row.request_id,
        }
    }
}
