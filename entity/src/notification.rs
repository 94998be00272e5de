//! Something to be told: the outbox.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notification")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Of two with the same key only one is ever written.
    #[sea_orm(unique)]
    pub key: String,
    pub alarm_id: Option<i64>,
    pub event_id: Option<i64>,
    pub target: String,
    pub channel: String,
    /// `raised`, `escalated`, `cleared`, `repeated` or `test`.
    pub kind: String,
    pub group_key: String,
    /// A JSON object: what is told.
    pub body: String,
    /// `waiting`, `sent`, `dead` or `cancelled`.
    pub state: String,
    pub attempts: i32,
    pub not_before: i64,
    pub created_at: i64,
    pub sent_at: Option<i64>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
