use super::*;

pub(super) fn alarm(id: i64, device: &str, sensor: Option<SensorId>, raised: i64) -> AlarmRow {
    AlarmRow {
        id,
        rule_id: 1,
        rule_version: 3,
        rule_name: "Boiler too hot".to_owned(),
        device: device.to_owned(),
        sensor_id: sensor,
        sensor: sensor.map(|_| "temperature".to_owned()),
        severity: 1,
        highest_severity: 4,
        active: true,
        acknowledged: false,
        latched: true,
        shelved_until: Some(second(raised + 60)),
        suppressed: true,
        out_of_service: true,
        closed: false,
        raised_at: second(raised),
        cleared_at: Some(second(raised + 1)),
        changed_at: second(raised + 2),
        arrival: second(raised + 3),
        acknowledged_at: Some(second(raised + 4)),
        acknowledged_by: Some("Ada".to_owned()),
        note: Some("seen".to_owned()),
        value: Some(31.5),
        event_time: Some(second(raised - 1)),
        peak: Some(33.25),
        occurrences: 2,
        levels: r#"["active"]"#.to_owned(),
        message: "too hot".to_owned(),
        labels: r#"{"team":"heating"}"#.to_owned(),
        last_notified_at: Some(second(raised + 5)),
        notified: true,
    }
}

pub(super) fn event(alarm_id: i64, kind: &str, at: i64) -> AlarmEventRow {
    AlarmEventRow {
        id: 0,
        alarm_id,
        kind: kind.to_owned(),
        at: second(at),
        arrival: second(at + 1),
        severity: 2,
        value: Some(30.5),
        event_time: Some(second(at - 1)),
        actor: Some("Ada".to_owned()),
        note: None,
    }
}

async fn save(writer: Writer, alarms: Vec<AlarmRow>) -> (Writer, Result<(), StoreError>) {
    commit(writer, move |txn| alarms.iter().try_for_each(|alarm| txn.save_alarm(alarm))).await
}

#[tokio::test]
async fn an_alarm_comes_back_as_it_was_saved_last() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 1).await;
    assert_eq!(store.max_alarm_id().await.unwrap(), 0);
    let full = alarm(7, "d", Some(ids[0]), 100);
    let bare = AlarmRow {
        shelved_until: None,
        cleared_at: None,
        acknowledged_at: None,
        acknowledged_by: None,
        note: None,
        value: None,
        event_time: None,
        peak: None,
        last_notified_at: None,
        ..alarm(9, "d", None, 50)
    };
    let (writer, saved) = save(writer, vec![full.clone(), bare.clone()]).await;
    saved.unwrap();
    assert_eq!(store.max_alarm_id().await.unwrap(), 9);
    assert_eq!(store.alarm(7).await.unwrap(), Some(full.clone()));
    assert_eq!(store.alarm(9).await.unwrap(), Some(bare.clone()));
    assert_eq!(store.alarm(8).await.unwrap(), None);

    let changed = AlarmRow {
        rule_version: 4,
        rule_name: "Boiler hot".to_owned(),
        severity: 3,
        active: false,
        acknowledged: true,
        latched: false,
        shelved_until: None,
        suppressed: false,
        out_of_service: false,
        closed: true,
        raised_at: second(101),
        changed_at: second(300),
        occurrences: 3,
        notified: false,
        message: "cooler".to_owned(),
        ..full
    };
    let (_, saved) = save(writer, vec![changed.clone()]).await;
    saved.unwrap();
    assert_eq!(store.alarm(7).await.unwrap(), Some(changed));
    assert_eq!(store.open_alarms().await.unwrap(), [bare]);
}

#[tokio::test]
async fn of_a_rule_and_originator_one_alarm_is_open() {
    let folder = TempDir::new().unwrap();
    let (store, mut writer, ids) = store(&folder, 2).await;
    let saved;
    let several = vec![
        alarm(1, "d", Some(ids[0]), 1),
        alarm(2, "d", Some(ids[1]), 1),
        alarm(3, "d", None, 1),
    ];
    (writer, saved) = save(writer, several.clone()).await;
    saved.unwrap();
    for second_one in [alarm(4, "d", Some(ids[0]), 2), alarm(4, "d", None, 2)] {
        let refused;
        (writer, refused) = save(writer, vec![second_one]).await;
        assert!(refused.unwrap_err().is_poison());
    }
    let closed = AlarmRow { closed: true, ..several[0].clone() };
    let (_, saved) = save(writer, vec![closed, alarm(4, "d", Some(ids[0]), 2)]).await;
    saved.unwrap();
    let open: Vec<_> = store.open_alarms().await.unwrap().iter().map(|alarm| alarm.id).collect();
    assert_eq!(open, [2, 3, 4]);
}

#[tokio::test]
async fn the_newest_alarm_of_each_originator_is_found_open_or_closed() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 1).await;
    let closed = |id, raised| AlarmRow { closed: true, ..alarm(id, "d", None, raised) };
    let on_sensor = |id, raised| AlarmRow { closed: true, ..alarm(id, "d", Some(ids[0]), raised) };
    let alarms = vec![
        closed(1, 100),
        closed(2, 200),
        alarm(3, "d", None, 300),
        on_sensor(4, 200),
        on_sensor(5, 250),
        AlarmRow { closed: true, ..alarm(6, "e", None, 10) },
        alarm(7, "f", None, 10),
    ];
    let (_, saved) = save(writer, alarms).await;
    saved.unwrap();
    let newest = async |since| {
        let alarms = store.newest_alarms(since).await.unwrap();
        alarms.iter().map(|alarm| alarm.id).collect::<Vec<_>>()
    };
    assert_eq!(newest(second(0)).await, [3, 5, 6, 7]);
    // Changes come two seconds after the raise; an open alarm is never too old.
    assert_eq!(newest(second(13)).await, [3, 5, 7]);
    assert_eq!(newest(second(253)).await, [3, 7]);
    assert_eq!(newest(second(303)).await, [3, 7]);
}

#[tokio::test]
async fn events_come_in_their_order_by_pages() {
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 0).await;
    let (_, ids) = commit(writer, |txn| {
        txn.save_alarm(&alarm(1, "d", None, 1))?;
        let kinds = ["raised", "escalated", "cleared"];
        txn.append_alarm_event(&event(2, "raised", 1))?;
        kinds
            .iter()
            .zip(1..)
            .map(|(kind, at)| txn.append_alarm_event(&event(1, kind, at)))
            .collect::<Result<Vec<_>, _>>()
    })
    .await;
    let ids = ids.unwrap();
    let events = store.alarm_events(1, None, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    assert_eq!(events[1], AlarmEventRow { id: ids[1], ..event(1, "escalated", 2) });
    assert_eq!(store.alarm_events(1, None, 2).await.unwrap(), events[..2]);
    assert_eq!(store.alarm_events(1, Some(ids[1]), 2).await.unwrap(), events[2..]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_alarms_are_what_a_filter_finds(
        kept in prop::collection::vec(
            (0_i64..6, 0_u8..5, any::<bool>(), any::<bool>(), any::<bool>(), 0_i64..3),
            0..40,
        ),
        active in prop::option::of(any::<bool>()),
        acknowledged in prop::option::of(any::<bool>()),
        closed in prop::option::of(any::<bool>()),
        severity_min in prop::option::of(0_u8..5),
        device in prop::option::of(0_i64..3),
        rule in prop::option::of(0_i64..3),
        from in prop::option::of(0_i64..6),
        to in prop::option::of(0_i64..6),
        limit in 1_u64..9,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let (store, writer, _) = store(&folder, 0).await;
            let alarms: Vec<_> = kept
                .iter()
                .zip(1_i64..)
                .map(|((raised, severity, active, acknowledged, closed, device), id)| AlarmRow {
                    // Another sensor each, so that many may be open.
                    sensor_id: Some(SensorId(id)),
                    rule_id: id % 3,
                    severity: *severity,
                    active: *active && !closed,
                    acknowledged: *acknowledged,
                    closed: *closed,
                    ..alarm(id, &format!("d{device}"), None, *raised)
                })
                .collect();
            let (_, saved) = save(writer, alarms.clone()).await;
            saved.unwrap();
            let mut query = AlarmQuery {
                active,
                acknowledged,
                closed,
                severity_min,
                device: device.map(|device| format!("d{device}")),
                rule,
                from: from.map(second),
                to: to.map(second),
                after: None,
                limit,
            };
            let mut expected: Vec<_> = alarms
                .into_iter()
                .filter(|alarm| active.is_none_or(|wanted| alarm.active == wanted))
                .filter(|alarm| acknowledged.is_none_or(|wanted| alarm.acknowledged == wanted))
                .filter(|alarm| closed.is_none_or(|wanted| alarm.closed == wanted))
                .filter(|alarm| severity_min.is_none_or(|least| alarm.severity >= least))
                .filter(|alarm| query.device.as_ref().is_none_or(|key| alarm.device == *key))
                .filter(|alarm| rule.is_none_or(|rule| alarm.rule_id == rule))
                .filter(|alarm| query.from.is_none_or(|from| alarm.raised_at >= from))
                .filter(|alarm| query.to.is_none_or(|to| alarm.raised_at < to))
                .collect();
            expected.sort_by_key(|alarm| (alarm.raised_at, alarm.id));
            expected.reverse();
            let mut seen = Vec::new();
            loop {
                let page = store.alarms(&query).await.unwrap();
                assert!(page.alarms.len() <= usize::try_from(limit).unwrap());
                seen.extend(page.alarms);
                if !page.has_more {
                    break;
                }
                query.after = seen.last().map(|alarm| (alarm.raised_at, alarm.id));
            }
            assert_eq!(seen, expected);
        });
    }
}

#[tokio::test]
async fn the_summary_counts_ranks_and_finds_what_chatters() {
    let folder = TempDir::new().unwrap();
    let (store, writer, ids) = store(&folder, 2).await;
    let (here, there) = (ids[0], ids[1]);
    let plain = move |id, rule_id, sensor, raised| AlarmRow {
        rule_id,
        rule_name: format!("r{rule_id}"),
        shelved_until: None,
        suppressed: false,
        out_of_service: false,
        acknowledged_at: None,
        ..alarm(id, "d", sensor, raised)
    };
    let (_, written) = commit(writer, move |txn| {
        // Three raises within a minute, in two alarms of the same originator.
        let first = plain(1, 1, Some(here), 1_000);
        txn.save_alarm(&AlarmRow { closed: true, acknowledged_at: Some(second(1_010)), ..first })?;
        txn.save_alarm(&plain(2, 1, Some(here), 1_059))?;
        // Three in a minute, but of two sensors; and three in a little more than a minute.
        txn.save_alarm(&plain(3, 1, Some(there), 1_000))?;
        txn.save_alarm(&AlarmRow { severity: 4, ..plain(4, 2, None, 1_000) })?;
        let shelved = AlarmRow { shelved_until: Some(second(9_999)), ..plain(5, 3, None, 1_000) };
        txn.save_alarm(&AlarmRow { acknowledged_at: Some(second(1_030)), ..shelved })?;
        let raises = [(1, 1_000), (1, 1_030), (2, 1_059), (3, 1_000), (3, 1_010), (5, 1_000)];
        let slower = [(4, 1_000), (4, 1_030), (4, 1_060), (4, 1_100)];
        for (alarm, at) in raises.into_iter().chain(slower) {
            txn.append_alarm_event(&event(alarm, RAISED, at))?;
            txn.append_alarm_event(&event(alarm, "cleared", at))?;
        }
        Ok(())
    })
    .await;
    written.unwrap();
    let summary = store.alarm_summary(second(1_000), second(1_100)).await.unwrap();
    let open: Vec<_> = summary.open.iter().map(|c| (c.severity, c.shelved, c.count)).collect();
    assert_eq!(open, [(4, false, 1), (1, false, 2), (1, true, 1)]);
    let rules: Vec<_> = summary.top_rules.iter().map(|r| (r.rule_id, r.occurrences)).collect();
    assert_eq!(rules, [(1, 5), (2, 3), (3, 1)]);
    assert_eq!(summary.top_rules[0].rule_name, "r1");
    let device = DeviceOccurrences { device: "d".to_owned(), occurrences: 9 };
    assert_eq!(summary.top_devices, [device]);
    assert_eq!(summary.acknowledged, 2);
    assert_eq!(summary.mean_micros_to_acknowledge, Some(20e6));

    let chattering = store.chattering_alarms(second(0), second(2_000), 10).await.unwrap();
    let expected = ChatteringAlarm {
        rule_id: 1,
        rule_name: "r1".to_owned(),
        device: "d".to_owned(),
        sensor_id: Some(here),
        sensor: Some("temperature".to_owned()),
        alarm_id: 2,
        occurrences: 3,
        last_raised_at: second(1_059),
    };
    assert_eq!(chattering, [expected]);
    assert_eq!(store.chattering_alarms(second(1_001), second(2_000), 10).await.unwrap(), []);
    let nothing = store.alarm_summary(second(5_000), second(6_000)).await.unwrap();
    assert_eq!((nothing.acknowledged, nothing.mean_micros_to_acknowledge), (0, None));
}

#[tokio::test]
async fn a_deleted_device_takes_its_alarms_along() {
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 1).await;
    let (_, written) = commit(writer, |txn| {
        let other = txn.ensure_device(&device("other"))?;
        // More than go in one step.
        for id in 1..=450 {
            let closed = AlarmRow { closed: true, ..alarm(id, "d", None, id) };
            txn.save_alarm(&closed)?;
            txn.append_alarm_event(&event(id, RAISED, id))?;
            txn.enqueue_notification(&outbox::notification(&format!("n{id}"), Some(id), 1))?;
        }
        txn.save_alarm(&alarm(451, "other", None, 1))?;
        txn.append_alarm_event(&event(451, RAISED, 1))?;
        txn.enqueue_notification(&outbox::notification("kept", Some(451), 1))?;
        Ok(other)
    })
    .await;
    written.unwrap();
    let id = store.devices().await.unwrap()[0].id;
    store.delete_device(id).await.unwrap();
    let left = store.alarms(&AlarmQuery { limit: 10, ..AlarmQuery::default() }).await.unwrap();
    assert_eq!(left.alarms.iter().map(|alarm| alarm.id).collect::<Vec<_>>(), [451]);
    assert_eq!(store.alarm_events(450, None, 9).await.unwrap(), []);
    assert_eq!(store.alarm_events(451, None, 9).await.unwrap().len(), 1);
    let due = store.due_notifications("ops-mail", second(10), 1_000).await.unwrap();
    assert_eq!(due.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["kept"]);
}

#[tokio::test]
async fn closed_alarms_go_when_they_are_old_but_for_the_newest_of_each() {
    let folder = TempDir::new().unwrap();
    let (store, writer, sensors) = store(&folder, 1).await;
    let closed = |id: i64, device: &str, sensor, raised| AlarmRow {
        closed: true,
        active: false,
        acknowledged: true,
        ..alarm(id, device, sensor, raised)
    };
    let sensor = Some(sensors[0]);
    let alarms = vec![
        closed(1, "a", None, 0),
        closed(2, "a", sensor, 0),
        closed(3, "a", None, 10),
        closed(4, "b", None, 0),
        closed(5, "a", None, 100),
        alarm(6, "a", sensor, 0),
        closed(7, "c", None, 0),
    ];
    let (writer, saved) = save(writer, alarms).await;
    saved.unwrap();
    let (_writer, events) = commit(writer, |txn| {
        (1..=7).try_for_each(|id| txn.append_alarm_event(&event(id, "raised", 0)).map(drop))
    })
    .await;
    events.unwrap();
    // They changed two seconds after they were raised.
    assert_eq!(store.trim_alarms(second(2), 10).await.unwrap(), 0);
    assert_eq!(store.trim_alarms(second(50), 1).await.unwrap(), 1);
    assert_eq!(store.trim_alarms(second(50), 10).await.unwrap(), 2);
    assert_eq!(store.trim_alarms(second(50), 10).await.unwrap(), 0);
    for id in 1..=7 {
        let is_there = id > 3;
        assert_eq!(store.alarm(id).await.unwrap().is_some(), is_there, "{id}");
        let events = store.alarm_events(id, None, 9).await.unwrap();
        assert_eq!(events.len(), usize::from(is_there), "{id}");
    }
}
