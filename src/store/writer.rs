//! The committer's connection: one transaction per batch, prepared statements, no task switch.
//!
//! Measured (see docs/performance.md): below SeaORM because a statement per row through it costs ten
//! times as much, and its multi-row form can't say which rows were fresh.

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::Mutex;

use super::{NewDevice, NewQuarantine, NewSensor, ReportRow, StoreError, StoredReading};
use crate::telemetry::{DeviceId, Quality, SensorId, Timestamp};

/// Statements that stay prepared.
const STATEMENTS: usize = 96;
/// Pages that may gather in the log before they are written back.
const CHECKPOINT_PAGES: i64 = 4_000;

pub struct Writer {
    connection: Connection,
    gate: Arc<Mutex<()>>,
    quarantine: Option<QuarantineUse>,
}

/// What the quarantine holds, counted once and kept along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct QuarantineUse {
    entries: i64,
    bytes: i64,
}

/// Bounds of the quarantine; past them the oldest entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineLimits {
    pub entries_max: i64,
    pub bytes_max: i64,
}

/// A batch in progress: all of it is stored, or none.
pub struct Transaction<'a> {
    inner: rusqlite::Transaction<'a>,
    quarantine: Option<QuarantineUse>,
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Appended {
    Fresh,
    /// The same value is stored for that sensor and time.
    Duplicate,
    /// Another value is, and stays.
    Conflict {
        stored: Option<f64>,
    },
}

impl Writer {
    pub(super) fn open(
        path: &Path,
        busy_timeout: Duration,
        gate: Arc<Mutex<()>>,
    ) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(busy_timeout)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { connection, gate, quarantine: None })
    }

    /// Runs `work` in a transaction and commits it to disk; rolls back when it fails. Blocks.
    ///
    /// # Errors
    /// What `work` or the database says; [`StoreError::is_poison`] tells which is at fault.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _gate = self.gate.blocking_lock();
        let inner = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut transaction = Transaction { inner, quarantine: self.quarantine };
        let result = work(&mut transaction)?;
        let quarantine = transaction.quarantine;
        transaction.inner.commit()?;
        self.quarantine = quarantine;
        Ok(result)
    }

    /// Runs `work` in a transaction that is rolled back. Blocks.
    ///
    /// # Errors
    /// As above.
    pub fn rehearse<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _gate = self.gate.blocking_lock();
        let inner = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        work(&mut Transaction { inner, quarantine: self.quarantine })
    }

    /// The `synchronous` setting in force; 2 is FULL.
    #[cfg(test)]
    pub(super) fn synchronous(&self) -> i64 {
        self.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap_or(-1)
    }

    /// Forgets what is known of the quarantine's size: somebody else has changed it.
    pub fn recount_quarantine(&mut self) {
        self.quarantine = None;
    }
}

impl Transaction<'_> {
    pub(super) fn prepared(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
        Ok(self.inner.prepare_cached(sql)?)
    }

    /// Stores a reading unless its key is taken.
    ///
    /// # Errors
    /// As [`Writer::transaction`], here and below.
    pub fn append(
        &mut self,
        sensor: SensorId,
        event_time: Timestamp,
        received_at: Timestamp,
        value: Option<f64>,
        quality: Quality,
    ) -> Result<Appended, StoreError> {
        let inserted = self
            .inner
            .prepare_cached(
                "INSERT INTO reading (sensor_id, event_time, received_at, value, quality) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (sensor_id, event_time) DO NOTHING",
            )?
            .execute(params![
                sensor.0,
                event_time.as_micros(),
                received_at.as_micros(),
                value,
                quality.code()
            ])?;
        if inserted == 1 {
            return Ok(Appended::Fresh);
        }
        let stored: Option<f64> = self
            .inner
            .prepare_cached("SELECT value FROM reading WHERE sensor_id = ?1 AND event_time = ?2")?
            .query_row(params![sensor.0, event_time.as_micros()], |row| row.get(0))?;
        if stored == value { Ok(Appended::Duplicate) } else { Ok(Appended::Conflict { stored }) }
    }

    /// Stores a reading in place of the one that its key has.
    ///
    /// # Errors
    /// As above.
    pub fn replace(&mut self, reading: &StoredReading) -> Result<(), StoreError> {
        self.inner
            .prepare_cached(
                "UPDATE reading SET received_at = ?3, value = ?4, quality = ?5 \
                 WHERE sensor_id = ?1 AND event_time = ?2",
            )?
            .execute(params![
                reading.sensor.0,
                reading.event_time.as_micros(),
                reading.received_at.as_micros(),
                reading.value,
                reading.quality.code()
            ])?;
        Ok(())
    }

    /// Keeps the time that a device gave and that was replaced by ours.
    ///
    /// # Errors
    /// As above.
    pub fn keep_claimed_time(
        &mut self,
        sensor: SensorId,
        event_time: Timestamp,
        claimed: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner
            .prepare_cached(
                "INSERT INTO reading_claimed_time (sensor_id, event_time, claimed) \
                 VALUES (?1, ?2, ?3) ON CONFLICT (sensor_id, event_time) DO NOTHING",
            )?
            .execute(params![sensor.0, event_time.as_micros(), claimed.as_micros()])?;
        Ok(())
    }

    /// The id of the device with that key, which is made where there is none.
    ///
    /// # Errors
    /// As above.
    pub fn ensure_device(&mut self, device: &NewDevice) -> Result<DeviceId, StoreError> {
        self.inner
            .prepare_cached(
                "INSERT INTO device (key, name, kind, gateway, labels, first_seen, online, \
                 approval, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 1) \
                 ON CONFLICT (key) DO NOTHING",
            )?
            .execute(params![
                device.key.as_str(),
                device.name,
                device.kind.as_str(),
                device.gateway,
                device.labels,
                device.first_seen.as_micros(),
                device.approval.as_str()
            ])?;
        let id = self
            .inner
            .prepare_cached("SELECT id FROM device WHERE key = ?1")?
            .query_row([device.key.as_str()], |row| row.get(0))?;
        Ok(DeviceId(id))
    }

    /// The id of the device's sensor of that name, which is made where there is none.
    ///
    /// # Errors
    /// As above.
    pub fn ensure_sensor(&mut self, sensor: &NewSensor) -> Result<SensorId, StoreError> {
        self.inner
            .prepare_cached(
                "INSERT INTO sensor (device_id, name, unit, active, created_at) \
                 VALUES (?1, ?2, ?3, 1, ?4) ON CONFLICT (device_id, name) DO NOTHING",
            )?
            .execute(params![
                sensor.device.0,
                sensor.name.as_str(),
                sensor.unit,
                sensor.created_at.as_micros()
            ])?;
        let id = self
            .inner
            .prepare_cached("SELECT id FROM sensor WHERE device_id = ?1 AND name = ?2")?
            .query_row(params![sensor.device.0, sensor.name.as_str()], |row| row.get(0))?;
        Ok(SensorId(id))
    }

    /// Sets the unit of a sensor that has none.
    ///
    /// # Errors
    /// As above.
    pub fn learn_unit(&mut self, sensor: SensorId, unit: &str) -> Result<(), StoreError> {
        self.inner
            .prepare_cached("UPDATE sensor SET unit = ?2 WHERE id = ?1 AND unit IS NULL")?
            .execute(params![sensor.0, unit])?;
        Ok(())
    }

    /// Writes what messages have changed of a device.
    ///
    /// # Errors
    /// As above.
    pub fn save_report(&mut self, report: &ReportRow) -> Result<(), StoreError> {
        let facts = &report.facts;
        self.inner
            .prepare_cached(
                "UPDATE device SET status = ?2, firmware = ?3, ip = ?4, uptime_seconds = ?5, \
                 latitude = ?6, longitude = ?7, last_seen = ?8, last_heartbeat = ?9, \
                 online = ?10, last_report = ?11 WHERE id = ?1",
            )?
            .execute(params![
                report.device.0,
                facts.status,
                facts.firmware,
                facts.ip,
                facts.uptime_seconds,
                facts.location.map(|l| l.latitude),
                facts.location.map(|l| l.longitude),
                report.last_seen.map(Timestamp::as_micros),
                report.last_heartbeat.map(Timestamp::as_micros),
                report.online,
                report.last_report
            ])?;
        Ok(())
    }

    /// Keeps a refused message; returns how many of the oldest went to make place for it.
    ///
    /// # Errors
    /// As above.
    pub fn quarantine(
        &mut self,
        entry: &NewQuarantine,
        limits: QuarantineLimits,
    ) -> Result<u64, StoreError> {
        let mut used = match self.quarantine {
            Some(used) => used,
            None => self.count_quarantine()?,
        };
        self.inner
            .prepare_cached(
                "INSERT INTO quarantine (received_at, source, topic, client_id, device, reason, \
                 detail, payload, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)",
            )?
            .execute(params![
                entry.received_at.as_micros(),
                entry.source,
                entry.topic,
                entry.client_id,
                entry.device,
                entry.reason,
                entry.detail,
                &entry.payload[..]
            ])?;
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
        let counted = self.inner.query_row(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM quarantine",
            [],
            |row| Ok(QuarantineUse { entries: row.get(0)?, bytes: row.get(1)? }),
        )?;
        Ok(counted)
    }

    fn drop_oldest_quarantined(&self) -> Result<Option<i64>, StoreError> {
        let bytes = self
            .inner
            .prepare_cached(
                "DELETE FROM quarantine WHERE id = (SELECT min(id) FROM quarantine) \
                 RETURNING length(payload)",
            )?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(bytes)
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
        let (messages, bytes): (i64, i64) = self
            .inner
            .prepare_cached(
                "SELECT count(*), coalesce(sum(length(payload)), 0) FROM device_hold \
                 WHERE device_id = ?1",
            )?
            .query_row([device.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if messages >= messages_max || bytes + weight(entry) > bytes_max {
            return Ok(false);
        }
        self.inner
            .prepare_cached(
                "INSERT INTO device_hold (device_id, received_at, source, topic, payload) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                device.0,
                entry.received_at.as_micros(),
                entry.source,
                entry.topic,
                &entry.payload[..]
            ])?;
        Ok(true)
    }

    /// Whether a message is still in the hold.
    ///
    /// # Errors
    /// As above.
    pub fn is_held(&self, id: i64) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM device_hold WHERE id = ?1";
        Ok(self.inner.prepare_cached(sql)?.exists([id])?)
    }

    /// Takes a message out of the hold.
    ///
    /// # Errors
    /// As above.
    pub fn release(&mut self, id: i64) -> Result<(), StoreError> {
        self.inner.prepare_cached("DELETE FROM device_hold WHERE id = ?1")?.execute([id])?;
        Ok(())
    }

    /// Whether this very message of a persistent session is stored already.
    ///
    /// # Errors
    /// As above.
    pub fn knows_delivery(
        &mut self,
        client_id: &str,
        packet_id: u16,
        payload_hash: &[u8; 16],
    ) -> Result<bool, StoreError> {
        let known: Option<Vec<u8>> = self
            .inner
            .prepare_cached(
                "SELECT payload_hash FROM mqtt_inbound WHERE client_id = ?1 AND packet_id = ?2",
            )?
            .query_row(params![client_id, packet_id], |row| row.get(0))
            .optional()?;
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
        self.inner
            .prepare_cached(
                "INSERT INTO mqtt_inbound (client_id, packet_id, payload_hash, stored_at) \
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT (client_id, packet_id) DO UPDATE SET \
                 payload_hash = excluded.payload_hash, stored_at = excluded.stored_at",
            )?
            .execute(params![client_id, packet_id, &payload_hash[..], at.as_micros()])?;
        Ok(())
    }

    /// Forgets a client's messages: its session has begun anew.
    ///
    /// # Errors
    /// As above.
    pub fn forget_deliveries(&mut self, client_id: &str) -> Result<(), StoreError> {
        self.inner
            .prepare_cached("DELETE FROM mqtt_inbound WHERE client_id = ?1")?
            .execute([client_id])?;
        Ok(())
    }
}

fn weight(entry: &NewQuarantine) -> i64 {
    i64::try_from(entry.payload.len()).unwrap_or(i64::MAX)
}
