//! What is too old goes, by whole hours, of one sensor at a time.

use super::*;

async fn times(store: &Store, sensor: SensorId) -> Vec<i64> {
    let query = HistoryQuery {
        sensors: vec![sensor],
        from: None,
        to: None,
        order: Order::Ascending,
        limit: 100,
        after: None,
        offset: 0,
    };
    let page = store.history(&query).await.unwrap();
    page.readings.iter().map(|reading| reading.event_time.as_micros() / 1_000_000).collect()
}

#[tokio::test]
async fn old_readings_go_by_whole_hours() {
    let folder = TempDir::new().unwrap();
    let (store, writer, sensors) = store(&folder, 2).await;
    let rows = sensors.iter().flat_map(|id| (0..12).map(|n| (*id, n * 600, Some(n as f64))));
    let (_writer, _) = append(writer, rows.collect()).await;
    let old = Old::Raw { keeps_minutes: false };
    let mut dropped = 0;
    loop {
        let step = store.drop_some(sensors[0], old, second(5_400)).await.unwrap();
        dropped += step.readings;
        if !step.has_more {
            break;
        }
    }
    assert_eq!(dropped, 6);
    assert_eq!(times(&store, sensors[0]).await, [3_600, 4_200, 4_800, 5_400, 6_000, 6_600]);
    assert_eq!(times(&store, sensors[1]).await.len(), 12);
    let again = store.drop_some(sensors[0], old, second(5_400)).await.unwrap();
    assert_eq!(again, Removed { readings: 0, has_more: false });
    let query = StatisticsQuery {
        sensor: sensors[0],
        from: second(0),
        to: second(7_200),
        bucket: Some(Bucket::Hour),
        percentiles: Vec::new(),
    };
    let found = store.statistics(query).await.unwrap();
    let hours: Vec<u64> = found.series.iter().map(|(_, hour)| hour.count).collect();
    assert_eq!(hours, [6, 6]);
    for old in [Old::Hours, Old::Days] {
        let none = store.drop_some(sensors[0], old, second(5_400)).await.unwrap();
        assert_eq!(none, Removed { readings: 0, has_more: false }, "{old:?}");
    }
}
