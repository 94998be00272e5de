//! The newest reading of each sensor.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, EntityTrait, QuerySelect};

use super::{Store, StoreError, StoredReading};
use crate::{
    store::engine::Engine,
    telemetry::{Quality, SensorId, Timestamp},
};

/// One seek in each partition, the newest first, until one has something.
const NEWEST_POSTGRES: &str = "SELECT r.sensor_id, r.event_time, r.received_at, r.value, r.quality \
    FROM sensor s CROSS JOIN LATERAL (SELECT * FROM reading WHERE sensor_id = s.id \
    ORDER BY event_time DESC LIMIT 1) r";
const NEWEST_MARIADB: &str = "SELECT r.sensor_id, r.event_time, r.received_at, r.value, r.quality \
    FROM sensor s STRAIGHT_JOIN reading r ON r.sensor_id = s.id AND r.event_time = \
    (SELECT max(event_time) FROM reading WHERE sensor_id = s.id)";

impl Store {
    /// Of every sensor that has one.
    pub(in crate::store) async fn newest_readings(
        &self,
    ) -> Result<HashMap<SensorId, StoredReading>, StoreError> {
        let sql = match self.engine {
            Engine::Sqlite => return self.newest_in_file().await,
            Engine::Postgres => NEWEST_POSTGRES,
            Engine::MariaDb => NEWEST_MARIADB,
        };
        let statement = self.engine.statement(sql, []);
        let mut newest = HashMap::new();
        for row in self.readers.query_all_raw(statement).await? {
            let reading = StoredReading {
                sensor: SensorId(row.try_get("", "sensor_id")?),
                event_time: Timestamp::from_micros(row.try_get("", "event_time")?),
                received_at: Timestamp::from_micros(row.try_get("", "received_at")?),
                value: row.try_get("", "value")?,
                quality: Quality::from_code(row.try_get("", "quality")?),
            };
            newest.insert(reading.sensor, reading);
        }
        Ok(newest)
    }

    async fn newest_in_file(&self) -> Result<HashMap<SensorId, StoredReading>, StoreError> {
        let Some(file) = self.file() else { return Ok(HashMap::new()) };
        let ids = entity::sensor::Entity::find().select_only().column(entity::sensor::Column::Id);
        let ids: Vec<i64> = ids.into_tuple().all(&self.readers).await?;
        let sensors: Vec<SensorId> = ids.into_iter().map(SensorId).collect();
        file.read(move |reader| {
            let newest = sensors.iter().zip(reader.newest_of(&sensors)?);
            let some = newest.filter_map(|(sensor, newest)| {
                Some((*sensor, StoredReading::of(*sensor, &newest?)))
            });
            Ok(some.collect())
        })
        .await
    }
}
