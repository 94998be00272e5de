//! Whom notifications are sent to, and how.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notification_target")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(unique)]
    pub name: String,
    pub channel: String,
    /// It stands in the configuration and is not edited here.
    pub provisioned: bool,
    pub enabled: bool,
    /// Raised by each edit; the entity tag.
    pub version: i64,
    /// A JSON object: the channel's settings, and what is routed here.
    pub body: String,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
