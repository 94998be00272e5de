//! Readings that came long after they were taken, by when they came: a stream that is resumed finds
//! the others near their event times, and these here. Such readings are few; the others cost nothing.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // MySQL has no partial indexes, and wants the expression's own parentheses elsewhere.
        if manager.get_database_backend() == DbBackend::MySql {
            return Ok(());
        }
        // The same expression as in the store's query: it would not be used else.
        let index = "CREATE INDEX reading_late ON reading (received_at) \
                     WHERE received_at - event_time > 600000000";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }
}
