use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "sensor")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub device_id: i64,
    pub name: String,
    pub display_name: Option<String>,
    #[sea_orm(column_name = "type")]
    pub kind: Option<String>,
    pub unit: Option<String>,
    pub location: Option<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub active: bool,
    pub created_at: i64,
    /// Since when it is out of the lists, its data kept and no more taken.
    pub retired_at: Option<i64>,
    /// Raised by each edit of a person's; the entity tag.
    pub version: i64,
    pub resolution: Option<f64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
