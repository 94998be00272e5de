//! Readers while readings are moved, the way from the clustered table, damage.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
};

use rusqlite::{Connection, params};

use super::{
    ChunkError, ChunkSettings, KeepMinutes, Order, Readings, Sample, create_tables,
    rollup::{DAY, HOUR},
    verify,
};
use crate::telemetry::{Quality, SensorId, Timestamp};

const BEGIN: i64 = 1_760_313_600_000_000;
const EVER: (Timestamp, Timestamp) = (Timestamp::MIN, Timestamp::MAX);
const SENSOR: SensorId = SensorId(7);

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection
}

fn open(path: &Path) -> (Connection, Readings) {
    let connection = connect(path);
    create_tables(&connection).unwrap();
    let readings = Readings::open(&connection, ChunkSettings::default()).unwrap();
    (connection, readings)
}

fn sample(n: i64) -> Sample {
    let event_time = Timestamp::from_micros(BEGIN + n * 60_000_000);
    Sample {
        event_time,
        received_at: event_time.plus_micros(2_500),
        value: Some(n as f64 / 10.0),
        quality: Quality::Good,
    }
}

fn append(connection: &Connection, readings: &Readings, numbers: impl Iterator<Item = i64>) {
    let transaction = connection.unchecked_transaction().unwrap();
    let mut batch = readings.batch();
    for n in numbers {
        batch.append(connection, SENSOR, sample(n)).unwrap();
    }
    batch.write(connection).unwrap();
    transaction.commit().unwrap();
    batch.adopt();
}

fn compact(connection: &mut Connection, readings: &Readings) {
    let mut round = readings.begin_round();
    while round.has_more() {
        readings.compact(connection, &mut round, || ()).unwrap();
    }
}

#[test]
fn readers_see_no_gap_and_no_double() {
    const COUNT: i64 = 12_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("readings.db");
    let (connection, readings) = open(&path);
    let gate = Mutex::new(());
    let acknowledged = AtomicI64::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let compactor = scope.spawn(|| {
            let mut connection = connect(&path);
            while !is_over.load(Ordering::Acquire) {
                let mut round = readings.begin_round();
                while round.has_more() {
                    readings.compact(&mut connection, &mut round, || gate.lock().unwrap()).unwrap();
                }
            }
        });
        let looks = [0, 1].map(|kind| {
            let (readings, acknowledged, is_over, path) =
                (&readings, &acknowledged, &is_over, &path);
            scope.spawn(move || {
                let connection = connect(path);
                while !is_over.load(Ordering::Acquire) {
                    let least = acknowledged.load(Ordering::Acquire);
                    let reader = readings.reader(&connection);
                    let seen = if kind == 0 {
                        let found =
                            reader.scan(SENSOR, EVER, Order::Ascending, usize::MAX).unwrap();
                        for (n, found) in (0..).zip(&found) {
                            assert_eq!(*found, sample(n));
                        }
                        found.len() as i64
                    } else {
                        assert!(reader.count(SENSOR, EVER).unwrap() as i64 >= least);
                        let by_day = reader.statistics(SENSOR, EVER, Some(DAY), false).unwrap();
                        let counts = by_day.spans.iter().map(|span| span.count as i64);
                        counts.sum::<i64>()
                    };
                    assert!(seen >= least, "{seen} of {least}");
                    let newest = reader.newest_of(&[SENSOR]).unwrap().pop().flatten();
                    assert!(least == 0 || newest.unwrap() >= sample(least - 1));
                }
            })
        });
        let mut next = 0;
        while next < COUNT {
            let to = (next + 37).min(COUNT);
            let held = gate.lock().unwrap();
            append(&connection, &readings, next..to);
            drop(held);
            acknowledged.store(to, Ordering::Release);
            next = to;
        }
        is_over.store(true, Ordering::Release);
        compactor.join().unwrap();
        looks.into_iter().for_each(|look| look.join().unwrap());
    });
    let mut connection = connect(&path);
    compact(&mut connection, &readings);
    let found = verify(&connection).unwrap();
    assert_eq!((found.findings, found.readings), (vec![], COUNT as u64));
}

impl PartialOrd for Sample {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.event_time.partial_cmp(&other.event_time)
    }
}

#[test]
fn the_clustered_table_becomes_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let (mut connection, readings) = open(&folder.path().join("readings.db"));
    connection
        .execute_batch(
            "CREATE TABLE reading (sensor_id INTEGER NOT NULL, event_time INTEGER NOT NULL, \
             received_at INTEGER NOT NULL, value REAL, quality INTEGER NOT NULL, \
             PRIMARY KEY (sensor_id, event_time)) WITHOUT ROWID",
        )
        .unwrap();
    for (sensor, count) in [(1, 730), (2, 3), (3, 100)] {
        for n in 0..count {
            let Sample { event_time, received_at, value, .. } = sample(n * 7);
            let row =
                params![sensor, event_time.as_micros(), received_at.as_micros(), value, n % 3];
            let insert = "INSERT INTO reading VALUES (?1, ?2, ?3, ?4, ?5)";
            connection.execute(insert, row).unwrap();
        }
    }
    let mut readings = readings;
    while readings.convert(&mut connection, || ()).unwrap().has_more {
        // As after a crash.
        readings = Readings::open(&connection, ChunkSettings::default()).unwrap();
    }
    for (sensor, count) in [(1, 730), (2, 3), (3, 100)] {
        let reader = readings.reader(&connection);
        let found = reader.scan(SensorId(sensor), EVER, Order::Ascending, usize::MAX).unwrap();
        let wanted: Vec<Sample> = (0..count)
            .map(|n| Sample { quality: Quality::from_code(n % 3), ..sample(n * 7) })
            .collect();
        assert_eq!(found, wanted);
    }
    assert_eq!(verify(&connection).unwrap().findings, []);
    assert!(!readings.convert(&mut connection, || ()).unwrap().has_more);
}

#[test]
fn damage_is_told_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let (mut connection, readings) = open(&folder.path().join("readings.db"));
    append(&connection, &readings, 0..300);
    compact(&mut connection, &readings);
    append(&connection, &readings, 300..310);
    assert_eq!(verify(&connection).unwrap().findings, []);
    let flip = "UPDATE reading_chunk SET data = CAST(substr(data, 1, 40) || x'5a5a' || \
        substr(data, 43) AS BLOB) WHERE id = (SELECT min(id) FROM reading_chunk)";
    assert_eq!(connection.execute(flip, []).unwrap(), 1);
    let found = readings.reader(&connection).scan(SENSOR, EVER, Order::Ascending, usize::MAX);
    assert!(matches!(found, Err(ChunkError::Chunk { .. })), "{found:?}");
    assert_eq!(verify(&connection).unwrap().findings.len(), 1);
    let forget = "UPDATE reading_hour SET count = count + 1 WHERE hour = \
        (SELECT max(hour) FROM reading_hour)";
    assert_eq!(connection.execute(forget, []).unwrap(), 1);
    connection.execute("UPDATE reading_journal SET rows = substr(rows, 1, 50)", []).unwrap();
    assert!(verify(&connection).unwrap().findings.len() >= 2);
    let opened = Readings::open(&connection, ChunkSettings::default());
    assert!(matches!(opened, Err(ChunkError::Journal { .. })));
}

/// A replaced reading that is in the tail, and in a chunk with its first value, is rolled up once.
#[test]
fn what_was_replaced_counts_once_when_raw_readings_go() {
    let folder = tempfile::tempdir().unwrap();
    let (mut connection, readings) = open(&folder.path().join("readings.db"));
    append(&connection, &readings, 0..200);
    compact(&mut connection, &readings);
    let transaction = connection.unchecked_transaction().unwrap();
    let mut batch = readings.batch();
    let replaced = Sample { value: Some(1e6), ..sample(5) };
    batch.replace(&connection, SENSOR, replaced).unwrap();
    batch.write(&connection).unwrap();
    transaction.commit().unwrap();
    batch.adopt();
    let before = Timestamp::from_micros(BEGIN + 2 * HOUR);
    let keep = KeepMinutes::Yes;
    assert!(!readings.drop_raw(&mut connection, SENSOR, before, keep, || ()).unwrap().has_more);
    compact(&mut connection, &readings);
    let reader = readings.reader(&connection);
    assert_eq!(reader.count(SENSOR, EVER).unwrap(), 80);
    for width in [HOUR / 60, HOUR, DAY] {
        let found = reader.statistics(SENSOR, EVER, Some(width), false).unwrap();
        let whole = found.whole().unwrap();
        assert_eq!((whole.count, whole.max), (200, 1e6), "{width}");
    }
    assert_eq!(verify(&connection).unwrap().findings, []);
}

/// Readings that come one by one are written again a bounded number of times.
#[test]
fn rewriting_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (mut connection, readings) = open(&folder.path().join("readings.db"));
    for n in 0..2_000 {
        append(&connection, &readings, n..n + 1);
        compact(&mut connection, &readings);
    }
    // An open chunk of up to 8 is written again with each reading, a full one of 64 once.
    let ids: i64 =
        connection.query_row("SELECT max(id) FROM reading_chunk", [], |row| row.get(0)).unwrap();
    assert!(ids <= 2_100, "{ids} chunks were written");
    let kept: i64 =
        connection.query_row("SELECT count(*) FROM reading_chunk", [], |row| row.get(0)).unwrap();
    assert!(kept <= 2_000 / 64 + 9, "{kept} chunks are kept");
    let reader = readings.reader(&connection);
    let hours = reader.statistics(SENSOR, EVER, Some(HOUR), true).unwrap();
    assert_eq!(hours.spans.iter().map(|span| span.count).sum::<u64>(), 2_000);
    let median = hours.whole().unwrap().sketch.quantile(0.5).unwrap();
    assert!((median - 100.0).abs() < 1.1, "{median}");
}
