//! Marks of hours whose readings change after they were rolled up, or while they are.
//!
//! A mark is written in the transaction of the change. Readings of the present cost a look into a map.

use std::{collections::BTreeSet, fmt::Write};

use super::Rolled;
use crate::store::{Engine, StoreError, Transaction, chunks::HOUR};

/// Sensor and hour, in numbers.
pub(super) type Hour = (i64, i64);

/// Marks of one statement.
const ROWS: usize = 1_000;

impl Rolled {
    /// From here on each change before the times given marks its hour. Under the gate.
    pub(super) fn guard(&self, times: impl IntoIterator<Item = (i64, i64)>) {
        let mut guarded = self.guarded.write();
        for (sensor, upto) in times {
            let time = guarded.entry(sensor).or_insert(upto);
            *time = upto.max(*time);
        }
        *self.touched.lock() = Some(BTreeSet::new());
    }

    /// The hours that were marked since. Under the gate, which is held until the commit.
    pub(super) fn touched(&self) -> BTreeSet<Hour> {
        self.touched.lock().take().unwrap_or_default()
    }

    /// Which hours of changed readings, by sensor and event time, are to be marked.
    pub(in crate::store::readings) fn to_mark(
        &self,
        keys: impl IntoIterator<Item = (i64, i64)>,
    ) -> BTreeSet<Hour> {
        let guarded = self.guarded.read();
        let mut found = BTreeSet::new();
        let mut last = None;
        for (sensor, event_time) in keys {
            let upto = match last {
                Some((known, upto)) if known == sensor => upto,
                _ => guarded.get(&sensor).copied().unwrap_or(i64::MIN),
            };
            last = Some((sensor, upto));
            if event_time < upto {
                found.insert((sensor, event_time.div_euclid(HOUR)));
            }
        }
        if !found.is_empty()
            && let Some(touched) = &mut *self.touched.lock()
        {
            touched.extend(&found);
        }
        found
    }

    /// Before when changes of a sensor are marked.
    pub(super) fn guarded_upto(&self, sensor: i64) -> Option<i64> {
        self.guarded.read().get(&sensor).copied()
    }
}

impl Transaction<'_> {
    /// Marks the hours of readings that have come or changed, by sensor and event time.
    pub(in crate::store::readings) fn mark_hours(
        &self,
        keys: impl IntoIterator<Item = (i64, i64)>,
    ) -> Result<(), StoreError> {
        let Some(rolled) = self.rolled() else { return Ok(()) };
        for text in mark_text(self.engine(), &rolled.to_mark(keys)) {
            self.run_query(&text, |_| Ok(()))?;
        }
        Ok(())
    }
}

/// The statements that write marks, of numbers alone.
pub(in crate::store::readings) fn mark_text(engine: Engine, hours: &BTreeSet<Hour>) -> Vec<String> {
    let hours: Vec<&Hour> = hours.iter().collect();
    let statement = |rows: &[&Hour]| {
        let mut sql = "INSERT INTO reading_stale (sensor_id, hour) VALUES ".to_owned();
        put_pairs(&mut sql, rows.iter().map(|hour| **hour));
        sql.push_str(match engine {
            Engine::MariaDb => " ON DUPLICATE KEY UPDATE sensor_id = sensor_id",
            Engine::Sqlite | Engine::Postgres => " ON CONFLICT DO NOTHING",
        });
        sql
    };
    hours.chunks(ROWS).map(statement).collect()
}

/// The statements that take marks away.
pub(super) fn unmark_text(hours: &[Hour]) -> Vec<String> {
    let statement = |rows: &[Hour]| {
        let mut sql = "DELETE FROM reading_stale WHERE (sensor_id, hour) IN (".to_owned();
        put_pairs(&mut sql, rows.iter().copied());
        sql.push(')');
        sql
    };
    hours.chunks(ROWS).map(statement).collect()
}

pub(super) fn put_pairs(sql: &mut String, pairs: impl Iterator<Item = (i64, i64)>) {
    for (at, (sensor, number)) in pairs.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(sql, "{comma}({sensor},{number})");
    }
}
