use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub kind: String,
    /// What it is about: a device, a sensor, a file.
    pub subject: String,
    /// `queued`, `running`, `cancelling`, `done`, `failed` or `cancelled`.
    pub state: String,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub done: i64,
    pub total: i64,
    /// JSON objects: what was asked for, where to go on after a restart, what has come of it.
    pub parameters: String,
    pub checkpoint: String,
    pub result: String,
    pub error: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
