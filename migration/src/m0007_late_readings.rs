//! Readings that came long after they were taken, by when they came: a stream that is resumed finds
//! the others near their event times, and these here. Such readings are few; the others cost nothing.

use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // MariaDB has no indexes of some rows only: the keys of such readings stand in a table.
        if manager.get_database_backend() == DbBackend::MySql {
            let noted = Table::create()
                .table("reading_late")
                .col(big_integer("received_at"))
                .col(big_integer("sensor_id"))
                .col(big_integer("event_time"))
                .primary_key(Index::create().col("received_at").col("sensor_id").col("event_time"))
                .to_owned();
            return manager.create_table(noted).await;
        }
        // The same expression as in the store's query: it would not be used else.
        let index = "CREATE INDEX reading_late ON reading (received_at) \
                     WHERE received_at - event_time > 600000000";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }
}
