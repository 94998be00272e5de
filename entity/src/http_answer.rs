use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "http_answer")]
pub struct Model {
    /// Digest of who asked, of what, and of the key that was sent along.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: Vec<u8>,
    /// Digest of the request's body.
    pub request: Vec<u8>,
    pub status: i32,
    /// A JSON object.
    pub headers: String,
    pub body: Vec<u8>,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
