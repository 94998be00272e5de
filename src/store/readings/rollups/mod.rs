//! Roll-ups by hour and day on servers: `marks` (hours that have changed since), `maker` (makes them, step
//! by step), `rows` (as rows), `old` (dropping what is too old), `parts` (reading them).
//!
//! Invariant of every committed state: an hour before its sensor's `rolled_upto` that is not marked in
//! `reading_stale` has the roll-up of its readings, or none where it has none; so has a day whose hours
//! are all such. From `raw_from` on readings are there; before it only late ones, each in a marked hour,
//! which go into the roll-up and away with the next step.
//!
//! Whoever changes roll-ups or deletes readings holds `upkeep` for a step. What is read to make a roll-up is
//! read without the gate: the marks of hours that change meanwhile stay.

mod maker;
mod marks;
mod old;
mod parts;
mod rows;

use std::collections::HashMap;

use parking_lot::{Mutex as PlainMutex, RwLock};
use tokio::sync::Mutex;

pub use maker::{RollUps, RolledUp};
use marks::Hour;
use rows::Series;

use super::{Store, StoreError};
use crate::{store::Place, telemetry::SensorId};

/// What of roll-ups a process has in memory, on a server.
#[derive(Default)]
pub(in crate::store) struct Rolled {
    /// Taken for a step.
    upkeep: Mutex<Upkeep>,
    /// A change before its sensor's time here marks its hour: never earlier than the stored
    /// `rolled_upto`. Changed under the gate.
    guarded: RwLock<HashMap<i64, i64>>,
    /// Hours that were marked since the present step began; `None`: there is none.
    touched: PlainMutex<Option<std::collections::BTreeSet<Hour>>>,
}

/// The stored series, where it is known what is stored.
#[derive(Default)]
struct Upkeep {
    series: Option<HashMap<i64, Series>>,
}

impl Rolled {
    /// Takes in what is stored; before anybody writes.
    pub(in crate::store) async fn load(
        engine: crate::store::Engine,
        connection: &sea_orm::DatabaseConnection,
    ) -> Result<Self, StoreError> {
        let series = rows::all_series(connection, engine).await?;
        let guarded =
            series.iter().filter_map(|(sensor, series)| Some((*sensor, series.rolled_upto?)));
        Ok(Self {
            guarded: RwLock::new(guarded.collect()),
            upkeep: Mutex::new(Upkeep { series: Some(series) }),
            ..Self::default()
        })
    }
}

impl Upkeep {
    /// What is stored, which is asked for where a commit's outcome is not known.
    async fn series(&mut self, store: &Store) -> Result<&mut HashMap<i64, Series>, StoreError> {
        let known = match self.series.take() {
            Some(known) => known,
            None => rows::all_series(&store.readers, store.engine).await?,
        };
        Ok(self.series.insert(known))
    }
}

impl Store {
    /// `None` on SQLite, whose chunks have roll-ups of their own.
    pub(in crate::store) fn rolled(&self) -> Option<&Rolled> {
        match &self.place {
            Place::File(_) => None,
            Place::Server { rolled, .. } => Some(rolled),
        }
    }
}

fn to_sql(sensors: &[SensorId]) -> String {
    let numbers: Vec<String> = sensors.iter().map(|sensor| sensor.0.to_string()).collect();
    numbers.join(",")
}
