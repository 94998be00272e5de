//! Roll-ups of readings by hour and by day on servers, with views of them as they are on SQLite.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (real, bytes) = match manager.get_database_backend() {
            DbBackend::Postgres => ("DOUBLE PRECISION", "BYTEA"),
            DbBackend::MySql => ("DOUBLE", "LONGBLOB"),
            _ => return Ok(()),
        };
        for statement in TABLES {
            let statement = statement.replace("REAL", real).replace("BYTES", bytes);
            manager.get_connection().execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

/// All times are microseconds since 1970 UTC; hours and days are counted from there.
const TABLES: &[&str] = &[
    "CREATE TABLE reading_hour (sensor_id BIGINT NOT NULL, hour BIGINT NOT NULL, \
     count BIGINT NOT NULL, valued BIGINT NOT NULL, min REAL NULL, max REAL NULL, sum REAL NULL, \
     m2 REAL NULL, first REAL NULL, last REAL NULL, sketch BYTES NULL, \
     PRIMARY KEY (sensor_id, hour))",
    "CREATE TABLE reading_day (sensor_id BIGINT NOT NULL, day BIGINT NOT NULL, \
     count BIGINT NOT NULL, valued BIGINT NOT NULL, min REAL NULL, max REAL NULL, sum REAL NULL, \
     m2 REAL NULL, first REAL NULL, last REAL NULL, sketch BYTES NULL, \
     PRIMARY KEY (sensor_id, day))",
    // Roll-ups are there of all hours before rolled_upto; raw readings, hourly roll-ups before the other
    // times are dropped.
    "CREATE TABLE reading_series (sensor_id BIGINT NOT NULL PRIMARY KEY, rolled_upto BIGINT NULL, \
     raw_from BIGINT NULL, hours_from BIGINT NULL)",
    // Hours whose roll-up is not what the readings say.
    "CREATE TABLE reading_stale (sensor_id BIGINT NOT NULL, hour BIGINT NOT NULL, \
     PRIMARY KEY (sensor_id, hour))",
    "CREATE VIEW reading_hourly AS SELECT sensor_id, hour * 3600000000 AS start, count, valued, \
     min, max, sum / NULLIF(valued, 0) AS mean, \
     sqrt(GREATEST(m2, 0) / NULLIF(valued, 0)) AS stddev, first, last FROM reading_hour",
    "CREATE VIEW reading_daily AS SELECT sensor_id, day * 86400000000 AS start, count, valued, \
     min, max, sum / NULLIF(valued, 0) AS mean, \
     sqrt(GREATEST(m2, 0) / NULLIF(valued, 0)) AS stddev, first, last FROM reading_day",
];
