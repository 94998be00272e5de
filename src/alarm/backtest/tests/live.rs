//! The real engine on a real store, batch by batch and with restarts; then a backtest on what it
//! stored.

use tempfile::TempDir;

use super::*;
use crate::{
    alarm::{
        engine::{Engine, Message, Start},
        notify::Notifier,
    },
    store::{
        AlarmQuery, AlarmRuleEdit, NewDevice, NewSensor, ReportRow, StoreSettings, Transaction,
        Writer,
    },
};

/// A broker's engine, without the broker.
struct Broker {
    store: Store,
    registry: Arc<Registry>,
    writer: Option<Writer>,
    engine: Option<Engine>,
    run: i64,
    _folder: TempDir,
}

impl Broker {
    async fn new(rule: &AlarmRule) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = StoreSettings {
            readers: 1,
            busy_timeout: std::time::Duration::from_secs(1),
            ..StoreSettings::new(folder.path().join("brooklet.db"))
        };
        let store = Store::open(&settings).await.unwrap();
        let mut writer = store.writer(settings.busy_timeout).unwrap();
        let writer = spawn_blocking(move || {
            writer.transaction(ensure_sensors).unwrap();
            writer
        });
        let writer = writer.await.unwrap();
        let edit = AlarmRuleEdit { name: rule.name.clone(), enabled: true, body: rule.to_json() };
        let at = Timestamp::from_micros(START - 3_600 * SECOND);
        store.create_alarm_rule(&edit, None, at).await.unwrap();
        let registry = Arc::new(registry(0));
        registry.load(Vec::new(), Vec::new());
        let mut broker =
            Self { store, registry, writer: Some(writer), engine: None, run: 0, _folder: folder };
        broker.start(at).await;
        broker
    }

    async fn start(&mut self, now: Timestamp) {
        let registry = Arc::new(registry(0));
        for device in registry.all() {
            registry.remove(&device);
        }
        let (devices, sensors) = (self.store.devices(), self.store.sensors());
        registry.load(devices.await.unwrap(), sensors.await.unwrap());
        self.registry = registry.clone();
        let start = Start {
            rules: self.store.alarm_rules().await.unwrap(),
            alarms: self.store.newest_alarms(Timestamp::MIN).await.unwrap(),
            last_alarm_id: self.store.max_alarm_id().await.unwrap(),
            runs: self.store.runs(Timestamp::MIN, now).await.unwrap(),
            registry,
            notifier: Notifier::new(Routing::default()),
            now,
        };
        self.run = self.store.begin_run(now).await.unwrap();
        let mut writer = self.writer.take().unwrap();
        let started = spawn_blocking(move || (Engine::start(start, &mut writer).unwrap(), writer));
        let (engine, writer) = started.await.unwrap();
        (self.engine, self.writer) = (Some(engine), Some(writer));
    }

    /// Judges readings, each a message of its own, and what is due until `watermark`.
    async fn batch(&mut self, readings: Vec<StoredReading>, watermark: Timestamp) {
        let (mut engine, mut writer) = (self.engine.take().unwrap(), self.writer.take().unwrap());
        let (registry, run) = (self.registry.clone(), self.run);
        let judged = spawn_blocking(move || {
            let judged = writer.transaction(|transaction| {
                transaction.note_alive(run, watermark)?;
                let fresh: Vec<_> = readings
                    .iter()
                    .map(|reading| {
                        append(transaction, reading);
                        [(registry.sensor(reading.sensor).unwrap(), *reading)]
                    })
                    .collect();
                let device = &registry.all()[0];
                if let Some(last) = readings.last() {
                    transaction.save_report(&report(device.id, last.received_at))?;
                }
                let messages = fresh.iter().map(|fresh| Message {
                    device,
                    arrival: fresh[0].1.received_at,
                    is_sign: true,
                    status: None,
                    fresh,
                });
                engine.evaluate(transaction, messages, watermark)
            });
            engine.adopt(judged.unwrap());
            let due = engine.due(watermark);
            let times = (watermark, watermark);
            let fired = writer.transaction(|transaction| engine.fire(transaction, &due, times));
            engine.adopt(fired.unwrap());
            for reading in &readings {
                registry.sensor(reading.sensor).unwrap().adopt(*reading);
            }
            (engine, writer)
        });
        let (engine, writer) = judged.await.unwrap();
        (self.engine, self.writer) = (Some(engine), Some(writer));
    }

    /// Judges the last readings; their timers, as always, with the batch after them.
    async fn finish(&mut self, readings: Vec<StoredReading>, to: Timestamp) {
        if let Some(last) = readings.last().map(|reading| reading.received_at) {
            self.batch(readings, last).await;
        }
        self.batch(Vec::new(), to.plus_micros(-1)).await;
    }

    async fn restart(&mut self, (from, to): (Timestamp, Timestamp)) {
        self.batch(Vec::new(), from).await;
        self.engine = None;
        self.start(to).await;
    }

    /// What the engine has written: sensor, kind, times and value.
    async fn events(&self) -> Vec<Told> {
        let query = AlarmQuery { limit: 1_000, ..AlarmQuery::default() };
        let mut events = Vec::new();
        for alarm in self.store.alarms(&query).await.unwrap().alarms {
            for event in self.store.alarm_events(alarm.id, None, 100_000).await.unwrap() {
                let value = event.value.map(f64::to_bits);
                events.push((
                    event.arrival,
                    alarm.sensor_id,
                    event.id,
                    event.at,
                    event.kind,
                    value,
                ));
            }
        }
        events.sort();
        events
            .into_iter()
            .map(|(arrival, of, _, at, kind, value)| (of, arrival, at, kind, value))
            .collect()
    }
}

fn report(device: DeviceId, seen: Timestamp) -> ReportRow {
    ReportRow {
        device,
        facts: DeviceFacts::default(),
        last_seen: Some(seen),
        last_heartbeat: None,
        online: true,
        last_report: None,
    }
}

/// Sensor, arrival, time, kind, value.
type Told = (Option<SensorId>, Timestamp, Timestamp, String, Option<u64>);

fn ensure_sensors(transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
    let created_at = Timestamp::UNIX_EPOCH;
    let device = transaction.ensure_device(&NewDevice {
        key: DeviceKey::new("boiler").unwrap(),
        name: None,
        kind: DeviceKind::Device,
        gateway: None,
        labels: "{}".to_owned(),
        approval: Approval::Active,
        first_seen: created_at,
    })?;
    for n in 0..3 {
        let name = SensorName::in_topic(&format!("s{n}")).unwrap();
        transaction.ensure_sensor(&NewSensor { device, name, unit: None, created_at })?;
    }
    Ok(())
}

fn append(transaction: &mut Transaction<'_>, reading: &StoredReading) {
    transaction.append(&[*reading]).unwrap();
}

fn told(report: &RuleReport) -> Vec<Told> {
    let told = report.events.iter().map(|event| {
        let of = event.sensor.as_ref().map(|(id, _)| *id);
        let (kind, value) = (event.kind.as_str().to_owned(), event.value.map(f64::to_bits));
        (of, event.arrival, event.at, kind, value)
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|told| (told.1, told.0));
    told
}

/// Live, then by backtest.
async fn both(rule: &AlarmRule, past: &[Past], batches: usize) -> (Vec<Told>, Report) {
    let mut broker = Broker::new(rule).await;
    let mut taken = std::collections::HashSet::new();
    let mut readings = Vec::new();
    for past in past {
        match past {
            Past::Down(from, to) => {
                // All that arrived before is judged by then.
                let before = readings.last().map_or(*from, |last: &StoredReading| last.received_at);
                broker.batch(std::mem::take(&mut readings), before).await;
                broker.restart((*from, *to)).await;
            }
            Past::Tick(watermark) => {
                broker.batch(std::mem::take(&mut readings), *watermark).await;
            }
            Past::Reading(reading) => {
                if taken.insert((reading.sensor, reading.event_time)) {
                    readings.push(*reading);
                }
                if readings.len() >= batches {
                    let watermark = reading.received_at;
                    broker.batch(std::mem::take(&mut readings), watermark).await;
                }
            }
        }
    }
    let to = end(past);
    broker.finish(readings, to).await;
    let asked = backtest(&[rule], to, &broker.registry);
    let (progress, _) = watch::channel(Progress::default());
    let report = run(&broker.store, asked, &progress).await.unwrap();
    assert!((progress.borrow().share - 1.0).abs() < 1e-9);
    (broker.events().await, report)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_and_a_backtest_give_the_same_events(
        steps in history(),
        which in 0..13_usize,
        batches in 1..8_usize,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (rule, past) = (rules().remove(which), played(&steps));
            let (live, report) = both(&rule, &past, batches).await;
            assert_eq!(told(&report.rule), live);
        });
    }
}

#[tokio::test]
async fn a_warm_up_brings_states_to_where_they_were() {
    let limit = json!({"type": "aggregate", "function": "mean", "window": "5m",
                       "above": {"limit": 30}});
    let rule = rule(json!({"levels": one_level(limit), "on_delay": "1m"}));
    let past: Vec<_> =
        (0..600).map(|n| reading(n * 10, 30.0 + 10.0 * (n as f64 / 40.0).sin())).collect();
    let mut broker = Broker::new(&rule).await;
    let readings = past.iter().filter_map(|past| match past {
        Past::Reading(reading) => Some(*reading),
        _ => None,
    });
    let to = end(&past);
    broker.finish(readings.collect(), to).await;
    let live = broker.events().await;
    assert!(live.len() > 4, "{live:?}");
    for from in [0, 1_000, 2_345, 4_000] {
        let mut asked = backtest(&[&rule], to, &broker.registry);
        asked.from = second(from);
        let (progress, _) = watch::channel(Progress::default());
        let report = run(&broker.store, asked, &progress).await.unwrap();
        let expected: Vec<_> = live.iter().filter(|told| told.1 >= second(from)).cloned().collect();
        assert_eq!(told(&report.rule), expected, "from {from}");
        assert_eq!(report.readings, 600 - from.unsigned_abs().div_ceil(10));
    }
}
