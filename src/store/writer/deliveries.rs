//! Which messages of persistent sessions are stored already.

use super::Transaction;
use crate::{
    store::{StoreError, engine::binds},
    telemetry::Timestamp,
};

impl Transaction<'_> {
    /// Whether this very message of a persistent session is stored already.
    ///
    /// # Errors
    /// As for [`super::Writer::transaction`], here and below.
    pub fn knows_delivery(
        &mut self,
        client_id: &str,
        packet_id: u16,
        payload_hash: &[u8; 16],
    ) -> Result<bool, StoreError> {
        let sql = "SELECT payload_hash FROM mqtt_inbound WHERE client_id = ?1 AND packet_id = ?2";
        let known = self.query_one(sql, &binds![client_id, packet_id], |row| row.blob(0))?;
        Ok(known.is_some_and(|known| known == payload_hash))
    }

    /// Notes that a message of a persistent session is stored.
    ///
    /// # Errors
    /// As above.
    pub fn record_delivery(
        &mut self,
        client_id: &str,
        packet_id: u16,
        payload_hash: &[u8; 16],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO mqtt_inbound (client_id, packet_id, payload_hash, stored_at) \
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT (client_id, packet_id) DO UPDATE SET \
             payload_hash = excluded.payload_hash, stored_at = excluded.stored_at",
            &binds![client_id, packet_id, &payload_hash[..], at],
        )
        .map(drop)
    }

    /// Forgets a client's messages: its session has begun anew.
    ///
    /// # Errors
    /// As above.
    pub fn forget_deliveries(&mut self, client_id: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM mqtt_inbound WHERE client_id = ?1", &binds![client_id]).map(drop)
    }
}
