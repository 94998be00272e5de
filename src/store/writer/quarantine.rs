//! Refused messages, and those of devices that wait for approval: kept within bounds.

use super::{Transaction, transaction::always};
use crate::{
    store::{NewQuarantine, StoreError, engine::binds},
    telemetry::DeviceId,
};

/// What the quarantine holds, counted once and kept along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct QuarantineUse {
    entries: i64,
    bytes: i64,
}

/// Bounds of the quarantine; past them the oldest entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineLimits {
    pub entries_max: i64,
    pub bytes_max: i64,
}

impl Transaction<'_> {
    /// Keeps a refused message; returns how many of the oldest went to make place for it.
    ///
    /// # Errors
    /// As for [`super::Writer::transaction`], here and below.
    pub fn quarantine(
        &mut self,
        entry: &NewQuarantine,
        limits: QuarantineLimits,
    ) -> Result<u64, StoreError> {
        let mut used = match self.quarantine {
            Some(used) => used,
            None => self.count_quarantine()?,
        };
        self.execute(
            "INSERT INTO quarantine (received_at, source, topic, client_id, device, reason, \
             detail, payload, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)",
            &binds![
                entry.received_at,
                entry.source,
                &entry.topic,
                &entry.client_id,
                &entry.device,
                entry.reason,
                &entry.detail,
                &entry.payload[..]
            ],
        )?;
        used.entries += 1;
        used.bytes += weight(entry);
        let mut dropped = 0;
        // The newest stays, whatever its size: a refused message is never lost without a trace.
        while used.entries > 1
            && (used.entries > limits.entries_max || used.bytes > limits.bytes_max)
            && let Some(bytes) = self.drop_oldest_quarantined()?
        {
            used.entries -= 1;
            used.bytes -= bytes;
            dropped += 1;
        }
        self.quarantine = Some(used);
        Ok(dropped)
    }

    fn count_quarantine(&self) -> Result<QuarantineUse, StoreError> {
        let sql = "SELECT count(*), CAST(coalesce(sum(length(payload)), 0) AS BIGINT) \
                   FROM quarantine";
        let counted = self.query_one(sql, &[], |row| {
            Ok(QuarantineUse { entries: row.int(0)?, bytes: row.int(1)? })
        })?;
        always(counted)
    }

    fn drop_oldest_quarantined(&self) -> Result<Option<i64>, StoreError> {
        let sql = "DELETE FROM quarantine WHERE id = (SELECT min(id) FROM quarantine) \
                   RETURNING length(payload)";
        self.query_one(sql, &[], |row| row.int(0))
    }

    /// Keeps a message of a device that waits for approval. `false`: its hold is full.
    ///
    /// # Errors
    /// As above.
    pub fn hold(
        &mut self,
        device: DeviceId,
        entry: &NewQuarantine,
        (messages_max, bytes_max): (i64, i64),
    ) -> Result<bool, StoreError> {
        let sql = "SELECT count(*), CAST(coalesce(sum(length(payload)), 0) AS BIGINT) \
                   FROM device_hold WHERE device_id = ?1";
        let counted =
            self.query_one(sql, &binds![device.0], |row| Ok((row.int(0)?, row.int(1)?)))?;
        let (messages, bytes) = always(counted)?;
        if messages >= messages_max || bytes + weight(entry) > bytes_max {
            return Ok(false);
        }
        self.execute(
            "INSERT INTO device_hold (device_id, received_at, source, topic, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            &binds![device.0, entry.received_at, entry.source, &entry.topic, &entry.payload[..]],
        )?;
        Ok(true)
    }

    /// Whether a message is still in the hold.
    ///
    /// # Errors
    /// As above.
    pub fn is_held(&self, id: i64) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM device_hold WHERE id = ?1";
        Ok(self.query_one(sql, &binds![id], |row| row.int(0))?.is_some())
    }

    /// Takes a message out of the hold.
    ///
    /// # Errors
    /// As above.
    pub fn release(&mut self, id: i64) -> Result<(), StoreError> {
        self.execute("DELETE FROM device_hold WHERE id = ?1", &binds![id]).map(drop)
    }
}

fn weight(entry: &NewQuarantine) -> i64 {
    i64::try_from(entry.payload.len()).unwrap_or(i64::MAX)
}
