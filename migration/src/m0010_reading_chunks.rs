//! Readings in a journal and in chunks, on SQLite; and views of them for people with `sqlite3`. The rows
//! of the table `reading` are moved when the store is opened, which then drops it.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            manager.get_connection().execute_unprepared(READING_CHUNKS).await?;
        }
        Ok(())
    }
}

/// All times are microseconds since 1970 UTC.
pub const READING_CHUNKS: &str = "
CREATE TABLE reading_journal (
    seq INTEGER PRIMARY KEY,
    base_time INTEGER NOT NULL,
    -- A JSON array of [sensor, event time - base_time, received - event time, value, quality?].
    rows TEXT NOT NULL
);
-- Readings of these ranges in journal rows up to seq are deleted.
CREATE TABLE reading_erasure (
    seq INTEGER NOT NULL,
    sensor_id INTEGER NOT NULL,
    from_time INTEGER NOT NULL,
    to_time INTEGER NOT NULL
);
CREATE TABLE reading_chunk (
    id INTEGER PRIMARY KEY,
    sensor_id INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    min_received INTEGER NOT NULL,
    max_received INTEGER NOT NULL,
    count INTEGER NOT NULL,
    -- The range of values, those of bad quality left out.
    low REAL,
    high REAL,
    data BLOB NOT NULL
);
CREATE INDEX reading_chunk_time ON reading_chunk
    (sensor_id, first_time, last_time, min_received, max_received, count);
CREATE INDEX reading_chunk_received ON reading_chunk
    (max_received, min_received, sensor_id, count);
CREATE TABLE reading_series (
    sensor_id INTEGER PRIMARY KEY,
    -- Journal rows up to it: this sensor's readings are in chunks.
    moved_seq INTEGER NOT NULL,
    -- Roll-ups are complete before this time.
    rolled_upto INTEGER,
    -- Raw readings, hourly roll-ups before these times are dropped.
    raw_from INTEGER,
    hours_from INTEGER,
    -- The reading in chunks with the newest event time.
    newest_time INTEGER,
    newest_received INTEGER,
    newest_value REAL,
    newest_quality INTEGER
);
CREATE TABLE reading_hour (
    sensor_id INTEGER NOT NULL,
    -- Hours since 1970.
    hour INTEGER NOT NULL,
    count INTEGER NOT NULL,
    valued INTEGER NOT NULL,
    min REAL,
    max REAL,
    sum REAL,
    -- Sum of squared distances from the mean.
    m2 REAL,
    first REAL,
    last REAL,
    sketch BLOB,
    PRIMARY KEY (sensor_id, hour)
) WITHOUT ROWID;
CREATE TABLE reading_day (
    sensor_id INTEGER NOT NULL,
    -- Days since 1970.
    day INTEGER NOT NULL,
    count INTEGER NOT NULL,
    valued INTEGER NOT NULL,
    min REAL,
    max REAL,
    sum REAL,
    m2 REAL,
    first REAL,
    last REAL,
    sketch BLOB,
    PRIMARY KEY (sensor_id, day)
) WITHOUT ROWID;
-- In place of raw chunks that were dropped: a value's statistics by minute.
CREATE TABLE reading_minute (
    id INTEGER PRIMARY KEY,
    sensor_id INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX reading_minute_time ON reading_minute (sensor_id, first_time, last_time);
CREATE TABLE reading_conversion (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    sensor_id INTEGER NOT NULL,
    event_time INTEGER NOT NULL
);
CREATE VIEW reading_recent AS
    SELECT json_extract(r.value, '$[0]') AS sensor_id,
        j.base_time + json_extract(r.value, '$[1]') AS event_time,
        j.base_time + json_extract(r.value, '$[1]') + json_extract(r.value, '$[2]') AS received_at,
        json_extract(r.value, '$[3]') AS value,
        coalesce(json_extract(r.value, '$[4]'), 0) AS quality
    FROM reading_journal j, json_each(j.rows) r
    WHERE j.seq > coalesce((SELECT s.moved_seq FROM reading_series s
            WHERE s.sensor_id = json_extract(r.value, '$[0]')), 0)
        AND NOT EXISTS (SELECT 1 FROM reading_erasure e
            WHERE e.sensor_id = json_extract(r.value, '$[0]') AND e.seq >= j.seq
                AND j.base_time + json_extract(r.value, '$[1]') >= e.from_time
                AND j.base_time + json_extract(r.value, '$[1]') < e.to_time);
CREATE VIEW reading_hourly AS
    SELECT sensor_id, hour * 3600000000 AS start, count, valued, min, max, sum / valued AS mean,
        sqrt(max(m2, 0) / valued) AS stddev, first, last
    FROM reading_hour;
CREATE VIEW reading_daily AS
    SELECT sensor_id, day * 86400000000 AS start, count, valued, min, max, sum / valued AS mean,
        sqrt(max(m2, 0) / valued) AS stddev, first, last
    FROM reading_day;
";
