//! Readings in batches, far apart and late: alike on every engine.

use std::collections::BTreeMap;

use super::*;
use crate::telemetry::Position;

/// What a batch does to a table that is a map.
fn expected(
    table: &mut BTreeMap<(SensorId, i64), Option<f64>>,
    batch: &[(SensorId, i64, Option<f64>)],
) -> Vec<Appended> {
    let appended =
        batch.iter().map(|(sensor, seconds, value)| match table.get(&(*sensor, *seconds)) {
            None => {
                table.insert((*sensor, *seconds), *value);
                Appended::Fresh
            }
            Some(stored) if stored == value => Appended::Duplicate,
            Some(stored) => Appended::Conflict { stored: *stored },
        });
    appended.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_ends_as_if_its_readings_came_one_by_one(
        batches in prop::collection::vec(
            prop::collection::vec((0_usize..2, 0_i64..8, prop::option::of(0_i8..3)), 1..12),
            1..5,
        ),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let (_store, mut writer, ids) = store(&folder, 2).await;
            let mut table = BTreeMap::new();
            for batch in &batches {
                let rows: Vec<_> =
                    batch.iter().map(|(s, t, v)| (ids[*s], *t, v.map(f64::from))).collect();
                let wanted = expected(&mut table, &rows);
                let (back, appended) = append(writer, rows).await;
                writer = back;
                assert_eq!(appended, wanted);
            }
        });
    }
}

/// Before the first month that has a place of its own, across months, after the last.
const FAR_APART: [i64; 6] =
    [-1_000_000_000, 1_262_304_000, 1_767_225_599, 1_767_225_600, 1_790_000_000, 4_000_000_000];

#[tokio::test]
async fn readings_far_apart_are_found_counted_and_deleted() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 2).await;
    let rows = |id| FAR_APART.map(|seconds| (id, seconds, Some(seconds as f64)));
    let all = rows(ids[0]).into_iter().chain(rows(ids[1])).collect();
    let (writer, appended) = append(writer, all).await;
    assert_eq!(appended, [Appended::Fresh; 12]);
    let (_, again) = append(writer, rows(ids[0]).to_vec()).await;
    assert_eq!(again, [Appended::Duplicate; 6]);
    let query = |order| HistoryQuery {
        sensors: vec![ids[0]],
        from: None,
        to: None,
        order,
        limit: 100,
        after: None,
        offset: 0,
    };
    let page = store.history(&query(Order::Descending)).await.unwrap();
    let mut times: Vec<_> = page.readings.iter().map(|reading| reading.event_time).collect();
    times.reverse();
    assert_eq!(times, FAR_APART.map(second));
    for row in store.sensors().await.unwrap() {
        assert_eq!(row.newest.unwrap().event_time, second(4_000_000_000));
    }
    let statistics = store
        .statistics(StatisticsQuery {
            sensor: ids[0],
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            bucket: Some(Bucket::Day),
            percentiles: Vec::new(),
        })
        .await
        .unwrap();
    assert_eq!((statistics.whole.count, statistics.series.len()), (6, 6));
    let before_epoch = statistics.series[0].0;
    assert_eq!(before_epoch.as_micros().rem_euclid(Bucket::Day.micros()), 0);
    assert!(before_epoch <= second(FAR_APART[0]));
    let range = (second(1_262_304_000), second(1_790_000_000));
    let removed = store.delete_some_readings(ids[0], range).await.unwrap();
    assert_eq!(removed, Removed { readings: 3, has_more: false });
    assert_eq!(store.count_history(&query(Order::Ascending)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_resumed_stream_finds_what_came_at_once_and_what_came_late() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 2).await;
    let (id, other) = (ids[0], ids[1]);
    let (_, written) = commit(writer, move |txn| {
        let readings = [
            reading(id, (second(5_000), second(5_000)), Some(1.0)),
            reading(id, (second(100), second(5_001)), Some(2.0)),
            reading(other, (second(100), second(5_002)), Some(3.0)),
            reading(id, (second(5_003), second(5_003)), Some(4.0)),
        ];
        txn.append(&readings)?;
        txn.replace(&reading(id, (second(100), second(5_004)), Some(5.0)))
    })
    .await;
    written.unwrap();
    let position = |seconds| Position::end_of(second(seconds));
    let query =
        SinceQuery { sensors: vec![id], after: position(4_999), upto: position(6_000), max: 10 };
    let since = store.readings_since(&query).await.unwrap();
    let values: Vec<_> = since.readings.iter().filter_map(|reading| reading.value).collect();
    assert_eq!((values, since.left_out), (vec![1.0, 4.0, 5.0], None));
    let after = SinceQuery { after: position(5_000), ..query };
    let since = store.readings_since(&after).await.unwrap();
    assert_eq!(since.readings.len(), 2);
}
