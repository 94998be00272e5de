//! Readings: clustered by (sensor, event time), no other index, no foreign key.
//!
//! PostgreSQL keeps them in partitions by months, which the store makes as they are needed; here are the
//! two that take what lies far out.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

/// Before 2015, and from 2060 on.
const FAR_OUT: &str = "CREATE TABLE reading_before_2015 PARTITION OF reading \
    FOR VALUES FROM (MINVALUE) TO (1420070400000000); \
    CREATE TABLE reading_from_2060 PARTITION OF reading \
    FOR VALUES FROM (2840140800000000) TO (MAXVALUE)";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        // It rounds rows up to eight bytes anyway.
        let quality = match backend {
            DbBackend::Postgres => big_integer("quality"),
            _ => small_integer("quality"),
        };
        let mut reading = Table::create()
            .table("reading")
            .col(big_integer("sensor_id"))
            .col(big_integer("event_time"))
            .col(big_integer("received_at"))
            .col(double_null("value"))
            .col(quality)
            .primary_key(Index::create().col("sensor_id").col("event_time"))
            .to_owned();
        let mut claimed_time = Table::create()
            .table("reading_claimed_time")
            .col(big_integer("sensor_id"))
            .col(big_integer("event_time"))
            .col(big_integer("claimed"))
            .primary_key(Index::create().col("sensor_id").col("event_time"))
            .to_owned();
        if backend == DbBackend::Sqlite {
            reading.extra("WITHOUT ROWID");
            claimed_time.extra("WITHOUT ROWID");
        }
        if backend == DbBackend::Postgres {
            reading.extra("PARTITION BY RANGE (event_time)");
        }
        manager.create_table(reading).await?;
        if backend == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(FAR_OUT).await?;
        }
        manager.create_table(claimed_time).await
    }
}
