//! When alarms of a device or a sensor were raised and cleared: what charts mark.

use sea_orm::{FromQueryResult, Value};

use super::{RAISED, Store, StoreError};
use crate::telemetry::{SensorId, Timestamp};

/// A moment of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmMark {
    pub alarm: i64,
    pub at: Timestamp,
    /// As the store keeps it.
    pub severity: i64,
    /// Cleared otherwise.
    pub is_raised: bool,
}

/// Active alarms of a device and its sensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAlarms {
    pub device: String,
    pub count: u64,
    /// As the store keeps it.
    pub severity_max: u8,
}

#[derive(Debug, FromQueryResult)]
struct DeviceRow {
    device: String,
    count: i64,
    severity: i64,
}

#[derive(Debug, FromQueryResult)]
struct Row {
    alarm_id: i64,
    at: i64,
    severity: i64,
    kind: String,
}

/// From the device to its alarms to their events: the cross join keeps this order, as a range may hold the
/// events of a whole fleet.
pub(super) const MARKS: &str = "SELECT e.alarm_id, e.at, \
    CAST(e.severity AS BIGINT) AS severity, e.kind \
    FROM alarm a CROSS JOIN alarm_event e WHERE e.alarm_id = a.id AND a.device = ?1 \
    AND coalesce(a.sensor_id, 0) = coalesce(?2, 0) AND a.changed_at >= ?3 \
    AND e.kind IN ('raised', 'cleared', 'latched', 'forced_clear') \
    AND e.at >= ?3 AND e.at < ?4 ORDER BY e.at DESC LIMIT ?5";
pub(super) const ACTIVE: &str = "SELECT device, count(*) AS count, \
    CAST(max(severity) AS BIGINT) AS severity \
    FROM alarm WHERE closed = FALSE AND active = TRUE GROUP BY device";

impl Store {
    /// How many alarms each device has whose condition holds, and how grave they are.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn active_alarms_by_device(&self) -> Result<Vec<DeviceAlarms>, StoreError> {
        let statement = self.engine.statement(ACTIVE, []);
        let rows = DeviceRow::find_by_statement(statement).all(&self.readers).await?;
        let alarms = |row: DeviceRow| DeviceAlarms {
            device: row.device,
            count: u64::try_from(row.count).unwrap_or(0),
            severity_max: u8::try_from(row.severity).unwrap_or(0),
        };
        Ok(rows.into_iter().map(alarms).collect())
    }

    /// The last moments of a range, the newest first; those of the device itself where no sensor is
    /// given.
    ///
    /// # Errors
    /// As above.
    pub async fn alarm_marks(
        &self,
        (device, sensor): (&str, Option<SensorId>),
        (from, to): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<AlarmMark>, StoreError> {
        let values: [Value; 5] = [
            device.into(),
            sensor.map(|sensor| sensor.0).into(),
            from.as_micros().into(),
            to.as_micros().into(),
            limit.into(),
        ];
        let statement = self.engine.statement(MARKS, values);
        let rows = Row::find_by_statement(statement).all(&self.readers).await?;
        let mark = |row: Row| AlarmMark {
            alarm: row.alarm_id,
            at: Timestamp::from_micros(row.at),
            severity: row.severity,
            is_raised: row.kind == RAISED,
        };
        Ok(rows.into_iter().map(mark).collect())
    }
}
