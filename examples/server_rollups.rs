//! What roll-ups cost and save on a server: ingest of sensors with and without them by turns, late readings,
//! and statistics of a month at 1 Hz before and after it is rolled up.
//!
//!     cargo run --release --example server_rollups -- postgres://brooklet@127.0.0.1/empty

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program of its own: what it measures goes to its standard output"
)]

use std::{
    error::Error,
    num::NonZeroI64,
    time::{Duration, Instant},
};

use brooklet::{
    store::{
        Bucket, EnvelopeQuery, NewDevice, NewSensor, ServerSettings, StatisticsQuery, Store,
        StoredReading, Writer,
    },
    telemetry::{Approval, DeviceKey, DeviceKind, Quality, SensorId, SensorName, Timestamp},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SENSORS: i64 = 500;
const TURNS: i64 = 8;
const COMMITS: i64 = 20;
const MONTH: i64 = 30 * 86_400;
const SECOND: i64 = 1_000_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).ok_or("say where an empty database is: postgres://…")?;
    let store = Store::connect(&ServerSettings {
        url,
        readers: 2,
        timeout: Duration::from_secs(300),
        startup_timeout: Duration::from_secs(5),
        migrates: true,
        requires_durability: true,
    })
    .await?;
    let mut writer = store.writer(Duration::from_secs(5))?;
    let (mut writer, sensors) = tokio::task::spawn_blocking(move || {
        let sensors = sensors(&mut writer);
        sensors.map(|sensors| (writer, sensors))
    })
    .await??;
    let (plain, others) = sensors.split_at(SENSORS as usize);
    let (rolled, month) = others.split_at(SENSORS as usize);

    writer = append(writer, all_at(rolled, 0)).await?.0;
    roll_up(&store, 3_600, rolled).await?;
    let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..TURNS {
        for commit in 0..COMMITS {
            let at = 3_600 + turn * COMMITS + commit;
            for (sensors, took) in [(plain, &mut without), (rolled, &mut with)] {
                let (back, one) = append(writer, all_at(sensors, at)).await?;
                (writer, *took) = (back, *took + one);
            }
        }
    }
    let readings = (TURNS * COMMITS * SENSORS) as f64;
    let rate = |took: Duration| readings / took.as_secs_f64();
    println!("readings/s without roll-ups {:.0}, with {:.0}", rate(without), rate(with));
    let mut late = Duration::ZERO;
    for commit in 0..COMMITS {
        let (back, one) = append(writer, all_at(rolled, 10 + commit)).await?;
        (writer, late) = (back, late + one);
    }
    println!("all of them late {:.0}", (COMMITS * SENSORS) as f64 / late.as_secs_f64());
    let began = Instant::now();
    roll_up(&store, 3_600, rolled).await?;
    println!("{SENSORS} stale hours made again in {:?}", began.elapsed());

    let Some(sensor) = month.first().copied() else { return Ok(()) };
    let began = Instant::now();
    for batch in 0..MONTH / 5_000 {
        let readings = (0..5_000).map(|n| reading(sensor, batch * 5_000 + n)).collect();
        writer = append(writer, readings).await?.0;
    }
    println!("a month at 1 Hz stored in {:?}", began.elapsed());
    ask(&store, sensor, "from rows").await?;
    let began = Instant::now();
    roll_up(&store, MONTH, month).await?;
    println!("rolled up in {:?}", began.elapsed());
    ask(&store, sensor, "rolled up").await?;
    tokio::task::spawn_blocking(move || drop(writer)).await?;
    store.close().await;
    Ok(())
}

fn sensors(writer: &mut Writer) -> Outcome<Vec<SensorId>> {
    let key = DeviceKey::new("d").map_err(|_| "no key")?;
    let sensors = writer.transaction(|txn| {
        let device = txn.ensure_device(&NewDevice {
            key,
            name: None,
            kind: DeviceKind::Device,
            gateway: None,
            labels: "{}".to_owned(),
            approval: Approval::Active,
            first_seen: Timestamp::UNIX_EPOCH,
        })?;
        let names =
            (0..2 * SENSORS + 1).filter_map(|n| SensorName::in_topic(&format!("s{n}")).ok());
        names
            .map(|name| {
                let created_at = Timestamp::UNIX_EPOCH;
                txn.ensure_sensor(&NewSensor { device, name, unit: None, created_at })
            })
            .collect()
    });
    Ok(sensors?)
}

fn reading(sensor: SensorId, second: i64) -> StoredReading {
    let time = Timestamp::from_micros(second * SECOND);
    let value = Some((second * 37 % 1_009) as f64 / 10.0);
    StoredReading { sensor, event_time: time, received_at: time, value, quality: Quality::Good }
}

fn all_at(sensors: &[SensorId], second: i64) -> Vec<StoredReading> {
    sensors.iter().map(|sensor| reading(*sensor, second)).collect()
}

async fn append(mut writer: Writer, readings: Vec<StoredReading>) -> Outcome<(Writer, Duration)> {
    let appending = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        writer.transaction(|txn| txn.append(&readings).map(drop))?;
        Ok((writer, began.elapsed()))
    });
    appending.await?
}

async fn roll_up(store: &Store, upto: i64, sensors: &[SensorId]) -> Outcome<()> {
    let upto = Timestamp::from_micros(upto * SECOND);
    let Some(mut round) = store.begin_roll_up(upto, sensors).await? else {
        return Err("this is for servers".into());
    };
    while round.has_more() {
        store.roll_up_some(&mut round).await?;
    }
    Ok(())
}

/// Statistics and a chart of the month, the second time.
async fn ask(store: &Store, sensor: SensorId, how: &str) -> Outcome<()> {
    let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::from_micros(MONTH * SECOND));
    let bucket = NonZeroI64::new(2 * 3_600 * SECOND).unwrap_or(NonZeroI64::MIN);
    let query = EnvelopeQuery { sensor, from, to, bucket };
    store.envelope(query).await?;
    let began = Instant::now();
    let points = store.envelope(query).await?.len();
    println!("{how}: the month as {points} points {:?}", began.elapsed());
    let named = [("by hour", Some(Bucket::Hour)), ("by day", Some(Bucket::Day)), ("in all", None)];
    for (name, bucket) in named {
        for percentiles in [Vec::new(), vec![50.0, 95.0]] {
            let with = if percentiles.is_empty() { "" } else { ", with percentiles" };
            let query = StatisticsQuery { sensor, from, to, bucket, percentiles };
            store.statistics(query.clone()).await?;
            let began = Instant::now();
            let found = store.statistics(query).await?;
            let took = began.elapsed();
            println!("{how}: the month {name}{with} {took:?} ({} readings)", found.whole.count);
        }
    }
    Ok(())
}
