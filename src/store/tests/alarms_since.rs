use super::{
    alarms::{alarm, event},
    *,
};

#[tokio::test]
async fn what_happened_since_is_read_from_the_newest_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, writer, _) = store(&folder, 0).await;
    let (_, done) = commit(writer, |txn| {
        for id in 1..=2 {
            let mut alarm = alarm(id, &format!("d{id}"), None, id);
            alarm.rule_id = id;
            txn.save_alarm(&alarm)?;
        }
        for n in 0..1_300 {
            txn.append_alarm_event(&event(n % 3 + 1, "raised", n))?;
        }
        Ok(())
    })
    .await;
    done.unwrap();
    let last = store.last_alarm_event().await.unwrap();
    assert_eq!(last, 1_300);
    let since = async |after, upto, max, device: &str| {
        let wanted = |alarm: &AlarmRow| alarm.device == device;
        let since = store.alarms_since((after, upto), max, wanted).await.unwrap();
        let ids = since.happenings.iter().map(|happening| {
            assert_eq!(happening.alarm.id, happening.event.alarm_id);
            happening.event.id
        });
        (ids.collect::<Vec<_>>(), since.is_cut)
    };
    assert_eq!(since(10, 17, 9, "d1").await, (vec![13, 16], false));
    assert_eq!(since(10, 10, 9, "d1").await, (vec![], false));
    let all: Vec<_> = (0..1_300).filter(|n| n % 3 == 1).map(|n| n + 1).collect();
    assert_eq!(since(0, last, 1_000, "d2").await, (all.clone(), false));
    assert_eq!(since(0, last, 5, "d2").await, (all[all.len() - 5..].to_vec(), true));
    // The third alarm is gone.
    assert_eq!(since(0, last, 9, "d3").await, (vec![], false));
}
