//! A month of readings of one sensor at 1 Hz (2.6 million), put through alarm rules.

use std::{sync::Arc, time::Duration};

use brooklet::{
    alarm::{
        backtest::{Backtest, Progress, Report, Tried, run},
        rule::AlarmRule,
    },
    registry::{PresenceSettings, Registry, RegistrySettings, UnknownDevices},
    store::{NewDevice, NewSensor, Store, StoreError, StoreSettings, StoredReading},
    telemetry::{Approval, DeviceKey, DeviceKind, Quality, SensorName, Timestamp},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

type Failure = Box<dyn std::error::Error>;

const READINGS: i64 = 2_600_000;
const SECOND: i64 = 1_000_000;

/// A store with the readings: a wave of an hour, so that a limit is passed 722 times.
fn filled(runtime: &Runtime, folder: &std::path::Path) -> Result<(Store, Registry), Failure> {
    let path = folder.join("brooklet.db");
    let busy_timeout = Duration::from_secs(1);
    let settings = StoreSettings { readers: 1, busy_timeout, ..StoreSettings::new(path) };
    let store = runtime.block_on(Store::open(&settings))?;
    let mut writer = store.writer(busy_timeout)?;
    let (key, name) = (DeviceKey::new("boiler")?, SensorName::in_topic("temperature")?);
    writer.transaction(|txn| -> Result<(), StoreError> {
        let created_at = Timestamp::UNIX_EPOCH;
        let device = txn.ensure_device(&NewDevice {
            key,
            name: None,
            kind: DeviceKind::Device,
            gateway: None,
            labels: "{}".to_owned(),
            approval: Approval::Active,
            first_seen: created_at,
        })?;
        let sensor = txn.ensure_sensor(&NewSensor { device, name, unit: None, created_at })?;
        for n in 0..READINGS {
            let event = n * SECOND;
            let times = (Timestamp::from_micros(event), Timestamp::from_micros(event + n % 400));
            let value = 30.0 + 15.0 * (n as f64 * std::f64::consts::TAU / 3_600.0).sin();
            let (value, quality) = (Some(value), Quality::Good);
            let (event_time, received_at) = times;
            txn.append(&[StoredReading { sensor, event_time, received_at, value, quality }])?;
        }
        Ok(())
    })?;
    let presence = PresenceSettings {
        offline_grace: Duration::from_secs(5),
        offline_after: Duration::from_secs(60),
    };
    let registry = Registry::new(RegistrySettings {
        unknown: UnknownDevices::Learn,
        learned_per_hour_max: 1,
        presence,
    });
    let (devices, sensors) = (store.devices(), store.sensors());
    registry.load(runtime.block_on(devices)?, runtime.block_on(sensors)?);
    Ok((store, registry))
}

fn rule(levels: Value) -> Result<Tried, Failure> {
    let body = AlarmRule::from_value(json!({"name": "Boiler too hot", "levels": levels}))?;
    Ok(Tried::new(body, None)?)
}

fn cases() -> Result<Vec<(&'static str, Tried)>, Failure> {
    let above = |limit: i64| json!({"type": "above", "limit": limit, "deadband": 1});
    let mean = json!({"type": "aggregate", "function": "mean", "window": "10m",
                      "above": {"limit": 40, "deadband": 1}});
    Ok(vec![
        ("one limit", rule(json!([{"severity": "warning", "condition": above(40)}]))?),
        (
            "two limits with delays",
            rule(json!([
                {"severity": "warning", "condition": above(35), "on_delay": "30s"},
                {"severity": "critical", "condition": above(43), "off_delay": "30s"},
            ]))?,
        ),
        ("mean of ten minutes", rule(json!([{"severity": "major", "condition": mean}]))?),
    ])
}

fn tried(
    runtime: &Runtime,
    (store, registry): &(Store, Registry),
    rule: &Tried,
) -> Result<Report, StoreError> {
    let backtest = Backtest {
        rule: rule.clone(),
        compare_with: None,
        from: Timestamp::UNIX_EPOCH,
        to: Timestamp::from_micros(READINGS * SECOND),
        devices: registry.all(),
        routing: Arc::default(),
    };
    let (progress, _) = watch::channel(Progress::default());
    runtime.block_on(run(store, backtest, &progress))
}

fn benchmark(criterion: &mut Criterion) {
    let Ok(runtime) = Runtime::new() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let Ok(filled) = filled(&runtime, folder.path()) else { return };
    let Ok(cases) = cases() else { return };
    let mut group = criterion.benchmark_group("backtest of a month at 1 Hz");
    group.sample_size(10).throughput(Throughput::Elements(READINGS.unsigned_abs()));
    for (name, rule) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let report = tried(&runtime, &filled, &rule);
                assert!(report.is_ok_and(|report| {
                    report.readings == READINGS.unsigned_abs() && report.rule.alarms_total > 0
                }));
            });
        });
    }
    group.finish();
    runtime.block_on(filled.0.close());
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
