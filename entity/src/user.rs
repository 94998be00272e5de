use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[sea_orm(unique)]
    pub name: String,
    pub email: Option<String>,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    pub active: bool,
    /// argon2id in PHC form, or bcrypt of a moved user.
    pub password_hash: String,
    /// A JSON list of permissions, such as `publish:shop/#`.
    pub mqtt_allow: String,
    pub created_at: i64,
    pub updated_at: i64,
    /// Raised by each edit; the entity tag.
    pub version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
