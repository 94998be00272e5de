//! Everything against a map: appends in and out of order, replacements, compaction cut short anywhere,
//! deletions, retention, restarts; after each, every way of reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proptest::prelude::*;
use rusqlite::Connection;

use super::{
    Appended, ArrivalWindow, ChunkSettings, KeepMinutes, Order, Reader, Readings, Rollup, Sample,
    chunk_tests::any_value,
    create_tables,
    rollup::{DAY, HOUR},
    verify,
};
use crate::telemetry::{Position, Quality, SensorId, Timestamp};

const SENSORS: [SensorId; 3] = [SensorId(1), SensorId(2), SensorId(70_000)];
/// A Monday's midnight.
const BEGIN: i64 = 1_760_313_600_000_000;
const SECOND: i64 = 1_000_000;
const LENGTH: i64 = 4 * DAY;

#[derive(Debug, Clone)]
enum Change {
    /// Readings behind the newest, so many seconds apart.
    Run {
        sensor: usize,
        count: usize,
        step: i64,
    },
    /// Single readings anywhere.
    Some {
        sensor: usize,
        rows: Vec<(i64, i64, Option<f64>, i64)>,
        is_replacing: bool,
    },
    RolledBack {
        sensor: usize,
        count: usize,
    },
    Steps(usize),
    Round,
    Erase {
        sensor: usize,
        from: i64,
        length: i64,
    },
    DropRaw {
        sensor: usize,
        before: i64,
        minutes: bool,
    },
    DropHours {
        sensor: usize,
        before: i64,
    },
    DropDays {
        sensor: usize,
        before: i64,
    },
    Reopen,
}

fn any_change() -> impl Strategy<Value = Change> {
    let sensor = 0..SENSORS.len();
    let row = (0..LENGTH / SECOND / 10, 0_i64..5_000_000, any_value(), 0_i64..3);
    let row = row.prop_map(|(at, lag, value, quality)| (at * 10, lag, value, quality));
    prop_oneof![
        4 => (sensor.clone(), 1..200_usize, prop_oneof![Just(10_i64), Just(60), Just(600)])
            .prop_map(|(sensor, count, step)| Change::Run { sensor, count, step }),
        3 => (sensor.clone(), prop::collection::vec(row, 1..20), any::<bool>())
            .prop_map(|(sensor, rows, is_replacing)| Change::Some { sensor, rows, is_replacing }),
        1 => (sensor.clone(), 1..50_usize)
            .prop_map(|(sensor, count)| Change::RolledBack { sensor, count }),
        3 => (1..4_usize).prop_map(Change::Steps),
        3 => Just(Change::Round),
        1 => (sensor.clone(), 0..LENGTH / SECOND, 1..DAY / SECOND)
            .prop_map(|(sensor, from, length)| Change::Erase { sensor, from, length }),
        1 => (sensor.clone(), 0..LENGTH / HOUR, any::<bool>())
            .prop_map(|(sensor, before, minutes)| Change::DropRaw { sensor, before, minutes }),
        1 => (sensor.clone(), 0..LENGTH / DAY)
            .prop_map(|(sensor, before)| Change::DropHours { sensor, before }),
        1 => (sensor, 0..LENGTH / DAY)
            .prop_map(|(sensor, before)| Change::DropDays { sensor, before }),
        1 => Just(Change::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    raw: BTreeMap<i64, Sample>,
    /// Only in roll-ups.
    dropped: Vec<Sample>,
    raw_from: i64,
    hours_from: i64,
}

struct World {
    connection: Connection,
    readings: Readings,
    models: BTreeMap<SensorId, Model>,
}

fn micros(time: i64) -> Timestamp {
    Timestamp::from_micros(time)
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection.set_prepared_statement_cache_capacity(128);
    connection
}

impl World {
    fn new(path: &Path) -> Self {
        let connection = connect(path);
        create_tables(&connection).unwrap();
        let readings = Readings::open(&connection, ChunkSettings::default()).unwrap();
        let models = SENSORS.map(|sensor| (sensor, Model::default())).into();
        Self { connection, readings, models }
    }

    fn model(&mut self, sensor: usize) -> (SensorId, &mut Model) {
        let sensor = SENSORS[sensor];
        (sensor, self.models.get_mut(&sensor).unwrap())
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Run { sensor, count, step } => {
                let rows = self.run(*sensor, *count, *step);
                self.append(*sensor, &rows, false, true);
            }
            Change::Some { sensor, rows, is_replacing } => {
                let sample = |(at, lag, value, quality): &(i64, i64, Option<f64>, i64)| Sample {
                    event_time: micros(BEGIN + at * SECOND),
                    received_at: micros(BEGIN + at * SECOND + lag),
                    value: *value,
                    quality: Quality::from_code(*quality),
                };
                let rows: Vec<Sample> = rows.iter().map(sample).collect();
                self.append(*sensor, &rows, *is_replacing, true);
            }
            Change::RolledBack { sensor, count } => {
                let rows = self.run(*sensor, *count, 10);
                self.append(*sensor, &rows, false, false);
            }
            Change::Steps(count) => {
                let mut round = self.readings.begin_round();
                for _ in 0..*count {
                    self.readings.compact(&mut self.connection, &mut round, || ()).unwrap();
                }
                self.fold();
            }
            Change::Round => {
                let mut round = self.readings.begin_round();
                while round.has_more() {
                    self.readings.compact(&mut self.connection, &mut round, || ()).unwrap();
                }
                assert_eq!(self.readings.tail_readings(), 0);
                let rows = "SELECT count(*) FROM reading_journal";
                let rows: i64 = self.connection.query_row(rows, [], |row| row.get(0)).unwrap();
                assert_eq!(rows, 0);
                self.fold();
            }
            Change::Erase { sensor, from, length } => self.erase(*sensor, *from, *length),
            Change::DropRaw { .. } | Change::DropHours { .. } | Change::DropDays { .. } => {
                self.retain(change);
            }
            Change::Reopen => {
                let settings = ChunkSettings::default();
                self.readings = Readings::open(&self.connection, settings).unwrap();
            }
        }
    }

    fn run(&mut self, sensor: usize, count: usize, step: i64) -> Vec<Sample> {
        let (_, model) = self.model(sensor);
        let last = model.raw.last_key_value().map_or(BEGIN, |(time, _)| *time);
        let count = count as i64;
        let row = |n: i64| Sample {
            event_time: micros(last + n * step * SECOND),
            received_at: micros(last + n * step * SECOND + 3_000 + n * 17 % 1_000),
            value: Some(20.0 + (n % 13) as f64 / 10.0),
            quality: Quality::Good,
        };
        (1..=count).map(row).filter(|row| row.event_time.as_micros() < BEGIN + LENGTH).collect()
    }

    fn append(&mut self, sensor: usize, rows: &[Sample], is_replacing: bool, is_kept: bool) {
        let id = SENSORS[sensor];
        let model = &self.models[&id];
        let mut raw = model.raw.clone();
        let transaction = self.connection.unchecked_transaction().unwrap();
        let mut batch = self.readings.batch();
        for row in rows {
            let appended = batch.append(&self.connection, id, *row).unwrap();
            let stored = raw.get(&row.event_time.as_micros());
            let expected = match stored {
                None => Appended::Fresh,
                Some(stored) if stored.has_value_of(row) => Appended::Duplicate,
                Some(stored) => Appended::Conflict { stored: stored.value },
            };
            assert_eq!(format!("{appended:?}"), format!("{expected:?}"));
            match appended {
                Appended::Conflict { .. } if is_replacing => {
                    batch.replace(&self.connection, id, *row).unwrap();
                    raw.insert(row.event_time.as_micros(), *row);
                }
                Appended::Fresh => drop(raw.insert(row.event_time.as_micros(), *row)),
                _ => {}
            }
        }
        let reader = batch.reader(&self.connection);
        check_raw(&reader, id, &raw);
        batch.write(&self.connection).unwrap();
        if is_kept {
            transaction.commit().unwrap();
            batch.adopt();
            self.models.get_mut(&id).unwrap().raw = raw;
        } else {
            transaction.rollback().unwrap();
        }
    }

    /// What was moved and lies before `raw_from` is only in roll-ups.
    fn fold(&mut self) {
        for (sensor, model) in &mut self.models {
            let tail = self.readings.tail.read();
            if tail.all(*sensor).is_empty() {
                let kept = model.raw.split_off(&model.raw_from);
                model.dropped.extend(std::mem::replace(&mut model.raw, kept).into_values());
            }
        }
    }

    fn erase(&mut self, sensor: usize, from: i64, length: i64) {
        let (id, model) = self.model(sensor);
        // Where raw readings are gone, only whole spans can go.
        let unit = match (model.raw_from, model.hours_from) {
            (0, _) => SECOND,
            (_, 0) => HOUR,
            _ => DAY,
        };
        let from = BEGIN + (from * SECOND) / unit * unit;
        let to = from + ((length * SECOND) / unit * unit).max(unit);
        model.raw.retain(|time, _| *time < from || *time >= to);
        model.dropped.retain(|s| s.event_time < micros(from) || s.event_time >= micros(to));
        let range = (micros(from), micros(to));
        while self.readings.erase(&mut self.connection, id, range, || ()).unwrap().has_more {}
    }

    fn retain(&mut self, change: &Change) {
        match change {
            Change::DropRaw { sensor, before, minutes } => {
                let before = BEGIN + before * HOUR;
                let id = SENSORS[*sensor];
                let keep = if *minutes { KeepMinutes::Yes } else { KeepMinutes::No };
                loop {
                    let connection = &mut self.connection;
                    let dropped = self
                        .readings
                        .drop_raw(connection, id, micros(before), keep, || ())
                        .unwrap();
                    if !dropped.has_more {
                        break;
                    }
                }
                let tail: BTreeSet<i64> = {
                    let tail = self.readings.tail.read();
                    tail.all(id).iter().map(|e| e.sample.event_time.as_micros()).collect()
                };
                self.fold();
                let series = super::table::Series::load(&self.connection, id).unwrap();
                let Some(raw_from) = series.raw_from else { return };
                let model = self.models.get_mut(&id).unwrap();
                model.raw_from = raw_from;
                let gone = |time: &i64| *time < raw_from && !tail.contains(time);
                let dropped: Vec<i64> = model.raw.keys().copied().filter(gone).collect();
                for time in dropped {
                    model.dropped.extend(model.raw.remove(&time));
                }
            }
            Change::DropHours { sensor, before } => {
                let id = SENSORS[*sensor];
                let before = micros(BEGIN + before * DAY);
                while self
                    .readings
                    .drop_hours(&mut self.connection, id, before, || ())
                    .unwrap()
                    .has_more
                {}
                let series = super::table::Series::load(&self.connection, id).unwrap();
                self.models.get_mut(&id).unwrap().hours_from = series.hours_from.unwrap_or(0);
            }
            Change::DropDays { sensor, before } => {
                let (id, model) = self.model(*sensor);
                let before = (BEGIN + before * DAY).min(model.hours_from);
                model.dropped.retain(|sample| sample.event_time >= micros(before));
                let before = micros(before);
                while self
                    .readings
                    .drop_days(&mut self.connection, id, before, || ())
                    .unwrap()
                    .has_more
                {}
            }
            _ => {}
        }
    }

    fn check(&self) {
        for (sensor, model) in &self.models {
            let reader = self.readings.reader(&self.connection);
            check_raw(&reader, *sensor, &model.raw);
            check_statistics(&reader, *sensor, model);
        }
        self.check_arrivals();
        let found = verify(&self.connection).unwrap();
        assert_eq!(found.findings, []);
        self.check_view();
    }

    fn all(&self) -> Vec<(SensorId, Sample)> {
        let rows = |(sensor, model): (&SensorId, &Model)| {
            model.raw.values().map(|sample| (*sensor, *sample)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.models.iter().flat_map(rows).collect();
        all.sort_by_key(|(sensor, s)| (s.received_at, *sensor, s.event_time));
        all
    }

    fn check_arrivals(&self) {
        let reader = self.readings.reader(&self.connection);
        let all = self.all();
        let mut window =
            ArrivalWindow::new(SENSORS.to_vec(), (Timestamp::MIN, Timestamp::MAX), None);
        let mut found = Vec::new();
        loop {
            let some = reader.arrivals(&mut window).unwrap();
            if some.is_empty() {
                break;
            }
            found.extend(some);
        }
        assert_eq!(found, all);
        if all.is_empty() {
            return;
        }
        let at = |n: usize| {
            let (sensor, sample) = all[n];
            Position { received_at: sample.received_at, sensor, event_time: sample.event_time }
        };
        let (first, last) = (all.len() / 3, all.len() - 1 - all.len() / 5);
        if first < last {
            let missed = reader.since(&SENSORS, (at(first), at(last)), 50).unwrap();
            let wanted = &all[first + 1..=last];
            let cut = wanted.len().saturating_sub(50);
            assert_eq!(missed.readings, wanted[cut..]);
            assert_eq!(missed.left_out, cut as u64);
        }
    }

    /// What `sqlite3` shows is what is not in chunks.
    fn check_view(&self) {
        let rows = "SELECT count(DISTINCT sensor_id || ':' || event_time) FROM reading_recent";
        let rows: i64 = self.connection.query_row(rows, [], |row| row.get(0)).unwrap();
        assert_eq!(rows as usize, self.readings.tail_readings());
    }
}

fn check_raw(reader: &Reader<'_>, sensor: SensorId, raw: &BTreeMap<i64, Sample>) {
    let all = (Timestamp::MIN, Timestamp::MAX);
    let wanted: Vec<Sample> = raw.values().copied().collect();
    let found = reader.scan(sensor, all, Order::Ascending, usize::MAX).unwrap();
    assert_eq!(found, wanted);
    let mut found = reader.scan(sensor, all, Order::Descending, usize::MAX).unwrap();
    found.reverse();
    assert_eq!(found, wanted);
    assert_eq!(reader.count(sensor, all).unwrap(), raw.len() as u64);
    assert_eq!(reader.newest_of(&[sensor]).unwrap(), [raw.values().next_back().copied()]);
    let mut arrived = wanted.clone();
    arrived.sort_by_key(|sample| (sample.received_at, sample.event_time));
    let last = arrived.split_at(arrived.len().saturating_sub(30)).1;
    assert_eq!(reader.arrived_last(sensor, Timestamp::MIN, 30).unwrap(), last);
    let before = micros(BEGIN + 40 * HOUR);
    let mut newest: Vec<Sample> =
        wanted.iter().rev().filter(|s| s.received_at < before).take(25).copied().collect();
    newest.sort_by_key(|sample| (sample.received_at, sample.event_time));
    assert_eq!(reader.newest_arrived(sensor, before, 25).unwrap(), newest);
    for (from, to) in [(3, 5), (10, 37), (50, 51), (0, 96)] {
        let (from, to) = (BEGIN + from * HOUR + 7, BEGIN + to * HOUR - 1);
        let range = (micros(from), micros(to));
        let wanted: Vec<Sample> = raw.range(from..to).map(|(_, sample)| *sample).collect();
        assert_eq!(reader.count(sensor, range).unwrap(), wanted.len() as u64);
        let some = wanted.iter().take(20).copied().collect::<Vec<_>>();
        assert_eq!(reader.scan(sensor, range, Order::Ascending, 20).unwrap(), some);
        let some = wanted.iter().rev().take(20).copied().collect::<Vec<_>>();
        assert_eq!(reader.scan(sensor, range, Order::Descending, 20).unwrap(), some);
        let since = micros(from + 4 * HOUR);
        let arrived: Vec<Sample> =
            wanted.iter().filter(|sample| sample.received_at >= since).copied().collect();
        let expected = super::table::value_range(&arrived);
        assert_eq!(reader.value_range(sensor, range, since).unwrap(), expected);
        if let Some(one) = wanted.first() {
            let range = (one.event_time, one.event_time.plus_micros(1));
            assert_eq!(reader.scan(sensor, range, Order::Ascending, 1).unwrap(), [*one]);
        }
    }
}

fn check_statistics(reader: &Reader<'_>, sensor: SensorId, model: &Model) {
    let mut all: Vec<Sample> = model.raw.values().chain(&model.dropped).copied().collect();
    all.sort_by_key(|sample| sample.event_time);
    // Sums of values that are worlds apart don't compare.
    let is_plain =
        |s: &Sample| s.value.is_none_or(|v| v.abs() < 1e12 && (v == 0.0 || v.abs() > 1e-12));
    if !all.iter().all(is_plain) {
        return;
    }
    let begin = BEGIN - DAY;
    let whole = (begin, BEGIN + LENGTH + DAY);
    let fine = model.raw_from == 0;
    let mut cases = vec![(whole, Some(DAY)), (whole, None)];
    cases.push(((whole.0.max(model.hours_from), whole.1), Some(HOUR)));
    if fine {
        let odd = (BEGIN + 5 * HOUR + 13 * SECOND, BEGIN + 61 * HOUR + 17);
        for width in [None, Some(HOUR), Some(DAY), Some(420 * SECOND), Some(3 * HOUR)] {
            cases.push((odd, width));
        }
    }
    for ((from, to), width) in cases {
        let found = reader.statistics(sensor, (micros(from), micros(to)), width, true).unwrap();
        let mut wanted: BTreeMap<i64, Rollup> = BTreeMap::new();
        let inside = |s: &&Sample| (from..to).contains(&s.event_time.as_micros());
        for sample in all.iter().filter(inside) {
            let time = sample.event_time.as_micros();
            let start = width.map_or(from, |width| time.div_euclid(width) * width);
            wanted.entry(start).or_insert_with(|| Rollup::new(micros(start))).add(sample);
        }
        assert_eq!(
            found.spans.len(),
            wanted.len(),
            "{width:?} {from} {to} {model:?}",
            model = model.raw_from
        );
        for (span, wanted) in found.spans.iter().zip(wanted.values()) {
            let scale =
                1e-9 * (wanted.valued as f64) * wanted.max.abs().max(wanted.min.abs()).max(1.0);
            assert_eq!(
                (span.start, span.count, span.valued),
                (wanted.start, wanted.count, wanted.valued)
            );
            if wanted.valued > 0 {
                assert_eq!((span.min, span.max), (wanted.min, wanted.max));
                assert!((span.sum - wanted.sum).abs() <= scale, "{} {}", span.sum, wanted.sum);
                assert!(
                    (span.m2 - wanted.m2).abs()
                        <= scale * wanted.max.abs().max(wanted.min.abs()).max(1.0)
                );
                if fine {
                    assert_eq!((span.first, span.last), (wanted.first, wanted.last));
                }
            }
            assert_eq!(span.sketch, wanted.sketch);
            assert_eq!(span.seen, wanted.seen);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..Default::default() })]

    #[test]
    fn it_reads_what_was_written(changes in prop::collection::vec(any_change(), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(&folder.path().join("model.db"));
        for change in &changes {
            world.apply(change);
            world.check();
        }
        world.apply(&Change::Reopen);
        world.check();
        world.apply(&Change::Round);
        world.check();
    }
}
