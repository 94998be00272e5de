use std::num::NonZeroI64;

use super::*;

fn query(sensor: SensorId, (from, to): (i64, i64), bucket: i64) -> EnvelopeQuery {
    EnvelopeQuery {
        sensor,
        from: Timestamp::from_micros(from),
        to: Timestamp::from_micros(to),
        bucket: NonZeroI64::new(bucket).unwrap(),
    }
}

fn store_all(txn: &mut Transaction<'_>, readings: &[StoredReading]) -> Result<(), StoreError> {
    txn.append(readings).map(drop)
}

/// The same, from readings one by one.
fn expected(readings: &[StoredReading], query: EnvelopeQuery) -> Vec<EnvelopeBucket> {
    let mut buckets: Vec<EnvelopeBucket> = Vec::new();
    let bucket = query.bucket.get();
    for reading in readings {
        let at = reading.event_time;
        if at < query.from || at >= query.to {
            continue;
        }
        let start = Timestamp::from_micros(at.as_micros().div_euclid(bucket) * bucket);
        if buckets.last().is_none_or(|last| last.start != start) {
            buckets.push(EnvelopeBucket {
                start,
                count: 0,
                first_at: at,
                last_at: at,
                values: None,
                quality: Quality::Good,
            });
        }
        let last = buckets.last_mut().unwrap();
        last.count += 1;
        last.last_at = at;
        last.quality = last.quality.worst(reading.quality);
        if let Some(value) = reading.value {
            let so_far =
                last.values.unwrap_or(EnvelopeValues { min: value, max: value, mean: 0.0 });
            last.values = Some(EnvelopeValues {
                min: so_far.min.min(value),
                max: so_far.max.max(value),
                mean: 0.0,
            });
        }
    }
    buckets
}

#[tokio::test]
async fn the_envelope_is_that_of_the_readings_one_by_one() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 2).await;
    let reading = |n: i64| StoredReading {
        sensor: ids[(n % 7 == 0) as usize],
        event_time: Timestamp::from_micros((n * n * 37) % 5_000 * 1_000 - 900_000),
        received_at: Timestamp::from_micros(n),
        value: (n % 5 != 0).then(|| f64::from((n * 31 % 101) as i32) / 4.0),
        quality: Quality::from_code(i64::from(n % 11 == 0) + i64::from(n % 13 == 0)),
    };
    let mut readings: Vec<_> = (1..400).map(reading).collect();
    readings.sort_by_key(|reading| (reading.sensor, reading.event_time));
    readings.dedup_by_key(|reading| (reading.sensor, reading.event_time));
    let given = readings.clone();
    let (_writer, done) = commit(writer, move |txn| store_all(txn, &given)).await;
    done.unwrap();
    for sensor in &ids {
        let own: Vec<_> = readings.iter().filter(|r| r.sensor == *sensor).copied().collect();
        for (range, bucket) in [
            ((-1_000_000, 5_000_000), 100_000),
            ((-333_333, 2_777_777), 7_001),
            ((0, 1), 1_000),
            ((0, 5_000_000), 5_000_000),
            ((6_000_000, 7_000_000), 10_000),
        ] {
            let query = query(*sensor, range, bucket);
            let mut found = store.envelope(query).await.unwrap();
            for bucket in &mut found {
                if let Some(values) = &mut bucket.values {
                    assert!((values.min..=values.max).contains(&values.mean));
                    values.mean = 0.0;
                }
            }
            assert_eq!(found, expected(&own, query), "{range:?} {bucket}");
        }
    }
}

#[tokio::test]
async fn the_mean_is_that_of_the_values() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 1).await;
    let sensor = ids[0];
    let values = [Some(1.0), None, Some(2.0), Some(6.0)];
    let readings: Vec<_> = (0..)
        .zip(values)
        .map(|(n, value)| StoredReading {
            sensor,
            event_time: Timestamp::from_micros(n),
            received_at: Timestamp::from_micros(n),
            value,
            quality: Quality::Good,
        })
        .collect();
    let (_writer, done) = commit(writer, move |txn| store_all(txn, &readings)).await;
    done.unwrap();
    let found = store.envelope(query(sensor, (0, 1_000), 1_000)).await.unwrap();
    assert_eq!((found.len(), found[0].count, found[0].values.unwrap().mean), (1, 4, 3.0));
}
