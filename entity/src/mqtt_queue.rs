//! A message that one session is owed.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mqtt_queue")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    pub message_id: i64,
    pub packet_id: i32,
    pub qos: i32,
    pub retain: bool,
    pub stage: i32,
    pub identifiers: Option<String>,
    pub share: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
