use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(unique)]
    pub key: String,
    pub name: Option<String>,
    /// `device` or `gateway`.
    pub kind: String,
    /// The key of the gateway that speaks for it.
    pub gateway: Option<String>,
    pub status: Option<String>,
    pub firmware: Option<String>,
    pub ip: Option<String>,
    pub uptime_seconds: Option<i64>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    /// A JSON object of strings.
    pub labels: String,
    pub first_seen: i64,
    pub last_seen: Option<i64>,
    pub last_heartbeat: Option<i64>,
    pub online: bool,
    /// A JSON object: the device as its last messages describe it.
    pub last_report: Option<String>,
    /// `active`, `pending` or `blocked`.
    pub approval: String,
    /// Raised by each edit of a person's; the entity tag.
    pub version: i64,
    /// Since when it is out of the lists, its data kept and no more taken.
    pub retired_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
