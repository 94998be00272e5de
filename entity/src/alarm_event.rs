//! A transition of an alarm, or what a person did to it.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "alarm_event")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub alarm_id: i64,
    pub kind: String,
    pub at: i64,
    pub arrival: i64,
    pub severity: i16,
    pub value: Option<f64>,
    pub event_time: Option<i64>,
    pub actor: Option<String>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
