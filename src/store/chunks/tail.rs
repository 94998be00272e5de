//! Committed readings that are not in chunks yet, by sensor. Pure.
//!
//! Guarded by the lock of [`super::Readings`]. It grows with every commit, and shrinks as the compactor
//! moves readings.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::Sample;
use crate::telemetry::{SensorId, Timestamp};

/// A reading, and the journal row that has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) sample: Sample,
    pub(super) seq: i64,
    /// It was not newer than all that the sensor had: a chunk may have its key.
    pub(super) is_late: bool,
}

#[derive(Default)]
struct Series {
    /// By event time, each once.
    entries: Vec<Entry>,
    /// No reading of the sensor is newer, here or in chunks; `None`: not looked up yet.
    newest: Option<i64>,
}

/// Of one journal row.
#[derive(Debug, Clone, Copy)]
struct RowUse {
    /// Its readings that are here.
    readings: usize,
    received_at: Timestamp,
}

#[derive(Default)]
pub(super) struct Tail {
    series: HashMap<SensorId, Series, RandomState>,
    rows: BTreeMap<i64, RowUse>,
    count: usize,
    /// The newest journal row that was ever written.
    adopted: i64,
    /// Journal rows before it are deleted.
    first_kept: i64,
}

impl Tail {
    pub(super) fn new(adopted: i64) -> Self {
        Self { adopted, ..Self::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn adopted(&self) -> i64 {
        self.adopted
    }

    /// When the oldest reading here was received, about.
    pub(super) fn oldest_received(&self) -> Option<Timestamp> {
        self.rows.first_key_value().map(|(_, row)| row.received_at)
    }

    /// Takes the readings of a journal row in.
    pub(super) fn adopt(&mut self, seq: i64, readings: &[(SensorId, Sample)]) {
        self.adopted = self.adopted.max(seq);
        let mut late: BTreeMap<SensorId, Vec<Entry>> = BTreeMap::new();
        for (sensor, sample) in readings {
            let series = self.series.entry(*sensor).or_default();
            let time = sample.event_time;
            let is_late = series.newest.is_none_or(|newest| time.as_micros() <= newest);
            let entry = Entry { sample: *sample, seq, is_late };
            if series.entries.last().is_none_or(|last| last.sample.event_time < time) {
                series.entries.push(entry);
                self.count += 1;
            } else {
                late.entry(*sensor).or_default().push(entry);
            }
            let newest = series.newest.map(|newest| newest.max(time.as_micros()));
            series.newest = newest;
        }
        if let Some((_, first)) = readings.first() {
            let use_ = RowUse { readings: readings.len(), received_at: first.received_at };
            self.rows.insert(seq, use_);
        }
        for (sensor, mut entries) in late {
            entries.sort_by_key(|entry| entry.sample.event_time);
            self.merge(sensor, entries);
        }
    }

    /// Readings that are not newer than all; they take the place of those that have their times.
    fn merge(&mut self, sensor: SensorId, late: Vec<Entry>) {
        let Some(series) = self.series.get_mut(&sensor) else { return };
        let time = |entry: &Entry| entry.sample.event_time;
        let begin = late.first().map_or(0, |first| {
            series.entries.partition_point(|entry| entry.sample.event_time < time(first))
        });
        let mut old = series.entries.split_off(begin).into_iter().peekable();
        let mut replaced = Vec::new();
        for entry in late {
            while let Some(before) = old.next_if(|other| time(other) < time(&entry)) {
                series.entries.push(before);
            }
            if let Some(same) = old.next_if(|other| time(other) == time(&entry)) {
                replaced.push(same.seq);
            } else {
                self.count += 1;
            }
            series.entries.push(entry);
        }
        series.entries.extend(old);
        replaced.into_iter().for_each(|seq| self.release(seq, 1));
    }

    fn release(&mut self, seq: i64, readings: usize) {
        if let Some(row) = self.rows.get_mut(&seq) {
            row.readings = row.readings.saturating_sub(readings);
            if row.readings == 0 {
                self.rows.remove(&seq);
            }
        }
    }

    pub(super) fn newest_known(&self, sensor: SensorId) -> Option<i64> {
        self.series.get(&sensor).and_then(|series| series.newest)
    }

    /// Notes the newest event time that the chunks have of a sensor.
    pub(super) fn note_newest(&mut self, sensor: SensorId, in_chunks: i64) -> i64 {
        let series = self.series.entry(sensor).or_default();
        let here =
            series.entries.last().map_or(i64::MIN, |last| last.sample.event_time.as_micros());
        let newest = in_chunks.max(here).max(series.newest.unwrap_or(i64::MIN));
        series.newest = Some(newest);
        newest
    }

    pub(super) fn find(&self, sensor: SensorId, time: Timestamp) -> Option<Sample> {
        let entries = &self.series.get(&sensor)?.entries;
        let at = entries.binary_search_by_key(&time, |entry| entry.sample.event_time).ok()?;
        entries.get(at).map(|entry| entry.sample)
    }

    /// The newest reading here, and whether it is known to be the newest of all.
    pub(super) fn newest(&self, sensor: SensorId) -> (Option<Sample>, bool) {
        let Some(series) = self.series.get(&sensor) else { return (None, false) };
        let newest = series.entries.last().map(|entry| entry.sample);
        let time = newest.map(|newest| newest.event_time.as_micros());
        (newest, time.is_some() && time == series.newest)
    }

    /// A sensor's readings with event times from the first on, before the second.
    pub(super) fn between(&self, sensor: SensorId, from: i64, to: i64) -> &[Entry] {
        let Some(series) = self.series.get(&sensor) else { return &[] };
        let place = |time: i64| {
            series.entries.partition_point(|entry| entry.sample.event_time.as_micros() < time)
        };
        let (from, to) = (place(from), place(to));
        series.entries.get(from..to).unwrap_or(&[])
    }

    pub(super) fn all(&self, sensor: SensorId) -> &[Entry] {
        self.series.get(&sensor).map_or(&[], |series| &series.entries)
    }

    /// The sensors that have readings here, in order.
    pub(super) fn sensors(&self) -> Vec<SensorId> {
        let some = self.series.iter().filter(|(_, series)| !series.entries.is_empty());
        let mut sensors: Vec<_> = some.map(|(sensor, _)| *sensor).collect();
        sensors.sort_unstable();
        sensors
    }

    /// Forgets a sensor's readings of journal rows up to `seq`: chunks have them.
    pub(super) fn trim(&mut self, sensor: SensorId, seq: i64) {
        self.remove(sensor, |entry| entry.seq <= seq);
    }

    /// Forgets a sensor's readings of a range; returns how many.
    pub(super) fn erase(&mut self, sensor: SensorId, from: i64, to: i64) -> usize {
        self.remove(sensor, |entry| {
            let time = entry.sample.event_time.as_micros();
            from <= time && time < to
        })
    }

    fn remove(&mut self, sensor: SensorId, is_gone: impl Fn(&Entry) -> bool) -> usize {
        let Some(series) = self.series.get_mut(&sensor) else { return 0 };
        let mut gone: BTreeMap<i64, usize> = BTreeMap::new();
        series.entries.retain(|entry| {
            let is_gone = is_gone(entry);
            if is_gone {
                *gone.entry(entry.seq).or_default() += 1;
            }
            !is_gone
        });
        if series.entries.is_empty() {
            series.entries.shrink_to(64);
        }
        let removed = gone.values().sum();
        self.count -= removed;
        gone.into_iter().for_each(|(seq, readings)| self.release(seq, readings));
        removed
    }

    /// Journal rows before this one are not needed any more; `None`: they are gone already.
    pub(super) fn needless_before(&self) -> Option<i64> {
        let needed = self.rows.first_key_value().map_or(self.adopted + 1, |(seq, _)| *seq);
        Some(needed).filter(|needed| *needed > self.first_kept)
    }

    pub(super) fn note_deleted_before(&mut self, seq: i64) {
        self.first_kept = self.first_kept.max(seq);
    }
}
