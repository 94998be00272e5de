//! Roll-ups know between when there were readings, and the worst of their qualities.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in ROLLUP_TIMES {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// Null in roll-ups of before.
pub const ROLLUP_TIMES: [&str; 6] = [
    "ALTER TABLE reading_hour ADD COLUMN first_at BIGINT NULL",
    "ALTER TABLE reading_hour ADD COLUMN last_at BIGINT NULL",
    "ALTER TABLE reading_hour ADD COLUMN quality BIGINT NULL",
    "ALTER TABLE reading_day ADD COLUMN first_at BIGINT NULL",
    "ALTER TABLE reading_day ADD COLUMN last_at BIGINT NULL",
    "ALTER TABLE reading_day ADD COLUMN quality BIGINT NULL",
];
