//! Readings: clustered by (sensor, event time), no other index, no foreign key.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_sqlite = manager.get_database_backend() == DbBackend::Sqlite;
        let mut reading = Table::create()
            .table("reading")
            .col(big_integer("sensor_id"))
            .col(big_integer("event_time"))
            .col(big_integer("received_at"))
            .col(double_null("value"))
            .col(small_integer("quality"))
            .primary_key(Index::create().col("sensor_id").col("event_time"))
            .to_owned();
        let mut claimed_time = Table::create()
            .table("reading_claimed_time")
            .col(big_integer("sensor_id"))
            .col(big_integer("event_time"))
            .col(big_integer("claimed"))
            .primary_key(Index::create().col("sensor_id").col("event_time"))
            .to_owned();
        if is_sqlite {
            reading.extra("WITHOUT ROWID");
            claimed_time.extra("WITHOUT ROWID");
        }
        manager.create_table(reading).await?;
        manager.create_table(claimed_time).await
    }
}
