//! Statistics from roll-ups are those of a plain loop over the readings, whatever has come, changed or gone,
//! and whatever of it is rolled up. On SQLite roll-ups come by themselves.

use std::collections::BTreeMap;

use super::*;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Seconds: the day before 1970 and the two after.
const RANGE: (i64, i64) = (-DAY, 2 * DAY);

/// One that counts: on where readings are dropped, a repetition counts again.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counted {
    sensor: SensorId,
    at: i64,
    value: Option<f64>,
}

/// A reading whose quality follows from its time.
fn rated((sensor, at, value): (SensorId, i64, Option<f64>)) -> StoredReading {
    StoredReading { quality: quality(at), ..reading(sensor, (second(at), second(at)), value) }
}

fn quality(at: i64) -> Quality {
    Quality::from_code(i64::from(at % 7 == 0) + i64::from(at % 1_009 == 0))
}

#[derive(Debug, Clone)]
enum Change {
    /// Readings so many seconds apart.
    Run {
        sensor: usize,
        at: i64,
        count: i64,
        step: i64,
    },
    Some {
        rows: Vec<(usize, i64, Option<i16>)>,
        is_replacing: bool,
    },
    /// All before an hour, or some steps of it.
    RollUp {
        hour: i64,
        steps: usize,
    },
    Delete {
        sensor: usize,
        from: i64,
        hours: i64,
    },
    DropRaw {
        sensor: usize,
        hour: i64,
    },
    Reopen,
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = RANGE.0 / 60..RANGE.1 / 60;
    let hour = RANGE.0 / HOUR..RANGE.1 / HOUR + 1;
    let row = (0_usize..2, at.clone(), prop::option::weighted(0.9, -200_i16..3_000));
    prop_oneof![
        4 => (0_usize..2, at, 1_i64..400, 1_i64..900).prop_map(|(sensor, at, count, step)| {
            Change::Run { sensor, at: at * 60, count, step }
        }),
        4 => (prop::collection::vec(row, 1..12), any::<bool>()).prop_map(|(rows, is_replacing)| {
            Change::Some { rows, is_replacing }
        }),
        5 => (hour.clone(), prop_oneof![Just(1_usize), Just(100)])
            .prop_map(|(hour, steps)| Change::RollUp { hour, steps }),
        1 => (0_usize..2, hour.clone(), 1_i64..30)
            .prop_map(|(sensor, from, hours)| Change::Delete { sensor, from, hours }),
        1 => (0_usize..2, hour).prop_map(|(sensor, hour)| Change::DropRaw { sensor, hour }),
        1 => Just(Change::Reopen),
    ]
}

struct World {
    folder: TempDir,
    store: Store,
    writer: Option<Writer>,
    sensors: Vec<SensorId>,
    all: Vec<Counted>,
    /// Raw readings before these seconds are dropped.
    raw_from: [i64; 2],
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (store, writer, sensors) = store(&folder, 2).await;
        let raw_from = [i64::MIN; 2];
        Self { folder, store, writer: Some(writer), sensors, all: Vec::new(), raw_from }
    }

    async fn append(&mut self, rows: Vec<(SensorId, i64, Option<f64>)>) -> Vec<Appended> {
        let readings: Vec<_> = rows.iter().copied().map(rated).collect();
        let (writer, appended) =
            commit(self.writer.take().unwrap(), move |txn| txn.append(&readings)).await;
        self.writer = Some(writer);
        let appended = appended.unwrap();
        for ((sensor, at, value), became) in rows.iter().zip(&appended) {
            if *became == Appended::Fresh {
                self.all.push(Counted { sensor: *sensor, at: *at, value: *value });
            }
        }
        appended
    }

    async fn replace(&mut self, row: (SensorId, i64, Option<f64>)) {
        let (sensor, at, value) = row;
        let place = |one: &&mut Counted| (one.sensor, one.at) == (sensor, at);
        self.all.iter_mut().find(place).unwrap().value = value;
        let given = rated(row);
        let (writer, done) =
            commit(self.writer.take().unwrap(), move |txn| txn.replace(&given)).await;
        done.unwrap();
        self.writer = Some(writer);
    }

    async fn roll_up(&self, hour: i64, steps: usize) {
        let begun = self.store.begin_roll_up(second(hour * HOUR), &self.sensors).await.unwrap();
        let Some(mut round) = begun else { return };
        for _ in 0..steps {
            if !self.store.roll_up_some(&mut round).await.unwrap().has_more {
                break;
            }
        }
    }

    async fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Run { sensor, at, count, step } => {
                let value = |n: i64| Some((n * 37 % 101) as f64 + 1_000.0);
                let rows = (0..count).map(|n| (self.sensors[sensor], at + n * step, value(n)));
                self.append(rows.collect()).await;
            }
            Change::Some { rows, is_replacing } => {
                for (sensor, at, value) in rows {
                    let row =
                        (self.sensors[sensor], at * 60, value.map(|value| f64::from(value) / 8.0));
                    let became = self.append(vec![row]).await;
                    let is_there = row.1 >= self.raw_from[sensor];
                    if is_replacing && is_there && matches!(became[0], Appended::Conflict { .. }) {
                        self.replace(row).await;
                    }
                }
            }
            Change::RollUp { hour, steps } => self.roll_up(hour, steps).await,
            Change::Delete { sensor, from, hours } => {
                let (from, to, id) = (from * HOUR, (from + hours) * HOUR, self.sensors[sensor]);
                let range = (second(from), second(to));
                while self.store.delete_some_readings(id, range).await.unwrap().has_more {}
                self.all.retain(|one| one.sensor != id || !(from..to).contains(&one.at));
            }
            Change::DropRaw { sensor, hour } => {
                let (id, old) = (self.sensors[sensor], Old::Raw { keeps_minutes: false });
                while self.store.drop_some(id, old, second(hour * HOUR)).await.unwrap().has_more {}
                self.raw_from[sensor] = self.raw_from[sensor].max(hour * HOUR);
            }
            // The file is let go with the last handle only, and has tests of its own.
            Change::Reopen if is_sqlite() => {}
            Change::Reopen => {
                drop(self.writer.take());
                self.store.clone().close().await;
                self.store = open(&self.folder).await.unwrap();
                self.writer = Some(self.store.writer(Duration::from_millis(50)).unwrap());
            }
        }
    }

    async fn check(&self) {
        for (n, sensor) in self.sensors.iter().enumerate() {
            let is_whole = self.raw_from[n] == i64::MIN;
            for (range, bucket) in [
                (RANGE, None),
                (RANGE, Some(Bucket::Hour)),
                (RANGE, Some(Bucket::Day)),
                ((-5 * HOUR, 30 * HOUR), None),
                ((-5 * HOUR, 30 * HOUR), Some(Bucket::Day)),
                ((-7_777, 99_999), None),
                ((-7_777, 99_999), Some(Bucket::Hour)),
                ((-7_777, 99_999), Some(Bucket::FiveMinutes)),
            ] {
                let is_aligned = range.0 % HOUR == 0 && range.1 % HOUR == 0;
                if is_whole || is_aligned && bucket != Some(Bucket::FiveMinutes) {
                    self.compare(*sensor, range, bucket, is_whole).await;
                }
            }
            for (range, bucket) in [
                (RANGE, HOUR),
                (RANGE, 5 * DAY),
                ((-7_777, 99_999), 2 * HOUR),
                ((-5 * HOUR, 30 * HOUR), DAY),
                ((-7_777, 99_999), 300),
            ] {
                if is_whole {
                    self.compare_envelope(*sensor, range, bucket).await;
                }
            }
        }
    }

    async fn compare(
        &self,
        sensor: SensorId,
        (from, to): (i64, i64),
        bucket: Option<Bucket>,
        is_whole: bool,
    ) {
        let mut own: Vec<Counted> = self
            .all
            .iter()
            .filter(|one| one.sensor == sensor && (from..to).contains(&one.at))
            .copied()
            .collect();
        own.sort_by_key(|one| one.at);
        for percentiles in [Vec::new(), vec![0.0, 50.0, 99.5, 100.0]] {
            let query = StatisticsQuery {
                sensor,
                from: second(from),
                to: second(to),
                bucket,
                percentiles: percentiles.clone(),
            };
            let found = self.store.statistics(query).await.unwrap();
            let context = format!("{sensor:?} {from}..{to} {bucket:?}");
            agree(&found.whole, &own, &percentiles, &context);
            if is_whole {
                let mut valued = own.iter().filter_map(|one| Some((second(one.at), one.value?)));
                assert_eq!(found.first, valued.next(), "{context}");
                assert_eq!(found.last, valued.next_back().or(found.first), "{context}");
            }
            let width = bucket.map_or(i64::MAX, |bucket| bucket.micros() / 1_000_000);
            let mut buckets: Vec<Vec<Counted>> = Vec::new();
            for one in own.iter().filter(|_| bucket.is_some()) {
                match buckets.last_mut() {
                    Some(last) if last[0].at.div_euclid(width) == one.at.div_euclid(width) => {
                        last.push(*one);
                    }
                    _ => buckets.push(vec![*one]),
                }
            }
            assert_eq!(found.series.len(), buckets.len(), "{context}");
            for ((start, found), expected) in found.series.iter().zip(&buckets) {
                assert_eq!(*start, second(expected[0].at.div_euclid(width) * width), "{context}");
                agree(found, expected, &percentiles, &context);
            }
        }
    }
}

impl World {
    async fn compare_envelope(&self, sensor: SensorId, (from, to): (i64, i64), bucket: i64) {
        let mut buckets: BTreeMap<i64, Vec<Counted>> = BTreeMap::new();
        for one in &self.all {
            if one.sensor == sensor && (from..to).contains(&one.at) {
                buckets.entry(one.at.div_euclid(bucket) * bucket).or_default().push(*one);
            }
        }
        let query = EnvelopeQuery {
            sensor,
            from: second(from),
            to: second(to),
            bucket: std::num::NonZeroI64::new(bucket * 1_000_000).unwrap(),
        };
        let found = self.store.envelope(query).await.unwrap();
        assert_eq!(found.len(), buckets.len(), "{from}..{to} {bucket}");
        for (found, (start, own)) in found.iter().zip(buckets) {
            let at = |time: Option<i64>| second(time.unwrap());
            let times = || own.iter().map(|one| one.at);
            let worst = times().map(quality).max().unwrap();
            assert_eq!(
                (found.start, found.count, found.first_at, found.last_at, found.quality),
                (second(start), own.len() as u64, at(times().min()), at(times().max()), worst),
                "{from}..{to} {bucket}"
            );
            let mut values: Vec<f64> = own.iter().filter_map(|one| one.value).collect();
            values.sort_by(f64::total_cmp);
            let range = found.values.map(|values| (values.min, values.max));
            assert_eq!(range, values.first().copied().zip(values.last().copied()));
            if let Some(found) = found.values {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                assert!((found.mean - mean).abs() < 1e-6, "{} {mean}", found.mean);
            }
        }
    }
}

fn agree(found: &ValueStatistics, own: &[Counted], percentiles: &[f64], context: &str) {
    let mut values: Vec<f64> = own.iter().filter_map(|one| one.value).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(found.count, own.len() as u64, "{context}");
    assert_eq!((found.min, found.max), (values.first().copied(), values.last().copied()));
    if values.is_empty() {
        assert_eq!((found.mean, found.stddev, found.percentiles.len()), (None, None, 0));
        return;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let stddev = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert!((found.mean.unwrap() - mean).abs() < 1e-6, "{context}: {found:?} {mean}");
    assert!((found.stddev.unwrap() - stddev).abs() < 1e-5, "{context}: {found:?} {stddev}");
    assert_eq!(found.percentiles.len(), percentiles.len(), "{context}");
    for (percent, near) in percentiles.iter().zip(&found.percentiles) {
        let exact = values[(percent / 100.0 * (n - 1.0)).round() as usize];
        assert!((near - exact).abs() <= exact.abs() * 0.0101 + 1e-9, "{context}: {near} {exact}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_sqlite() { 24 } else { 12 },
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rolled_up_or_not_statistics_are_what_a_loop_finds(
        changes in prop::collection::vec(any_change(), 1..14),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for change in &changes {
                world.apply(change).await;
                world.check().await;
            }
            world.roll_up(RANGE.1 / HOUR, 100).await;
            world.check().await;
        });
    }
}

/// Two marked hours of one day are made again before it is dropped.
#[tokio::test]
async fn late_hours_of_one_day_are_in_it_when_raw_readings_go() {
    let mut world = World::new().await;
    let id = world.sensors[0];
    world.append(vec![(id, 0, Some(1.0))]).await;
    world.roll_up(1, 1).await;
    world.append(vec![(id, -20 * HOUR, Some(2.0)), (id, -17 * HOUR, Some(3.0))]).await;
    for old in [Old::Raw { keeps_minutes: false }, Old::Hours] {
        while world.store.drop_some(id, old, second(0)).await.unwrap().has_more {}
    }
    world.compare(id, RANGE, Some(Bucket::Day), false).await;
}

/// Readings come, late ones and others, and some go, while hours are made of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_it_is_rolled_up_counts_once() {
    let mut world = World::new().await;
    let (sensors, mut writer) = (world.sensors.clone(), world.writer.take().unwrap());
    let at = |n: i64| RANGE.0 + (n * 7_919 % (RANGE.1 - RANGE.0));
    let id = sensors[0];
    let coming = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        for batch in 0..60_i64 {
            let rows: Vec<_> = (0..20).map(|n| (id, at(batch * 20 + n), Some(n as f64))).collect();
            let readings: Vec<_> = rows.iter().copied().map(rated).collect();
            let became = writer.transaction(|txn| txn.append(&readings)).unwrap();
            assert!(became.iter().all(|became| *became == Appended::Fresh));
            all.extend(rows.into_iter().map(|(sensor, at, value)| Counted { sensor, at, value }));
        }
        (writer, all)
    });
    let mut hour = RANGE.0 / HOUR;
    while !coming.is_finished() {
        world.roll_up(hour, 100).await;
        hour = (hour + 1).min(RANGE.1 / HOUR);
    }
    let (writer, all) = coming.await.unwrap();
    (world.writer, world.all) = (Some(writer), all);
    world.check().await;
    world.roll_up(RANGE.1 / HOUR, 100).await;
    assert!(world.store.stale_hours().await.unwrap().is_none_or(|stale| stale == 0));
    world.check().await;
}

/// Hours go by whole days, then days; what is left counts, and what comes late goes into it.
#[tokio::test]
async fn hours_and_days_go_and_late_readings_find_what_is_left() {
    let mut world = World::new().await;
    let id = world.sensors[0];
    let rows = (0..10 * 24).map(|hour| (id, hour * HOUR + 5, Some(hour as f64)));
    world.append(rows.collect()).await;
    let drop_all = async |store: &Store, old, day: i64| {
        let mut rows = 0;
        loop {
            let step = store.drop_some(id, old, second(day * DAY)).await.unwrap();
            rows += step.readings;
            if !step.has_more {
                return rows;
            }
        }
    };
    let raw = Old::Raw { keeps_minutes: false };
    assert_eq!(drop_all(&world.store, raw, 6).await, 6 * 24);
    assert_eq!(drop_all(&world.store, Old::Hours, 4).await, 4 * 24);
    assert_eq!(drop_all(&world.store, Old::Days, 2).await, 2);
    // When there were readings and how good they were is known of what is gone.
    world.compare_envelope(id, (2 * DAY, 10 * DAY), DAY).await;
    world.compare_envelope(id, (4 * DAY, 10 * DAY), 2 * HOUR).await;
    let counts = async |store: &Store, bucket| {
        let query = StatisticsQuery {
            sensor: id,
            from: second(0),
            to: second(10 * DAY),
            bucket: Some(bucket),
            percentiles: Vec::new(),
        };
        let found = store.statistics(query).await.unwrap();
        let series: Vec<u64> = found.series.iter().map(|(_, bucket)| bucket.count).collect();
        (found.whole.count, series)
    };
    assert_eq!(counts(&world.store, Bucket::Day).await, (8 * 24, vec![24; 8]));
    let hours = [vec![24; 2], vec![1; 6 * 24]].concat();
    assert_eq!(counts(&world.store, Bucket::Hour).await, (8 * 24, hours));
    // Of a day that has neither readings nor hours, one that has hours, one that has all.
    let late = [2, 5, 7].map(|day| (id, day * DAY + 7, Some(1_000.0)));
    world.append(late.to_vec()).await;
    for is_rolled in [false, true] {
        if is_rolled {
            world.roll_up(10 * 24, 100).await;
        }
        let (count, days) = counts(&world.store, Bucket::Day).await;
        assert_eq!((count, days), (8 * 24 + 3, vec![25, 24, 24, 25, 24, 25, 24, 24]));
    }
    // A deletion takes roll-ups along.
    let range = (second(0), second(5 * DAY));
    while world.store.delete_some_readings(id, range).await.unwrap().has_more {}
    assert_eq!(counts(&world.store, Bucket::Day).await, (5 * 24 + 2, vec![25, 24, 25, 24, 24]));
}
