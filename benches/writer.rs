//! Readings into the store: rows a transaction, for one sensor and for a thousand in turn.

use std::time::Duration;

use brooklet::{
    store::{NewDevice, NewSensor, Store, StoreError, StoreSettings, StoredReading, Writer},
    telemetry::{Approval, DeviceKey, DeviceKind, Quality, SensorId, SensorName, Timestamp},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

type Failure = Box<dyn std::error::Error>;

fn open(folder: &std::path::Path, sensors: usize) -> Result<(Writer, Vec<SensorId>), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let path = folder.join("brooklet.db");
    let busy_timeout = Duration::from_secs(1);
    let settings = StoreSettings { readers: 1, busy_timeout, ..StoreSettings::new(path) };
    let store = runtime.block_on(Store::open(&settings))?;
    let mut writer = store.writer(busy_timeout)?;
    let key = DeviceKey::new("bench")?;
    let ids = writer.transaction(|txn| -> Result<Vec<SensorId>, StoreError> {
        let device = txn.ensure_device(&NewDevice {
            key,
            name: None,
            kind: DeviceKind::Device,
            gateway: None,
            labels: "{}".to_owned(),
            approval: Approval::Active,
            first_seen: Timestamp::UNIX_EPOCH,
        })?;
        let names = (0..sensors).filter_map(|n| SensorName::in_topic(&format!("s{n}")).ok());
        names
            .map(|name| {
                let created_at = Timestamp::UNIX_EPOCH;
                txn.ensure_sensor(&NewSensor { device, name, unit: None, created_at })
            })
            .collect()
    })?;
    Ok((writer, ids))
}

fn benchmark(criterion: &mut Criterion) {
    for sensors in [1, 1_000] {
        let mut group = criterion.benchmark_group(format!("append, {sensors} sensors"));
        group.sample_size(10).measurement_time(Duration::from_secs(3));
        for rows in [1_usize, 100, 1_000, 5_000] {
            let Ok(folder) = tempfile::tempdir() else { return };
            let Ok((mut writer, ids)) = open(folder.path(), sensors) else { return };
            let mut time = 0;
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{rows} rows"), |bencher| {
                bencher.iter(|| {
                    writer.transaction(|txn| {
                        let readings = ids.iter().cycle().take(rows).map(|sensor| {
                            time += 1;
                            let at = Timestamp::from_micros(time);
                            StoredReading {
                                sensor: *sensor,
                                event_time: at,
                                received_at: at,
                                value: Some(25.5),
                                quality: Quality::Good,
                            }
                        });
                        txn.append(&readings.collect::<Vec<_>>())
                    })
                });
            });
        }
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
