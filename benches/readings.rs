//! Readings in a journal and chunks: a commit, its way into chunks, looks at a month.

#![allow(clippy::expect_used, reason = "a bench that can not be set up is to stop")]

use std::{hint::black_box, path::Path};

use brooklet::{
    store::chunks::{ChunkError, ChunkSettings, Order, Readings, Sample, create_tables},
    telemetry::{Quality, SensorId, Timestamp},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rusqlite::Connection;

const BEGIN: i64 = 1_760_313_600_000_000;
const HOUR: i64 = 3_600_000_000;

struct Bench {
    connection: Connection,
    readings: Readings,
    next: i64,
}

impl Bench {
    fn new(folder: &Path) -> Result<Self, ChunkError> {
        let connection = Connection::open(folder.join("readings.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.set_prepared_statement_cache_capacity(128);
        create_tables(&connection)?;
        let readings = Readings::open(&connection, ChunkSettings::default())?;
        Ok(Self { connection, readings, next: 0 })
    }

    /// Commits a reading of each of some sensors, every ten seconds.
    fn commit(&mut self, sensors: i64, rounds: i64) -> Result<(), ChunkError> {
        let transaction = self.connection.unchecked_transaction()?;
        let mut batch = self.readings.batch();
        for round in self.next..self.next + rounds {
            for sensor in 0..sensors {
                let event_time = Timestamp::from_micros(BEGIN + round * 10_000_000 + sensor);
                let sample = Sample {
                    event_time,
                    received_at: event_time.plus_micros(2_000 + round * 7_919 % 3_000),
                    value: Some((200 + round * 31 % 23) as f64 / 10.0),
                    quality: Quality::Good,
                };
                batch.append(&self.connection, SensorId(sensor), sample)?;
            }
        }
        self.next += rounds;
        batch.write(&self.connection)?;
        transaction.commit()?;
        batch.adopt();
        Ok(())
    }

    fn compact(&mut self) -> Result<(), ChunkError> {
        let mut round = self.readings.begin_round();
        while round.has_more() {
            self.readings.compact(&mut self.connection, &mut round, || ())?;
        }
        Ok(())
    }
}

fn writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("readings");
    group.sample_size(10);
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new(folder.path()).expect("a store");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("commit of 1,000 sensors", |bencher| {
        bencher.iter(|| bench.commit(1_000, 1));
    });
    group.throughput(Throughput::Elements(200_000));
    group.bench_function(
        "200,000 readings of 1,000 sensors committed and into chunks",
        |bencher| {
            bench.compact().expect("a round");
            bencher.iter(|| bench.commit(1_000, 200).and_then(|()| bench.compact()));
        },
    );
    group.finish();
}

fn looking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("readings of a month");
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new(folder.path()).expect("a store");
    for _ in 0..32 {
        bench.commit(1, 8_192).and_then(|()| bench.compact()).expect("a month");
    }
    let reader = bench.readings.reader(&bench.connection);
    let at = |hours: i64| Timestamp::from_micros(BEGIN + hours * HOUR);
    group.bench_function("a day", |bencher| {
        let day = (at(100), at(124));
        bencher.iter(|| black_box(reader.scan(SensorId(0), day, Order::Ascending, usize::MAX)));
    });
    group.bench_function("by hour", |bencher| {
        let month = (at(0), at(720));
        bencher.iter(|| black_box(reader.statistics(SensorId(0), month, Some(HOUR), false)));
    });
    group.bench_function("by 5 minutes", |bencher| {
        let month = (at(0), at(720));
        bencher.iter(|| black_box(reader.statistics(SensorId(0), month, Some(HOUR / 12), false)));
    });
    group.finish();
}

criterion_group!(benches, writing, looking);
criterion_main!(benches);
