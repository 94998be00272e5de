use super::*;

/// (sensor, event time, arrival), in seconds.
type Arrival = (SensorId, i64, i64);

async fn append_arrivals(writer: Writer, arrivals: Vec<Arrival>) -> Writer {
    let (writer, written) = commit(writer, move |txn| {
        for (sensor, event, arrival) in arrivals {
            let value = Some(event as f64);
            txn.append(&[reading(sensor, (second(event), second(arrival)), value)])?;
        }
        Ok(())
    })
    .await;
    written.unwrap();
    writer
}

async fn read(store: &Store, query: ArrivalQuery) -> Vec<Arrival> {
    let mut arrivals = store.readings_by_arrival(query).await.unwrap();
    let mut seen = Vec::new();
    let seconds = |time: Timestamp| time.as_micros() / 1_000_000;
    while let Some(chunk) = arrivals.next().await.unwrap() {
        assert!(!chunk.is_empty());
        seen.extend(chunk.iter().map(|reading| {
            (reading.sensor, seconds(reading.event_time), seconds(reading.received_at))
        }));
    }
    assert_eq!(arrivals.next().await.unwrap(), None);
    seen
}

fn all(sensors: Vec<SensorId>) -> ArrivalQuery {
    ArrivalQuery { sensors, from: second(-9_999), to: second(1_000_000), oldest_event: None }
}

#[tokio::test]
async fn a_long_history_with_back_fill_comes_in_the_order_of_arrival() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 2).await;
    // Several pages: one sensor prompt with jitter, with a day that it sent afterwards; the other
    // always five minutes ahead.
    let mut arrivals = Vec::new();
    for n in 0..20_000 {
        let event = n * 3;
        let arrival = if (5_000..9_000).contains(&n) { 40_000 + n } else { event + (n * 7) % 50 };
        // An arrival in between, so that no two of a sensor are alike.
        arrivals.push((ids[0], event, arrival * 3));
        arrivals.push((ids[1], event * 3 + 300, event * 3));
    }
    // As ingest stamps them: strictly rising within a sensor.
    arrivals.sort_by_key(|(sensor, event, arrival)| (*sensor, *arrival, *event));
    let mut last = (ids[0], i64::MIN);
    for (sensor, _, arrival) in &mut arrivals {
        if last.0 == *sensor {
            *arrival = (*arrival).max(last.1 + 1);
        }
        last = (*sensor, *arrival);
    }
    append_arrivals(writer, arrivals.clone()).await;
    arrivals.sort_by_key(|(sensor, event, arrival)| (*arrival, *sensor, *event));
    assert_eq!(read(&store, all(ids)).await, arrivals);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_reading() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 1).await;
    let rows = (0..30_000).map(|n| (ids[0], n, n)).collect();
    append_arrivals(writer, rows).await;
    let mut arrivals = store.readings_by_arrival(all(ids.clone())).await.unwrap();
    assert_eq!(arrivals.next().await.unwrap().unwrap()[0].event_time, second(0));
    drop(arrivals);
    let seen = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Handle::current();
        let mut arrivals = runtime.block_on(store.readings_by_arrival(all(ids))).unwrap();
        let mut seen = 0;
        while let Some(chunk) = arrivals.next_blocking().unwrap() {
            seen += chunk.len();
        }
        seen
    });
    assert_eq!(seen.await.unwrap(), 30_000);
}

#[tokio::test]
async fn the_last_readings_and_the_peak_are_found() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 2).await;
    let id = ids[0];
    let rows = vec![(id, 10, 10), (id, 30, 31), (id, 20, 35), (id, 40, 41), (ids[1], 35, 35)];
    let writer = append_arrivals(writer, rows).await;
    let last = store.last_readings(id, second(40), 2).await.unwrap();
    // Of the two newest event times, the later one arrived first.
    let times: Vec<_> = last.iter().map(|reading| reading.event_time).collect();
    assert_eq!(times, [second(30), second(20)]);
    assert_eq!(store.last_readings(id, second(10), 2).await.unwrap(), []);

    // Of those that had arrived by then, whatever their event times.
    let last = store.last_arrived(id, second(35), 2).await.unwrap();
    let times: Vec<_> = last.iter().map(|reading| reading.event_time).collect();
    assert_eq!(times, [second(10), second(30)]);
    assert_eq!(store.last_arrived(id, second(36), 1).await.unwrap()[0].event_time, second(30));
    assert_eq!(store.last_arrived(id, second(10), 2).await.unwrap(), []);

    let (_, written) = commit(writer, move |txn| {
        let bad = reading(id, (second(50), second(50)), Some(999.0));
        let bad = StoredReading { quality: Quality::Bad, ..bad };
        txn.append(&[bad, reading(id, (second(60), second(60)), None)])
    })
    .await;
    written.unwrap();
    let range = async |from, to, since| {
        store.value_range(id, second(from), second(to), second(since)).await.unwrap()
    };
    assert_eq!(range(0, 100, 0).await, Some((10.0, 40.0)));
    assert_eq!(range(0, 40, 0).await, Some((10.0, 30.0)));
    assert_eq!(range(0, 40, 32).await, Some((20.0, 20.0)));
    assert_eq!(range(50, 100, 0).await, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn arrivals_are_exactly_the_rows_in_order(
        // Steps of arrival, and how far the event time lies behind it: a little, ahead, or far.
        steps in prop::collection::vec(
            (0_usize..3, 1_i64..120, prop_oneof![-300_i64..60, 800_i64..1_000, 0_i64..20_000]),
            0..120,
        ),
        from in 0_i64..4_000,
        length in 0_i64..6_000,
        oldest in prop::option::of(-20_000_i64..4_000),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let (store, writer, ids) = store(&folder, 3).await;
            let mut now = 0;
            let mut taken = std::collections::HashSet::new();
            let mut arrivals: Vec<Arrival> = Vec::new();
            for (sensor, step, lag) in steps {
                now += step;
                if taken.insert((sensor, now - lag)) {
                    arrivals.push((ids[sensor], now - lag, now));
                }
            }
            append_arrivals(writer, arrivals.clone()).await;
            arrivals.retain(|(_, event, arrival)| {
                let is_within = (from..from + length).contains(arrival);
                is_within && oldest.is_none_or(|oldest| *event >= oldest)
            });
            arrivals.sort_by_key(|(sensor, _, arrival)| (*arrival, *sensor));
            let query = ArrivalQuery {
                sensors: ids,
                from: second(from),
                to: second(from + length),
                oldest_event: oldest.map(second),
            };
            assert_eq!(read(&store, query).await, arrivals);
        });
    }
}
