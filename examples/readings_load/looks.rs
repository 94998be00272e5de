//! How long looks take.

use std::time::{Duration, Instant};

use brooklet::{
    store::chunks::{ChunkSettings, KeepMinutes, Order, Readings, verify},
    telemetry::{SensorId, Timestamp},
};

use crate::{
    Failure, Options,
    walk::{BEGIN, INTERVAL},
};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// The middle of nine; the first, on what the system has not cached.
fn timed<T>(what: &str, mut look: impl FnMut() -> Result<T, Failure>) -> Result<(), Failure> {
    let mut timed = || -> Result<Duration, Failure> {
        let begin = Instant::now();
        look()?;
        Ok(begin.elapsed())
    };
    let first = timed()?;
    let mut times = (0..9).map(|_| timed()).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    println!("  {what}: {:?}, the first {first:?}", times.get(4).copied().unwrap_or(first));
    Ok(())
}

pub(crate) fn look(options: &Options, readings: &Readings, done: u64) -> Result<(), Failure> {
    let mut connection = options.connect()?;
    let end = BEGIN + (done / options.sensors) as i64 * INTERVAL;
    let at = Timestamp::from_micros;
    let sensor = |n: u64| SensorId((n % options.sensors) as i64 + 1);
    let reader = readings.reader(&connection);
    let all: Vec<SensorId> = (0..options.sensors.min(1_000)).map(sensor).collect();
    timed("latest of 1,000", || Ok(reader.newest_of(&all)?))?;
    let day = (at(end - 2 * DAY), at(end - DAY));
    timed("a day of one sensor", || {
        Ok(reader.scan(sensor(500), day, Order::Ascending, usize::MAX)?)
    })?;
    let month = (at(end - 30 * DAY), at(end));
    let by = |n: u64, width: i64| reader.statistics(sensor(n), month, Some(width), false);
    timed("30 days by hour of one sensor", || Ok(by(77, HOUR)?))?;
    timed("30 days by hour of 50 sensors", || {
        Ok((100..150).try_for_each(|n| by(n, HOUR).map(drop))?)
    })?;
    timed("30 days by 5 minutes of one sensor", || Ok(by(78, HOUR / 12)?))?;
    let ever = (Timestamp::MIN, Timestamp::MAX);
    timed("how many one sensor has", || Ok(reader.count(sensor(5), ever)?))?;
    let begin = Instant::now();
    for n in 0..options.sensors {
        let first = at(BEGIN + DAY);
        while readings.drop_raw(&mut connection, sensor(n), first, KeepMinutes::No, || ())?.has_more
        {
        }
    }
    println!("  the oldest day of all dropped, its roll-ups kept: {:?}", begin.elapsed());
    let begin = Instant::now();
    let found = verify(&connection)?;
    let (readings, chunks) = (found.readings, found.chunks);
    println!("  {readings} readings in {chunks} chunks verified: {:?}", begin.elapsed());
    for finding in found.findings.iter().take(5) {
        println!("    {finding:?}");
    }
    let begin = Instant::now();
    drop(Readings::open(&connection, ChunkSettings::default())?);
    println!("  opened in {:?}", begin.elapsed());
    Ok(())
}
