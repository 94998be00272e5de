//! What ingest reads back: the messages of devices that waited, the clients whose messages are noted.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::{HeldMessage, Store, StoreError};
use crate::telemetry::{DeviceId, Timestamp};

impl Store {
    /// The oldest messages that a device's hold has.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn held(&self, device: DeviceId, limit: u64) -> Result<Vec<HeldMessage>, StoreError> {
        let rows = held(device, limit).all(&self.readers).await?;
        Ok(rows
            .into_iter()
            .map(|row| HeldMessage {
                id: row.id,
                received_at: Timestamp::from_micros(row.received_at),
                source: row.source,
                topic: row.topic,
                payload: row.payload,
            })
            .collect())
    }

    /// Clients of persistent sessions of which stored messages are noted.
    ///
    /// # Errors
    /// As above.
    pub async fn clients_with_deliveries(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT client_id FROM mqtt_inbound";
        let statement = self.engine.statement(sql, []);
        let rows = self.readers.query_all_raw(statement).await?;
        rows.iter().map(|row| Ok(row.try_get("", "client_id")?)).collect()
    }
}

pub(super) fn held(device: DeviceId, limit: u64) -> Select<entity::device_hold::Entity> {
    use entity::device_hold::Column;
    entity::device_hold::Entity::find()
        .filter(Column::DeviceId.eq(device.0))
        .order_by_asc(Column::Id)
        .limit(limit)
}
