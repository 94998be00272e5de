//! Dropping readings of long ago, in steps that ingest can get between: raw ones go before what was made of
//! them.

use sea_orm::ConnectionTrait;

use super::{Removed, Store, StoreError};
use crate::{
    store::chunks::{Dropped, KeepMinutes},
    telemetry::{SensorId, Timestamp},
};

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// Readings. Statistics by hour and day stay, those by minute with `keeps_minutes`, which is for
    /// SQLite.
    Raw { keeps_minutes: bool },
    /// Statistics by hour and minute, where readings are gone.
    Hours,
    /// Statistics by day, where those by hour are gone.
    Days,
}

const CLAIMED: &str =
    "SELECT event_time FROM reading_claimed_time WHERE sensor_id = ?1 AND event_time < ?2 LIMIT 1";

const HOUR: i64 = 3_600_000_000;

impl Store {
    /// Drops some of what a sensor has from before a time: of readings a whole hour, of all else a whole
    /// day. What [`Removed`] counts are readings, or hours, or days.
    ///
    /// # Errors
    /// When the database does not answer, or what it has of the sensor is damaged.
    pub async fn drop_some(
        &self,
        sensor: SensorId,
        old: Old,
        before: Timestamp,
    ) -> Result<Removed, StoreError> {
        let micros = before.as_micros();
        let hour = Timestamp::from_micros(micros - micros.rem_euclid(HOUR));
        if let Some(rolled) = self.rolled() {
            let micros = hour.as_micros();
            let dropped = match old {
                Old::Raw { .. } => self.drop_raw_rows(rolled, sensor, micros).await?,
                Old::Hours => self.drop_hour_rows(rolled, sensor, micros).await?,
                Old::Days => self.drop_day_rows(rolled, sensor, micros).await?,
            };
            return match old {
                Old::Raw { .. } if !dropped.has_more => {
                    let claimed = self.drop_claimed(sensor, hour).await?;
                    Ok(Removed { has_more: claimed.has_more, ..dropped })
                }
                _ => Ok(dropped),
            };
        }
        let Some(file) = self.file() else {
            return Ok(Removed { readings: 0, has_more: false });
        };
        let step = file.change(move |readings, connection, gate| {
            let gate = || gate.blocking_lock();
            match old {
                Old::Raw { keeps_minutes } => {
                    let keep = if keeps_minutes { KeepMinutes::Yes } else { KeepMinutes::No };
                    readings.drop_raw(connection, sensor, before, keep, gate)
                }
                Old::Hours => readings.drop_hours(connection, sensor, before, gate),
                Old::Days => readings.drop_days(connection, sensor, before, gate),
            }
        });
        let Dropped { rows, has_more } = step.await?;
        match old {
            Old::Raw { .. } if !has_more => {
                let claimed = self.drop_claimed(sensor, hour).await?;
                Ok(Removed { readings: rows, has_more: claimed.has_more })
            }
            _ => Ok(Removed { readings: rows, has_more }),
        }
    }

    async fn drop_claimed(
        &self,
        sensor: SensorId,
        before: Timestamp,
    ) -> Result<Removed, StoreError> {
        let mut has_more = self.has_before(CLAIMED, sensor, before).await?;
        if has_more {
            let range = (Timestamp::MIN, before);
            has_more = self.delete_claimed(sensor, range).await?;
        }
        Ok(Removed { readings: 0, has_more })
    }

    /// Looked at first, so that a sensor with nothing old costs no transaction.
    async fn has_before(
        &self,
        sql: &str,
        sensor: SensorId,
        before: Timestamp,
    ) -> Result<bool, StoreError> {
        let values = [sensor.0.into(), before.as_micros().into()];
        let found = self.readers.query_one_raw(self.engine.statement(sql, values)).await?;
        Ok(found.is_some())
    }
}
