use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "quarantine")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub received_at: i64,
    /// `mqtt` or `http`.
    pub source: String,
    /// The MQTT topic, or the HTTP path.
    pub topic: String,
    pub client_id: Option<String>,
    pub device: Option<String>,
    pub reason: String,
    pub detail: String,
    pub payload: Vec<u8>,
    pub attempts: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
