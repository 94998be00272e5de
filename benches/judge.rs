//! Judging by alarm rules: 10,000 rules over 1,000 devices, ten for each sensor; alone, and beside the
//! storing of the readings that are judged.

use std::{sync::Arc, time::Duration};

use brooklet::{
    alarm::{
        engine::{Engine, Message, Start},
        notify::{Notifier, Routing},
    },
    registry::{Device, PresenceSettings, Registry, RegistrySettings, Sensor, UnknownDevices},
    store::{
        AlarmRuleRow, NewDevice, NewSensor, Store, StoreError, StoreSettings, StoredReading, Writer,
    },
    telemetry::{Approval, DeviceKey, DeviceKind, Quality, SensorName, Timestamp},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

type Failure = Box<dyn std::error::Error>;
type Reading = (Arc<Device>, Arc<Sensor>);

const DEVICES: usize = 1_000;
const RULES_PER_DEVICE: usize = 10;

fn fill(writer: &mut Writer) -> Result<(), StoreError> {
    writer.transaction(|txn| {
        for n in 0..DEVICES {
            let Ok(key) = DeviceKey::new(&format!("d{n}")) else { continue };
            let device = txn.ensure_device(&NewDevice {
                key,
                name: None,
                kind: DeviceKind::Device,
                gateway: None,
                labels: "{}".to_owned(),
                approval: Approval::Active,
                first_seen: Timestamp::UNIX_EPOCH,
            })?;
            let Ok(name) = SensorName::in_topic("t") else { continue };
            let created_at = Timestamp::UNIX_EPOCH;
            txn.ensure_sensor(&NewSensor { device, name, unit: None, created_at })?;
        }
        Ok(())
    })
}

fn rules() -> Vec<AlarmRuleRow> {
    let rule = |n: usize| AlarmRuleRow {
        id: n as i64 + 1,
        name: format!("r{n}"),
        enabled: true,
        provisioned: false,
        version: 1,
        body: format!(
            r#"{{"name": "r{n}", "scope": {{"devices": ["d{}"]}}, "levels": [{{"severity": "major",
            "condition": {{"type": "above", "limit": {}, "deadband": 1}}}}]}}"#,
            n / RULES_PER_DEVICE,
            100 + n
        ),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    };
    (0..DEVICES * RULES_PER_DEVICE).map(rule).collect()
}

fn prepare(
    folder: &std::path::Path,
    rules: Vec<AlarmRuleRow>,
) -> Result<(Writer, Engine, Vec<Reading>), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let path = folder.join("brooklet.db");
    let busy_timeout = Duration::from_secs(1);
    let settings = StoreSettings { readers: 1, busy_timeout, ..StoreSettings::new(path) };
    let store = runtime.block_on(Store::open(&settings))?;
    let mut writer = store.writer(busy_timeout)?;
    fill(&mut writer)?;
    let (offline_grace, offline_after) = (Duration::from_secs(5), Duration::from_secs(300));
    let registry = Arc::new(Registry::new(RegistrySettings {
        unknown: UnknownDevices::Learn,
        learned_per_hour_max: DEVICES,
        presence: PresenceSettings { offline_grace, offline_after },
    }));
    registry.load(runtime.block_on(store.devices())?, runtime.block_on(store.sensors())?);
    let readings = registry.all().into_iter();
    let readings = readings.filter_map(|device| Some((device.clone(), device.sensor("t")?)));
    let readings = readings.collect();
    let start = Start {
        rules,
        alarms: Vec::new(),
        last_alarm_id: 0,
        runs: Vec::new(),
        registry,
        notifier: Notifier::new(Routing::default()),
        now: Timestamp::UNIX_EPOCH,
    };
    let engine = Engine::start(start, &mut writer)?;
    Ok((writer, engine, readings))
}

fn benchmark(criterion: &mut Criterion) {
    for (title, rules, evaluations) in
        [("no rule", Vec::new(), 1), ("10,000 rules", rules(), RULES_PER_DEVICE)]
    {
        let Ok(folder) = tempfile::tempdir() else { return };
        let Ok((mut writer, mut engine, readings)) = prepare(folder.path(), rules) else { return };
        for count in [1, DEVICES] {
            let mut group = criterion.benchmark_group(format!("{title}, {count} readings"));
            group.sample_size(10).measurement_time(Duration::from_secs(3));
            let mut time = 1_000_000;
            for stores in [false, true] {
                let elements = if stores { count } else { count * evaluations };
                group.throughput(Throughput::Elements(elements as u64));
                let name = if stores { "stored and judged" } else { "judged" };
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        time += 1_000;
                        let some = readings.get(..count).unwrap_or_default();
                        batch(&mut writer, &mut engine, some, time, stores)
                    });
                });
            }
        }
    }
}

fn batch(
    writer: &mut Writer,
    engine: &mut Engine,
    readings: &[Reading],
    time: i64,
    stores: bool,
) -> Result<(), StoreError> {
    let at = Timestamp::from_micros(time);
    let stored = |sensor: &Arc<Sensor>| StoredReading {
        sensor: sensor.id,
        event_time: at,
        received_at: at,
        value: Some(25.5),
        quality: Quality::Good,
    };
    let fresh: Vec<_> =
        readings.iter().map(|(_, sensor)| [(sensor.clone(), stored(sensor))]).collect();
    let judged = writer.transaction(|txn| {
        if stores {
            let readings: Vec<_> = readings.iter().map(|(_, sensor)| stored(sensor)).collect();
            txn.append(&readings)?;
        }
        let messages = readings.iter().zip(&fresh).map(|((device, _), fresh)| Message {
            device,
            arrival: at,
            is_sign: true,
            status: None,
            fresh,
        });
        engine.evaluate(txn, messages, at)
    })?;
    engine.adopt(judged);
    Ok(())
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
