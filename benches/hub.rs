//! What publishing a reading costs the committer: with nobody there, with one subscriber, with 1,000 of
//! one sensor each, and with 50 of everything.

#![allow(clippy::expect_used, reason = "a bench that can not be set up is to stop")]

use std::{
    hint::black_box,
    sync::Arc,
    task::{Context, Waker},
};

use brooklet::{
    live::{Cursor, Delivery, Filter, Hub, Kinds, SensorRef, Subscription},
    telemetry::{DeviceKey, Position, Quality, Reading, SensorId, SensorName, Timestamp},
};
use criterion::{Criterion, criterion_group, criterion_main};

const SENSORS: i64 = 1_000;
const START: i64 = 1_766_125_800_000_000;

fn readings() -> Vec<Reading> {
    let reading = |n: i64| Reading {
        device: DeviceKey::new(&format!("device{}", n / 4)).expect("a legal device id"),
        sensor: SensorName::in_topic(&format!("sensor{n}")).expect("a legal sensor name"),
        sensor_id: SensorId(n),
        event_time: Timestamp::from_micros(START),
        received_at: Timestamp::from_micros(START),
        value: Some(25.5),
        unit: Some("°C".into()),
        quality: Quality::Good,
    };
    (0..SENSORS).map(reading).collect()
}

fn of_one_sensor(hub: &Arc<Hub>, n: i64) -> Subscription {
    let mut filter = Filter::nothing(Kinds::usual());
    filter.sensors.insert(SensorRef::Id(SensorId(n)));
    hub.subscribe(filter)
}

/// Publishes one reading of each sensor, in batches of 10.
fn publish(hub: &Hub, readings: &[Reading]) {
    for batch in readings.chunks(10) {
        let mut publication = hub.publish();
        for reading in batch {
            let position = Position {
                received_at: reading.received_at,
                sensor: reading.sensor_id,
                event_time: reading.event_time,
            };
            let named = (&reading.device, &reading.sensor);
            publication.reading(black_box(position), named, || reading.clone());
        }
    }
}

fn take_all(subscriptions: &mut [Subscription], into: &mut Vec<Delivery>) {
    for subscription in subscriptions {
        let context = Context::from_waker(Waker::noop());
        let _ = subscription.poll_take(&context, into, usize::MAX);
        into.clear();
    }
}

fn benchmark(criterion: &mut Criterion) {
    let readings = readings();
    let mut group = criterion.benchmark_group("publish 1,000 readings");
    for (name, single, whole) in [
        ("nobody", 0, 0),
        ("1 of one sensor", 1, 0),
        ("1,000 of one sensor each", SENSORS, 0),
        ("1 of everything", 0, 1),
        ("50 of everything", 0, 50),
    ] {
        let hub = Arc::new(Hub::new(
            Cursor { position: Position::end_of(Timestamp::UNIX_EPOCH), alarm: 0 },
            1_000,
        ));
        let mut subscriptions: Vec<_> = (0..single).map(|n| of_one_sensor(&hub, n)).collect();
        let everything = || hub.subscribe(Filter::everything(Kinds::usual()));
        subscriptions.extend((0..whole).map(|_| everything()));
        let mut into = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || take_all(&mut subscriptions, &mut into),
                |()| publish(&hub, &readings),
                criterion::BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
