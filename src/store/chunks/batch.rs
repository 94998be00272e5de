//! A batch's readings on their way into the journal: which are fresh, which are there already.
//!
//! It is filled inside the committer's transaction, written once at its end, and adopted by the tail
//! after the commit, before the gate is left. Dropped instead, it leaves nothing behind.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::Connection;

use super::{ChunkError, Reader, Readings, Sample, journal, table};
use crate::telemetry::{SensorId, Timestamp};

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

pub struct Batch<'a> {
    readings: &'a Readings,
    rows: Vec<(SensorId, Sample)>,
    /// The newest event time of the sensors seen, stored or in `rows`.
    newest: HashMap<SensorId, i64, RandomState>,
    /// Places in `rows`; built when one is first asked for.
    places: Option<HashMap<(SensorId, Timestamp), usize, RandomState>>,
    written: Option<i64>,
}

impl Readings {
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            readings: self,
            rows: Vec::new(),
            newest: HashMap::default(),
            places: None,
            written: None,
        }
    }
}

impl<'a> Batch<'a> {
    /// Takes a reading, unless its key is taken.
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged; here and below.
    pub fn append(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
        sample: Sample,
    ) -> Result<Appended, ChunkError> {
        let sample = Sample { value: sample.value.filter(|value| !value.is_nan()), ..sample };
        let time = sample.event_time.as_micros();
        let newest = self.newest(connection, sensor)?;
        if time <= newest
            && let Some(stored) = self.find(connection, sensor, sample.event_time)?
        {
            return Ok(match stored.has_value_of(&sample) {
                true => Appended::Duplicate,
                false => Appended::Conflict { stored: stored.value },
            });
        }
        self.newest.insert(sensor, newest.max(time));
        self.push(sensor, sample);
        Ok(Appended::Fresh)
    }

    /// Takes a reading in place of the one that its key has.
    ///
    /// # Errors
    /// As above.
    pub fn replace(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
        sample: Sample,
    ) -> Result<(), ChunkError> {
        let sample = Sample { value: sample.value.filter(|value| !value.is_nan()), ..sample };
        let newest = self.newest(connection, sensor)?.max(sample.event_time.as_micros());
        self.newest.insert(sensor, newest);
        let place = self.places().get(&(sensor, sample.event_time)).copied();
        match place.and_then(|place| self.rows.get_mut(place)) {
            Some((_, row)) => *row = sample,
            None => self.push(sensor, sample),
        }
        Ok(())
    }

    fn push(&mut self, sensor: SensorId, sample: Sample) {
        if let Some(places) = &mut self.places {
            places.insert((sensor, sample.event_time), self.rows.len());
        }
        self.rows.push((sensor, sample));
    }

    fn places(&mut self) -> &HashMap<(SensorId, Timestamp), usize, RandomState> {
        self.places.get_or_insert_with(|| {
            let rows = self.rows.iter().enumerate();
            rows.map(|(at, (sensor, sample))| ((*sensor, sample.event_time), at)).collect()
        })
    }

    fn newest(&mut self, connection: &Connection, sensor: SensorId) -> Result<i64, ChunkError> {
        if let Some(newest) = self.newest.get(&sensor) {
            return Ok(*newest);
        }
        let known = self.readings.tail.read().newest_known(sensor);
        let newest = match known {
            Some(newest) => newest,
            None => {
                let in_chunks = table::last_time(connection, sensor)?.unwrap_or(i64::MIN);
                self.readings.tail.write().note_newest(sensor, in_chunks)
            }
        };
        Ok(newest)
    }

    fn find(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
        time: Timestamp,
    ) -> Result<Option<Sample>, ChunkError> {
        let place = self.places().get(&(sensor, time)).copied();
        if let Some((_, sample)) = place.and_then(|place| self.rows.get(place)) {
            return Ok(Some(*sample));
        }
        if let Some(sample) = self.readings.tail.read().find(sensor, time) {
            return Ok(Some(sample));
        }
        self.readings.find_in_chunks(connection, sensor, time)
    }

    /// A sensor's readings of this batch.
    pub(super) fn of(&self, sensor: SensorId) -> impl Iterator<Item = Sample> {
        self.rows.iter().filter(move |(of, _)| *of == sensor).map(|(_, sample)| *sample)
    }

    /// What reads inside the batch's transaction, its own readings included.
    pub fn reader<'b>(&'b self, connection: &'b Connection) -> Reader<'b> {
        Reader::new(self.readings, connection, Some(self))
    }

    /// Writes the journal row; the last thing before the commit.
    ///
    /// # Errors
    /// As above.
    pub fn write(&mut self, connection: &Connection) -> Result<(), ChunkError> {
        if !self.rows.is_empty() {
            let seq = self.readings.tail.read().adopted() + 1;
            journal::write(connection, seq, &self.rows)?;
            self.written = Some(seq);
        }
        Ok(())
    }

    /// Shows the readings to everybody; after the commit, while the gate is still held.
    pub fn adopt(self) {
        if let Some(seq) = self.written {
            self.readings.tail.write().adopt(seq, &self.rows);
        }
    }
}
