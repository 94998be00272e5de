//! Changes of one sensor's chunks and roll-ups, prepared without the gate and written under it.
//!
//! Reading, decoding and encoding take most of the time and only look at what nobody else changes
//! meanwhile (`upkeep` is held); what is left for the transaction is a few rows.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::{
    ChunkError, Readings, Rollup, Sample,
    hours::{self, Span},
    minutes::MinuteChanges,
    rollup::{DAY, HOUR, MINUTE, by_span, span_of},
    table::{self, Meta, NewChunk, Series},
};
use crate::telemetry::SensorId;

/// Readings of a full chunk.
pub(super) const LARGE: usize = if cfg!(test) { 64 } else { 8_192 };

pub(super) struct Stage<'a> {
    readings: &'a Readings,
    connection: &'a Connection,
    sensor: SensorId,
    pub(super) series: Series,
    removed: BTreeSet<i64>,
    added: Vec<Vec<Sample>>,
    hours: Upserts,
    days: Upserts,
    minutes: MinuteChanges,
}

/// Roll-ups by number; `None`: there is none any more.
type Upserts = BTreeMap<i64, Option<Rollup>>;

/// What is to be written of one sensor.
pub(super) struct Plan {
    pub(super) sensor: SensorId,
    series: Series,
    removed: BTreeSet<i64>,
    added: Vec<NewChunk>,
    hours: Upserts,
    days: Upserts,
    minutes: MinuteChanges,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        readings: &'a Readings,
        connection: &'a Connection,
        sensor: SensorId,
    ) -> Result<Self, ChunkError> {
        let series = Series::load(connection, sensor)?;
        let (removed, added) = (BTreeSet::new(), Vec::new());
        let (hours, days) = (Upserts::new(), Upserts::new());
        let minutes = MinuteChanges::default();
        Ok(Self { readings, connection, sensor, series, removed, added, hours, days, minutes })
    }

    /// Takes a chunk's readings out, to put them back changed.
    pub(super) fn take(&mut self, meta: &Meta) -> Result<Vec<Sample>, ChunkError> {
        self.removed.insert(meta.id);
        table::load(self.connection, self.sensor, meta.id)
    }

    /// Takes a chunk out.
    pub(super) fn remove(&mut self, meta: &Meta) {
        self.removed.insert(meta.id);
    }

    /// Puts readings in as chunks that are about full; the last is as long as is left.
    pub(super) fn put(&mut self, mut samples: Vec<Sample>) {
        while samples.len() > LARGE {
            let rest = samples.split_off(LARGE);
            self.added.push(std::mem::replace(&mut samples, rest));
        }
        if !samples.is_empty() {
            self.added.push(samples);
        }
    }

    /// Puts what is left of a chunk back, apart where readings between were taken out: chunks don't
    /// reach over gaps that others may lie in.
    pub(super) fn put_apart(&mut self, mut samples: Vec<Sample>, at: i64) {
        let behind = samples.partition_point(|sample| sample.event_time.as_micros() < at);
        let rest = samples.split_off(behind);
        self.put_evenly(samples);
        self.put_evenly(rest);
    }

    /// Puts a chunk's readings back after late ones came in: one chunk, or equal parts.
    pub(super) fn put_evenly(&mut self, mut samples: Vec<Sample>) {
        if samples.len() <= LARGE + LARGE / 2 {
            if !samples.is_empty() {
                self.added.push(samples);
            }
            return;
        }
        let parts = samples.len().div_ceil(LARGE);
        let length = samples.len().div_ceil(parts);
        while samples.len() > length {
            let rest = samples.split_off(length);
            self.added.push(std::mem::replace(&mut samples, rest));
        }
        self.added.push(samples);
    }

    /// The readings from one time to another, as they will be.
    fn samples(&self, from: i64, to: i64) -> Result<Vec<Sample>, ChunkError> {
        let within = |sample: &Sample| {
            let time = sample.event_time.as_micros();
            from <= time && time < to
        };
        let mut found = Vec::new();
        for meta in table::metas(self.connection, self.sensor, from, to)? {
            if !self.removed.contains(&meta.id) {
                let read = |chunk: &super::chunk::Chunk<'_>| chunk.decode_about(from, to);
                let about = table::with_chunk(self.connection, self.sensor, meta.id, read)?;
                found.extend(about.into_iter().filter(within));
            }
        }
        for chunk in &self.added {
            let begin = chunk.partition_point(|sample| sample.event_time.as_micros() < from);
            found.extend(chunk.iter().skip(begin).take_while(|sample| within(sample)));
        }
        found.sort_by_key(|sample| sample.event_time);
        Ok(found)
    }

    /// Extends the roll-ups up to a time: a whole hour, before which all readings are here.
    pub(super) fn roll_up_to(&mut self, upto: i64) -> Result<(), ChunkError> {
        let from = self.series.rolled_upto;
        if from.is_some_and(|from| from >= upto) {
            return Ok(());
        }
        let samples = self.samples(from.unwrap_or(i64::MIN), upto)?;
        let mut days: BTreeSet<i64> = from.iter().map(|from| from.div_euclid(DAY)).collect();
        for rollup in by_span(&samples, HOUR) {
            let start = rollup.start.as_micros();
            days.insert(start.div_euclid(DAY));
            self.hours.insert(start.div_euclid(HOUR), Some(rollup));
        }
        self.series.rolled_upto = Some(upto);
        self.roll_days(&days)
    }

    /// Makes hours again of which readings were changed.
    pub(super) fn roll_again(&mut self, touched: &BTreeSet<i64>) -> Result<(), ChunkError> {
        let rolled = self.series.rolled_upto.unwrap_or(i64::MIN);
        let raw_from = self.series.raw_from.unwrap_or(i64::MIN);
        let begins = |hour: &i64| hour.saturating_mul(HOUR);
        let again = touched.iter().filter(|hour| (raw_from..rolled).contains(&begins(hour)));
        let mut days = BTreeSet::new();
        for hour in again {
            let samples = self.samples(begins(hour), begins(hour).saturating_add(HOUR))?;
            self.hours.insert(*hour, by_span(&samples, HOUR).pop());
            days.insert(hour.div_euclid(24));
        }
        self.roll_days(&days)
    }

    /// Adds readings to roll-ups whose raw readings are gone.
    pub(super) fn add_to_rollups(&mut self, samples: &[Sample]) -> Result<(), ChunkError> {
        let hours_from = self.series.hours_from.unwrap_or(i64::MIN);
        let rolled = self.series.rolled_upto.unwrap_or(i64::MIN);
        for mut rollup in by_span(samples, HOUR) {
            let start = rollup.start.as_micros();
            if start < hours_from {
                continue;
            }
            let hour = start.div_euclid(HOUR);
            let there = match self.hours.get(&hour) {
                Some(staged) => staged.clone(),
                None => hours::get(self.connection, self.sensor, Span::Hour, hour)?,
            };
            if let Some(mut there) = there {
                there.merge(&rollup);
                rollup = there;
            }
            self.hours.insert(hour, Some(rollup));
        }
        for mut rollup in by_span(samples, DAY) {
            let day = rollup.start.as_micros().div_euclid(DAY);
            if (day + 1).saturating_mul(DAY) > rolled {
                continue;
            }
            let there = match self.days.get(&day) {
                Some(staged) => staged.clone(),
                None => hours::get(self.connection, self.sensor, Span::Day, day)?,
            };
            if let Some(mut there) = there {
                there.merge(&rollup);
                rollup = there;
            }
            self.days.insert(day, Some(rollup));
        }
        Ok(())
    }

    /// Makes days from their hours, those that are over.
    fn roll_days(&mut self, days: &BTreeSet<i64>) -> Result<(), ChunkError> {
        let rolled = self.series.rolled_upto.unwrap_or(i64::MIN);
        let hours_from = self.series.hours_from.unwrap_or(i64::MIN);
        for day in days {
            let (begin, end) = (day.saturating_mul(DAY), (day + 1).saturating_mul(DAY));
            if end > rolled || begin < hours_from {
                continue;
            }
            let range = (day * 24, day * 24 + 24);
            let stored = hours::between(self.connection, self.sensor, Span::Hour, range)?;
            let number = |rollup: &Rollup| rollup.start.as_micros().div_euclid(HOUR);
            let mut hours: Upserts =
                stored.into_iter().map(|rollup| (number(&rollup), Some(rollup))).collect();
            let staged = self.hours.range(range.0..range.1);
            hours.extend(staged.map(|(hour, rollup)| (*hour, rollup.clone())));
            let mut of_day: Option<Rollup> = None;
            for hour in hours.into_values().flatten() {
                let mut whole = of_day.unwrap_or_else(|| {
                    Rollup::new(crate::telemetry::Timestamp::from_micros(begin))
                });
                whole.merge(&hour);
                if hour.valued > 0 {
                    whole.last = hour.last;
                }
                of_day = Some(whole);
            }
            self.days.insert(*day, of_day);
        }
        Ok(())
    }

    /// Takes the roll-ups of a range out, of which the readings are taken out: hours that reach beyond
    /// it are made again, where raw readings are left to make them of.
    pub(super) fn forget_rollups(&mut self, from: i64, to: i64) -> Result<(), ChunkError> {
        let raw_from = self.series.raw_from.unwrap_or(i64::MIN);
        let range = (from.div_euclid(HOUR), to.saturating_sub(1).div_euclid(HOUR) + 1);
        let numbers = hours::numbers(self.connection, self.sensor, Span::Hour, range, i64::MAX)?;
        let is_whole = |start: i64, width: i64| from <= start && start.saturating_add(width) <= to;
        let mut days = BTreeSet::new();
        for hour in &numbers {
            let start = hour.saturating_mul(HOUR);
            if start < raw_from && is_whole(start, HOUR) {
                self.hours.insert(*hour, None);
                days.insert(hour.div_euclid(24));
            }
        }
        self.roll_again(&numbers)?;
        self.roll_days(&days)?;
        let hours_from = self.series.hours_from.unwrap_or(i64::MIN);
        let range = (from.div_euclid(DAY), to.saturating_sub(1).div_euclid(DAY) + 1);
        for day in hours::numbers(self.connection, self.sensor, Span::Day, range, i64::MAX)? {
            let start = day.saturating_mul(DAY);
            if start < hours_from && is_whole(start, DAY) {
                self.days.insert(day, None);
            }
        }
        self.minutes.erase(self.connection, self.sensor, (from, to))
    }

    /// Keeps the minutes of readings that are dropped.
    pub(super) fn keep_minutes(&mut self, samples: &[Sample]) {
        self.minutes.add(by_span(samples, MINUTE));
    }

    /// The newest reading that will be in chunks.
    pub(super) fn find_newest(&mut self) -> Result<(), ChunkError> {
        let added = self.added.iter().filter_map(|chunk| chunk.last()).copied();
        let mut newest = added.max_by_key(|sample| sample.event_time);
        let metas = table::metas(self.connection, self.sensor, i64::MIN, i64::MAX)?;
        let last = metas.iter().rev().find(|meta| !self.removed.contains(&meta.id));
        if let Some(last) = last
            && newest.is_none_or(|newest| newest.event_time.as_micros() < last.last_time)
        {
            let load = |chunk: &super::chunk::Chunk<'_>| {
                chunk.decode_about(last.last_time, last.last_time.saturating_add(1))
            };
            newest = table::with_chunk(self.connection, self.sensor, last.id, load)?.pop();
        }
        self.series.newest = newest;
        Ok(())
    }

    pub(super) fn finish(self) -> Plan {
        let added =
            self.added.iter().map(|samples| NewChunk::new(self.readings.chunk_id(), samples));
        Plan {
            sensor: self.sensor,
            series: self.series,
            added: added.collect(),
            removed: self.removed,
            hours: self.hours,
            days: self.days,
            minutes: self.minutes,
        }
    }
}

impl Plan {
    /// Writes it; inside a transaction.
    pub(super) fn apply(&self, connection: &Connection) -> Result<(), ChunkError> {
        for id in &self.removed {
            table::delete(connection, *id)?;
        }
        for chunk in &self.added {
            chunk.insert(connection, self.sensor)?;
        }
        for (span, rollups) in [(Span::Hour, &self.hours), (Span::Day, &self.days)] {
            for (number, rollup) in rollups {
                match rollup {
                    Some(rollup) => hours::put(connection, self.sensor, span, rollup)?,
                    None => {
                        let one = (*number, number.saturating_add(1));
                        hours::delete(connection, self.sensor, span, one, 1)?;
                    }
                }
            }
        }
        self.minutes.apply(connection, self.sensor)?;
        self.series.put(connection, self.sensor)
    }
}

/// The hours that readings lie in.
pub(super) fn hours_of(samples: &[Sample]) -> BTreeSet<i64> {
    samples.iter().map(|sample| span_of(sample, HOUR)).collect()
}
