//! Readings into the store, in the committer's transaction: a batch of them in one go.
//!
//! Each is fresh, a duplicate or in conflict with what is stored, as if they came one after the other.
//! On SQLite they gather in the transaction's batch, which becomes one row; a server is sent one statement
//! for all, returns the keys that it took, and is asked for the values of the others.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write,
};

use super::{Appended, StoreError, StoredReading, Transaction, months, since::is_late};
use crate::{
    store::engine::{Bind, Engine, Row, binds},
    telemetry::{SensorId, Timestamp},
};

const INSERT_POSTGRES: &str = "INSERT INTO reading (sensor_id, event_time, received_at, value, \
    quality) SELECT * FROM UNNEST(?1::bigint[], ?2::bigint[], ?3::bigint[], \
    ?4::double precision[], ?5::bigint[]) ON CONFLICT DO NOTHING RETURNING sensor_id, event_time";
const STORED_POSTGRES: &str = "SELECT r.sensor_id, r.event_time, r.value FROM \
    UNNEST(?1::bigint[], ?2::bigint[]) AS k (sensor_id, event_time) \
    JOIN reading r ON r.sensor_id = k.sensor_id AND r.event_time = k.event_time";
const REPLACE: &str = "UPDATE reading SET received_at = ?3, value = ?4, quality = ?5 \
    WHERE sensor_id = ?1 AND event_time = ?2";
const KEEP_CLAIMED: &str = "INSERT INTO reading_claimed_time (sensor_id, event_time, claimed) \
    VALUES (?1, ?2, ?3) ON CONFLICT (sensor_id, event_time) DO NOTHING";
const NOTE_LATE: &str = "INSERT INTO reading_late (received_at, sensor_id, event_time) \
    VALUES (?1, ?2, ?3) ON CONFLICT (received_at, sensor_id, event_time) DO NOTHING";

/// Rows of one statement on MariaDB, about 60 bytes each.
const ROWS: usize = 10_000;

/// Sensor and event time, in numbers.
type Key = (i64, i64);
/// What is stored under keys that were taken.
type Known = HashMap<Key, Option<f64>>;

impl Transaction<'_> {
    /// Stores readings whose keys are free, in their order; says of each what became of it.
    ///
    /// # Errors
    /// As [`crate::store::Writer::transaction`], here and below.
    pub fn append(&mut self, readings: &[StoredReading]) -> Result<Vec<Appended>, StoreError> {
        if readings.is_empty() {
            return Ok(Vec::new());
        }
        let (fresh, mut stored) = match self.engine() {
            Engine::Sqlite => return self.append_to_batch(readings),
            Engine::Postgres => {
                months::ensure(self, readings)?;
                self.append_to_postgres(readings)?
            }
            Engine::MariaDb => self.append_to_mariadb(readings)?,
        };
        self.mark_hours(fresh.iter().copied())?;
        let mut fresh: HashMap<Key, ()> = fresh.into_iter().map(|key| (key, ())).collect();
        let appended = readings.iter().map(|reading| {
            let key = key(reading);
            if fresh.remove(&key).is_some() {
                stored.insert(key, reading.value);
                return Ok(Appended::Fresh);
            }
            match stored.entry(key) {
                Entry::Occupied(known) => Ok(beside(*known.get(), reading.value)),
                Entry::Vacant(_) => {
                    Err(StoreError::Unavailable("a reading is neither new nor there".to_owned()))
                }
            }
        });
        appended.collect()
    }

    fn append_to_batch(&mut self, readings: &[StoredReading]) -> Result<Vec<Appended>, StoreError> {
        let Some((connection, batch)) = self.readings() else { return Ok(Vec::new()) };
        let append = |reading: &StoredReading| {
            Ok(batch.append(connection, reading.sensor, reading.into())?)
        };
        readings.iter().map(append).collect()
    }

    /// The keys that were free, and what is stored under the others.
    fn append_to_postgres(
        &mut self,
        readings: &[StoredReading],
    ) -> Result<(Vec<Key>, Known), StoreError> {
        let column = |of: fn(&StoredReading) -> i64| readings.iter().map(of).collect::<Vec<_>>();
        let sensors = column(|reading| reading.sensor.0);
        let times = column(|reading| reading.event_time.as_micros());
        let received = column(|reading| reading.received_at.as_micros());
        let values: Vec<_> = readings.iter().map(|reading| reading.value).collect();
        let qualities = column(|reading| reading.quality.code());
        let columns = [
            Bind::Ints(&sensors),
            Bind::Ints(&times),
            Bind::Ints(&received),
            Bind::Reals(&values),
            Bind::Ints(&qualities),
        ];
        let fresh = self.query(INSERT_POSTGRES, &columns, key_of)?;
        if fresh.len() == readings.len() {
            return Ok((fresh, HashMap::new()));
        }
        let keys = [Bind::Ints(&sensors), Bind::Ints(&times)];
        let stored = self.query(STORED_POSTGRES, &keys, |row| Ok((key_of(row)?, row.real(2)?)))?;
        Ok((fresh, stored.into_iter().collect()))
    }

    /// The same. Numbers alone, so they stand in the text: no statement of its own for each length.
    fn append_to_mariadb(
        &mut self,
        readings: &[StoredReading],
    ) -> Result<(Vec<Key>, Known), StoreError> {
        let (mut fresh, mut stored) = (Vec::with_capacity(readings.len()), HashMap::new());
        for rows in readings.chunks(ROWS) {
            // IGNORE passes over taken keys; what else it may pass over is found missing afterwards.
            let taken = self.run_query(&insert_mariadb(rows), key_of)?;
            if taken.len() < rows.len() {
                let known = |row: &Row<'_>| Ok((key_of(row)?, row.real(2)?));
                stored.extend(self.run_query(&stored_mariadb(rows), known)?);
            }
            fresh.extend(taken);
        }
        // Those of a file are all late.
        let late: Vec<_> = readings.iter().filter(|reading| is_late(reading)).collect();
        for rows in late.chunks(ROWS) {
            self.run_query(&note_late_mariadb(rows), |_| Ok(()))?;
        }
        Ok((fresh, stored))
    }

    /// Stores a reading in place of the one that its key has.
    ///
    /// # Errors
    /// As above.
    pub fn replace(&mut self, reading: &StoredReading) -> Result<(), StoreError> {
        let (sensor, event_time) = key(reading);
        let quality = reading.quality.code();
        if let Some((connection, batch)) = self.readings() {
            return Ok(batch.replace(connection, reading.sensor, reading.into())?);
        }
        let values = binds![sensor, event_time, reading.received_at, reading.value, quality];
        self.execute(REPLACE, &values)?;
        self.mark_hours([(sensor, event_time)])?;
        if self.engine() == Engine::MariaDb && is_late(reading) {
            self.execute(NOTE_LATE, &binds![reading.received_at, sensor, event_time])?;
        }
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
        self.execute(KEEP_CLAIMED, &binds![sensor.0, event_time, claimed]).map(drop)
    }
}

fn beside(stored: Option<f64>, value: Option<f64>) -> Appended {
    if stored == value { Appended::Duplicate } else { Appended::Conflict { stored } }
}

fn key(reading: &StoredReading) -> Key {
    (reading.sensor.0, reading.event_time.as_micros())
}

fn key_of(row: &Row<'_>) -> Result<Key, StoreError> {
    Ok((row.int(0)?, row.int(1)?))
}

fn insert_mariadb(rows: &[StoredReading]) -> String {
    let mut sql = String::with_capacity(128 + rows.len() * 72);
    sql.push_str(
        "INSERT IGNORE INTO reading (sensor_id, event_time, received_at, value, quality) VALUES ",
    );
    for (at, reading) in rows.iter().enumerate() {
        let (sensor, event_time) = key(reading);
        let (received, quality) = (reading.received_at.as_micros(), reading.quality.code());
        let comma = if at == 0 { "" } else { "," };
        // A number with an exponent is a double; without, it would be a decimal.
        let _ = match reading.value {
            Some(value) => {
                write!(sql, "{comma}({sensor},{event_time},{received},{value:e},{quality})")
            }
            None => write!(sql, "{comma}({sensor},{event_time},{received},NULL,{quality})"),
        };
    }
    sql.push_str(" RETURNING sensor_id, event_time");
    sql
}

fn note_late_mariadb(rows: &[&StoredReading]) -> String {
    let mut sql = String::with_capacity(128 + rows.len() * 56);
    sql.push_str("INSERT INTO reading_late (received_at, sensor_id, event_time) VALUES ");
    for (at, reading) in rows.iter().enumerate() {
        let (sensor, event_time) = key(reading);
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(sql, "{comma}({},{sensor},{event_time})", reading.received_at.as_micros());
    }
    sql.push_str(" ON DUPLICATE KEY UPDATE sensor_id = sensor_id");
    sql
}

fn stored_mariadb(rows: &[StoredReading]) -> String {
    let mut sql = String::with_capacity(128 + rows.len() * 32);
    sql.push_str(
        "SELECT sensor_id, event_time, value FROM reading WHERE (sensor_id, event_time) IN (",
    );
    for (at, reading) in rows.iter().enumerate() {
        let (sensor, event_time) = key(reading);
        let _ = write!(sql, "{}({sensor},{event_time})", if at == 0 { "" } else { "," });
    }
    sql.push(')');
    sql
}
