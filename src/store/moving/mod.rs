//! Everything that a store holds, moved to another one, whichever engines they are.
//!
//! A source is one moment of a store ([`from_file`], [`from_server`]), or a dump of one ([`dump`]). It
//! pours its tables one after the other, parents first, in pieces; readings as such, sensor by sensor.
//! A target takes them ([`to_file`], [`to_server`], a dump). Both ends are counted and summed: the
//! target is read again as a source, and has to come to the same. Blocking code.
//!
//! Invariants:
//! - Memory has a piece of rows, whatever the store's size.
//! - A target has the mark of [`mark`] from before its first row until it was found equal.

mod dump;
mod from_file;
mod from_server;
mod mark;
mod tables;
mod tally;
mod to_file;
mod to_server;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use self::tables::{READING, ROLL_UPS};
pub(super) use self::{
    dump::{DumpSource, write_dump},
    mark::{refuse_unfinished, refuse_unfinished_file},
    tables::Table,
    work::{Opened, fill},
};
pub use self::{tally::Tally, work::compare, work::copy};
use super::{
    Engine, StoreError,
    chunks::{Damage, Sample},
    engine::{Kind, Piece, Row, Value, Values, quoted, selected},
};
use crate::telemetry::SensorId;

/// Rows that are in memory at a time, and their bytes.
const PIECE: Piece = Piece { rows: 4_096, bytes: 4 << 20 };
/// The same of one sensor's readings.
const READINGS: usize = 65_536;

/// Why nothing, or not everything, was moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{place} is not empty: {found}; a copy goes where nothing is")]
    Occupied { place: String, found: String },
    #[error("{0} is where the data is already")]
    Same(String),
    #[error("table {table}")]
    Table { table: &'static str, source: Box<Self> },
    #[error("the dump is damaged: {0}")]
    Damaged(&'static str),
    #[error("it was called off")]
    Cancelled,
    #[error("a file can't be read or written: {0}")]
    File(#[from] io::Error),
}

impl From<Damage> for MoveError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage.0)
    }
}

impl MoveError {
    fn of(self, table: &Table) -> Self {
        match self {
            Self::Cancelled | Self::Table { .. } => self,
            source => Self::Table { table: table.name, source: Box::new(source) },
        }
    }
}

/// What takes rows.
pub(super) trait Sink {
    fn rows(&mut self, table: &'static Table, rows: &mut Vec<Values>) -> Result<(), MoveError>;

    /// Of one sensor, in the order of event times; sensors come in order, too.
    fn readings(&mut self, sensor: SensorId, samples: &[Sample]) -> Result<(), MoveError>;

    /// A table is over, and had so many rows.
    fn end(&mut self, _table: &'static Table, _rows: u64) -> Result<(), MoveError> {
        Ok(())
    }

    /// The last number that each table which counts has given.
    fn numbers(&mut self, _numbers: &[(String, i64)]) -> Result<(), MoveError> {
        Ok(())
    }
}

/// One moment of a store.
pub(super) trait Source {
    fn has(&self, table: &Table) -> bool;

    fn pour(&mut self, table: &'static Table, sink: &mut dyn Sink) -> Result<(), MoveError>;

    fn numbers(&mut self) -> Result<Vec<(String, i64)>, MoveError>;

    /// How many readings there are, about.
    fn estimate(&mut self) -> Result<u64, MoveError>;
}

/// A store that is being filled.
trait Target: Sink {
    fn has(&self, table: &Table) -> bool;

    fn engine(&self) -> Engine;

    /// Completes what is made of the rest, and takes the mark away.
    fn finish(&mut self) -> Result<(), MoveError>;
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Copying,
    /// The target is read again.
    Comparing,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub phase: Phase,
    pub table: &'static str,
    pub rows: u64,
    pub is_over: bool,
}

/// Is told how far it is, and says whether to go on.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Step) -> bool;

/// A table, what the source has of it and what the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovedTable {
    pub name: &'static str,
    pub source: Tally,
    /// `None`: the target has no place for it.
    pub target: Option<Tally>,
}

impl MovedTable {
    pub fn is_equal(&self) -> bool {
        self.target == Some(self.source)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub tables: Vec<MovedTable>,
    /// Texts that the target can't hold as they are: U+FFFD stands for U+0000 in them.
    pub changed_texts: u64,
}

impl Moved {
    /// Everything is there that has a place.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.is_equal() || table.target.is_none())
    }
}

/// Sensors and hours since 1970.
type Stale = BTreeSet<(i64, i64)>;
type Tallies = BTreeMap<&'static str, Tally>;

/// Counts what goes by, as the target will have it.
struct Counting<'a> {
    inner: Option<&'a mut dyn Sink>,
    /// Hours that are made again when a copy is completed: not told, nor their days.
    unequal: Stale,
    /// Whose limits count; the source itself counts none.
    engine: Option<Engine>,
    tally: Tally,
    changed_texts: u64,
    phase: Phase,
    watch: Watch<'a>,
    buffer: Vec<u8>,
}

impl Counting<'_> {
    fn tell(&mut self, table: &'static str, is_over: bool) -> Result<(), MoveError> {
        let step = Step { phase: self.phase, table, rows: self.tally.rows, is_over };
        if (self.watch)(step) { Ok(()) } else { Err(MoveError::Cancelled) }
    }

    fn is_made_again(&self, table: &Table, row: &[Value]) -> bool {
        let column = |name: &str| {
            let at = table.columns().iter().position(|(column, _)| *column == name);
            match at.and_then(|at| row.get(at)) {
                Some(Value::Int(number)) => *number,
                _ => 0,
            }
        };
        let sensor = column("sensor_id");
        match table.name {
            "reading_stale" => true,
            "reading_hour" => self.unequal.contains(&(sensor, column("hour"))),
            "reading_day" => {
                let first = column("day").saturating_mul(24);
                let hours = (sensor, first)..(sensor, first.saturating_add(24));
                self.unequal.range(hours).next().is_some()
            }
            _ => false,
        }
    }

    /// As the target can hold it.
    fn fit(&mut self, table: &Table, row: &mut [Value]) {
        let is_rollup = ROLL_UPS.contains(&table.name);
        let has_no_null = self.engine == Some(Engine::Postgres);
        for value in row {
            match value {
                Value::Real(number) if is_rollup => *number = number.clamp(f64::MIN, f64::MAX),
                Value::Text(text) if has_no_null && text.contains('\0') => {
                    *text = text.replace('\0', "\u{fffd}");
                    self.changed_texts += 1;
                }
                _ => {}
            }
        }
    }
}

impl Sink for Counting<'_> {
    fn rows(&mut self, table: &'static Table, rows: &mut Vec<Values>) -> Result<(), MoveError> {
        if !self.unequal.is_empty() {
            rows.retain(|row| !self.is_made_again(table, row));
        }
        for row in rows.iter_mut() {
            self.fit(table, row);
            self.tally.add_row(row, &mut self.buffer);
        }
        if let Some(inner) = &mut self.inner {
            inner.rows(table, rows)?;
        }
        self.tell(table.name, false)
    }

    fn readings(&mut self, sensor: SensorId, samples: &[Sample]) -> Result<(), MoveError> {
        let has_one_zero = self.engine == Some(Engine::MariaDb);
        for sample in samples {
            let mut sample = *sample;
            // Written as it is, it comes back without its sign.
            sample.value = sample.value.map(|v| if has_one_zero && v == 0.0 { 0.0 } else { v });
            self.tally.add_reading(sensor, &sample);
        }
        if let Some(inner) = &mut self.inner {
            inner.readings(sensor, samples)?;
        }
        self.tell(READING, false)
    }
}

/// Pours everything that has a place there into a sink.
fn pump(
    source: &mut dyn Source,
    counting: &mut Counting<'_>,
    has_place: impl Fn(&Table) -> bool,
) -> Result<Tallies, MoveError> {
    let mut tallies = Tallies::new();
    for table in &tables::TABLES {
        counting.tally = Tally::default();
        if source.has(table) {
            let mut counted = || {
                if has_place(table) {
                    source.pour(table, counting)?;
                } else {
                    // Told, but not taken.
                    let inner = counting.inner.take();
                    let poured = source.pour(table, counting);
                    counting.inner = inner;
                    poured?;
                }
                let rows = counting.tally.rows;
                if let Some(inner) = &mut counting.inner
                    && has_place(table)
                {
                    inner.end(table, rows)?;
                }
                counting.tell(table.name, true)
            };
            counted().map_err(|error| error.of(table))?;
        }
        tallies.insert(table.name, counting.tally);
    }
    if let Some(inner) = &mut counting.inner {
        let mut numbers = source.numbers()?;
        numbers.retain(|(name, _)| {
            tables::named(name).is_some_and(|table| table.counts && has_place(table))
        });
        inner.numbers(&numbers)?;
    }
    Ok(tallies)
}

fn select(engine: Engine, table: &Table, columns: &[(&str, Kind)]) -> String {
    let list = |names: Vec<String>| names.join(", ");
    let selected = columns.iter().map(|(name, kind)| selected(engine, name, *kind)).collect();
    let key = table.key.split(", ").map(|name| quoted(engine, name)).collect();
    let filter = match table.filter {
        "" => String::new(),
        filter => format!(" WHERE {filter}"),
    };
    let name = quoted(engine, table.name);
    format!("SELECT {} FROM {name}{filter} ORDER BY {}", list(selected), list(key))
}

fn values(row: &Row<'_>, columns: &[(&str, Kind)]) -> Result<Values, StoreError> {
    columns.iter().enumerate().map(|(at, (_, kind))| row.value(at, *kind)).collect()
}

#[cfg(test)]
mod tests;
