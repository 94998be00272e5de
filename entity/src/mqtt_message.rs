//! A message that some session is owed.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mqtt_message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub topic: String,
    pub payload: Vec<u8>,
    pub properties: Vec<u8>,
    pub qos: i32,
    pub retain: bool,
    pub is_utf8: bool,
    pub received_at: i64,
    pub expires_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
