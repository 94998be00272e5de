use std::time::Duration;

use proptest::prelude::*;
use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};
use tempfile::TempDir;

use super::*;
use crate::telemetry::{Approval, DeviceKey, DeviceKind, Quality, SensorId, SensorName, Timestamp};

mod alarm_rules;
mod alarms;
mod alarms_since;
mod answers;
mod arrivals;
mod batches;
mod envelope;
mod migrations;
mod outbox;
mod plans;
mod retention;
mod rollups;
mod servers;
mod statements;

use servers::is_sqlite;
pub(in crate::store) use servers::open;

fn settings(folder: &TempDir) -> StoreSettings {
    StoreSettings {
        readers: 2,
        busy_timeout: Duration::from_millis(50),
        ..StoreSettings::new(folder.path().join("deep/er/brooklet.db"))
    }
}

/// A store with `sensors` sensors of one device.
async fn store(folder: &TempDir, sensors: usize) -> (Store, Writer, Vec<SensorId>) {
    let store = open(folder).await.unwrap();
    let mut writer = store.writer(Duration::from_millis(50)).unwrap();
    let (writer, ids) = tokio::task::spawn_blocking(move || {
        let ids = writer
            .transaction(|txn| {
                let device = txn.ensure_device(&device("d"))?;
                (0..sensors)
                    .map(|n| {
                        let name = SensorName::in_topic(&format!("s{n}")).unwrap();
                        let created_at = Timestamp::UNIX_EPOCH;
                        txn.ensure_sensor(&NewSensor { device, name, unit: None, created_at })
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .unwrap();
        (writer, ids)
    })
    .await
    .unwrap();
    (store, writer, ids)
}

fn device(key: &str) -> NewDevice {
    NewDevice {
        key: DeviceKey::new(key).unwrap(),
        name: None,
        kind: DeviceKind::Device,
        gateway: None,
        labels: "{}".to_owned(),
        approval: Approval::Active,
        first_seen: Timestamp::UNIX_EPOCH,
    }
}

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Taken at the first time, received at the second.
fn reading(
    sensor: SensorId,
    (event_time, received_at): (Timestamp, Timestamp),
    value: Option<f64>,
) -> StoredReading {
    StoredReading { sensor, event_time, received_at, value, quality: Quality::Good }
}

/// Runs `work` in one of the committer's transactions.
async fn commit<T: Send + 'static>(
    mut writer: Writer,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
) -> (Writer, Result<T, StoreError>) {
    let task = tokio::task::spawn_blocking(move || {
        let result = writer.transaction(work);
        (writer, result)
    });
    task.await.unwrap()
}

/// Appends (sensor, seconds, value) in one transaction.
async fn append(
    mut writer: Writer,
    rows: Vec<(SensorId, i64, Option<f64>)>,
) -> (Writer, Vec<Appended>) {
    tokio::task::spawn_blocking(move || {
        let appended = writer
            .transaction(|txn| {
                let readings = rows.iter().map(|(sensor, seconds, value)| {
                    reading(*sensor, (second(*seconds), second(*seconds)), *value)
                });
                txn.append(&readings.collect::<Vec<_>>())
            })
            .unwrap();
        (writer, appended)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_reading_is_fresh_a_duplicate_or_a_conflict() {
    let folder = TempDir::new().unwrap();
    let (_store, writer, ids) = store(&folder, 1).await;
    let rows = [Some(1.0), Some(1.0), Some(2.0), None]
        .map(|value| (ids[0], 5, value))
        .into_iter()
        .chain([(ids[0], 6, None), (ids[0], 6, None)])
        .collect();
    let (_, appended) = append(writer, rows).await;
    let conflict = Appended::Conflict { stored: Some(1.0) };
    assert_eq!(
        appended,
        [
            Appended::Fresh,
            Appended::Duplicate,
            conflict,
            conflict,
            Appended::Fresh,
            Appended::Duplicate
        ]
    );
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let (store, mut writer, ids) = store(&folder, 1).await;
    let id = ids[0];
    let failed = tokio::task::spawn_blocking(move || {
        writer.transaction(|txn| -> Result<(), StoreError> {
            let time = Timestamp::UNIX_EPOCH;
            txn.append(&[reading(id, (time, time), Some(1.0))])?;
            Err(StoreError::Outdated)
        })
    });
    assert!(failed.await.unwrap().is_err());
    assert!(store.sensors().await.unwrap()[0].newest.is_none());
}

#[tokio::test]
async fn every_connection_is_durable_and_a_second_brooklet_stays_out() {
    if !is_sqlite() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 0).await;
    for (connection, name) in [(&store.seldom, "seldom"), (&store.readers, "readers")] {
        for (pragma, expected) in [("journal_mode", "wal"), ("synchronous", "2")] {
            let sql = format!("PRAGMA {pragma}");
            let row = connection
                .query_one_raw(Statement::from_string(DatabaseBackend::Sqlite, sql))
                .await
                .unwrap()
                .unwrap();
            let value = row
                .try_get::<String>("", pragma)
                .or_else(|_| row.try_get::<i64>("", pragma).map(|number| number.to_string()))
                .unwrap();
            assert_eq!(value, expected, "{name} {pragma}");
        }
    }
    assert_eq!(writer.synchronous(), 2);
    assert!(matches!(Store::open(&settings(&folder)).await, Err(StoreError::InUse { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn pages_give_exactly_the_rows_in_order(
        times in prop::collection::btree_set((0_usize..3, 0_i64..40), 0..60),
        limit in 1_usize..20,
        from in prop::option::of(0_i64..40),
        to in prop::option::of(0_i64..40),
        descending: bool,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let (store, writer, ids) = store(&folder, 3).await;
            let rows: Vec<_> = times.iter().map(|(s, t)| (ids[*s], *t, Some(*t as f64))).collect();
            append(writer, rows.clone()).await;
            let mut expected: Vec<_> = rows
                .iter()
                .filter(|(_, t, _)| from.is_none_or(|f| *t >= f) && to.is_none_or(|e| *t < e))
                .map(|(sensor, t, _)| (second(*t), *sensor))
                .collect();
            expected.sort();
            if descending {
                expected.reverse();
            }
            let mut query = HistoryQuery {
                sensors: ids,
                from: from.map(second),
                to: to.map(second),
                order: if descending { Order::Descending } else { Order::Ascending },
                limit,
                after: None,
                offset: 0,
            };
            assert_eq!(store.count_history(&query).await.unwrap(), expected.len() as u64);
            let mut seen = Vec::new();
            loop {
                let page = store.history(&query).await.unwrap();
                seen.extend(page.readings.iter().map(|r| (r.event_time, r.sensor)));
                if !page.has_more {
                    break;
                }
                query.after = seen.last().copied();
            }
            assert_eq!(seen, expected);
        });
    }

    #[test]
    fn statistics_are_what_a_loop_finds(values in prop::collection::vec(-1e6..1e6, 1..50)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let (store, writer, ids) = store(&folder, 1).await;
            let rows = values.iter().enumerate().map(|(n, v)| (ids[0], n as i64, Some(*v)));
            append(writer, rows.collect()).await;
            let query = StatisticsQuery {
                sensor: ids[0],
                from: Timestamp::UNIX_EPOCH,
                to: Timestamp::MAX,
                bucket: None,
                percentiles: Vec::new(),
            };
            let found = store.statistics(query).await.unwrap().whole;
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            assert_eq!(found.count, values.len() as u64);
            assert!((found.mean.unwrap() - mean).abs() <= 1e-6 * mean.abs().max(1.0));
            let stddev = found.stddev.unwrap();
            assert!((stddev - variance.sqrt()).abs() <= 1e-5 * stddev.max(1.0), "{stddev}");
        });
    }
}
