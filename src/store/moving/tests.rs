//! Rows through a dump, readings into chunks; the rest is seen from outside.

use std::io::Cursor;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    dump::DumpSource,
    tables::{TABLES, Table, named},
    write_dump, *,
};
use crate::{
    store::{
        Store, StoreSettings,
        chunks::{self, ChunkSettings, Filling, Order, Readings},
    },
    telemetry::{Quality, Timestamp},
};

/// A store that is in memory: rows of one table, and readings.
struct Memory {
    table: &'static Table,
    rows: Vec<Values>,
    readings: Vec<(SensorId, Vec<Sample>)>,
}

impl Source for Memory {
    fn has(&self, table: &Table) -> bool {
        table.name == self.table.name || table.name == READING
    }

    fn pour(&mut self, table: &'static Table, sink: &mut dyn Sink) -> Result<(), MoveError> {
        if table.name == READING {
            return self.readings.iter().try_for_each(|(sensor, s)| sink.readings(*sensor, s));
        }
        self.rows.chunks(3).try_for_each(|rows| sink.rows(table, &mut rows.to_vec()))
    }

    fn numbers(&mut self) -> Result<Vec<(String, i64)>, MoveError> {
        Ok(vec![("device".to_owned(), 7), ("unknown".to_owned(), 8)])
    }

    fn estimate(&mut self) -> Result<u64, MoveError> {
        Ok(0)
    }
}

/// Takes what comes.
#[derive(Default)]
struct Taken {
    rows: Vec<Values>,
    readings: Vec<(SensorId, Sample)>,
    numbers: Vec<(String, i64)>,
}

impl Sink for Taken {
    fn rows(&mut self, _: &'static Table, rows: &mut Vec<Values>) -> Result<(), MoveError> {
        self.rows.append(rows);
        Ok(())
    }

    fn readings(&mut self, sensor: SensorId, samples: &[Sample]) -> Result<(), MoveError> {
        self.readings.extend(samples.iter().map(|sample| (sensor, *sample)));
        Ok(())
    }

    fn numbers(&mut self, numbers: &[(String, i64)]) -> Result<(), MoveError> {
        self.numbers.extend_from_slice(numbers);
        Ok(())
    }
}

fn value(kind: Kind) -> BoxedStrategy<Value> {
    let some = match kind {
        Kind::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Kind::Real => any::<f64>().prop_map(|number| Value::real(Some(number))).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Text => any::<String>().prop_map(Value::Text).boxed(),
        Kind::Bytes => prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes).boxed(),
    };
    prop_oneof![Just(Value::Null), some].boxed()
}

fn table() -> impl Strategy<Value = (&'static Table, Vec<Values>)> {
    let tables: Vec<_> = TABLES.iter().filter(|table| table.name != READING).collect();
    prop::sample::select(tables).prop_flat_map(|table| {
        let row: Vec<_> = table.columns().into_iter().map(|(_, kind)| value(kind)).collect();
        (Just(table), prop::collection::vec(row, 0..9))
    })
}

fn samples(length: i64) -> Vec<Sample> {
    let sample = |at: i64| Sample {
        event_time: Timestamp::from_micros(at * 60_000_000),
        received_at: Timestamp::from_micros(at * 60_000_000 + at % 7),
        value: (at % 11 != 0).then_some(at as f64 / 3.0),
        quality: if at % 5 == 0 { Quality::Uncertain } else { Quality::Good },
    };
    (0..length).map(sample).collect()
}

proptest! {
    #[test]
    fn what_comes_out_of_a_dump_went_into_it((table, rows) in table(), length in 0..300_i64) {
        let mut dumped = Vec::new();
        let readings = vec![(SensorId(3), samples(length)), (SensorId(9), samples(length / 2))];
        let mut memory = Memory { table, rows, readings };
        let tallies = write_dump(&mut memory, &mut dumped, &mut |_| true).unwrap();
        let through = DumpSource::new(Cursor::new(&dumped)).unwrap().read_through().unwrap();
        prop_assert_eq!(&through, &tallies);
        let mut taken = Taken::default();
        let mut source = DumpSource::new(Cursor::new(&dumped)).unwrap();
        for known in &TABLES {
            source.pour(known, &mut taken).unwrap();
        }
        prop_assert_eq!(source.numbers().unwrap(), [("device".to_owned(), 7)]);
        // By what they are made of: 0.0 is not -0.0.
        prop_assert_eq!(format!("{:?}", taken.rows), format!("{:?}", memory.rows));
        let readings = memory.readings.iter();
        let readings = readings.flat_map(|(sensor, all)| all.iter().map(move |s| (*sensor, *s)));
        prop_assert_eq!(taken.readings, readings.collect::<Vec<_>>());
        // What is cut short is found to be.
        for cut in [dumped.len() - 1, dumped.len() / 2, 20, 0] {
            let source = DumpSource::new(Cursor::new(&dumped[..cut]));
            prop_assert!(source.and_then(|mut source| source.read_through()).is_err());
        }
    }
}

#[tokio::test]
async fn readings_that_are_filled_in_are_found_and_hold_together() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("brooklet.db");
    Store::open(&StoreSettings::new(path.clone())).await.unwrap().close().await;
    let mut connection = Connection::open(&path).unwrap();
    let mut filling = Filling::new(&connection).unwrap();
    let expected = samples(5_000);
    for part in expected.chunks(333) {
        filling.add(&connection, SensorId(1), part).unwrap();
    }
    filling.add(&connection, SensorId(2), &samples(3)).unwrap();
    filling.end(&connection).unwrap();
    let readings = Readings::open(&connection, ChunkSettings::default()).unwrap();
    // The first is long, and nobody has rolled it up.
    readings.complete_rollups(&mut connection, &[(SensorId(2), 0)]).unwrap();
    let reader = readings.reader(&connection);
    let all = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
    assert_eq!(reader.scan(SensorId(1), all, Order::Ascending, 9_999).unwrap(), expected);
    assert_eq!(reader.newest_of(&[SensorId(2)]).unwrap(), [samples(3).pop()]);
    let sensors: Vec<_> = reader.sensors().unwrap().into_iter().collect();
    assert_eq!(sensors, [SensorId(1), SensorId(2)]);
    let verified = chunks::verify(&connection).unwrap();
    assert_eq!((verified.findings, verified.readings), (vec![], 5_003));
    let hours = "SELECT count(*) FROM reading_hour WHERE sensor_id = 1";
    let hours: i64 = connection.query_row(hours, [], |row| row.get(0)).unwrap();
    let expected = (5_000 - 2 * 64) / 60 - 1..=5_000 / 60;
    assert!(expected.contains(&hours), "{hours}");
}

#[test]
fn names_of_tables_are_each_once() {
    for table in &TABLES {
        assert!(std::ptr::eq(named(table.name).unwrap(), table), "{}", table.name);
    }
}
