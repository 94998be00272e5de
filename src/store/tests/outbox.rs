use super::*;

pub(super) fn notification(key: &str, alarm_id: Option<i64>, not_before: i64) -> NewNotification {
    NewNotification {
        key: key.to_owned(),
        alarm_id,
        event_id: alarm_id.map(|id| id * 10),
        target: "ops-mail".to_owned(),
        channel: "mail".to_owned(),
        kind: "raised".to_owned(),
        group_key: "g".to_owned(),
        body: "{}".to_owned(),
        not_before: second(not_before),
        created_at: second(not_before - 1),
    }
}

async fn enqueue(writer: Writer, notifications: Vec<NewNotification>) -> (Writer, Vec<bool>) {
    let (writer, written) = commit(writer, move |txn| {
        notifications.iter().map(|n| txn.enqueue_notification(n)).collect()
    })
    .await;
    (writer, written.unwrap())
}

async fn due(store: &Store, now: i64) -> Vec<String> {
    due_of(store, "ops-mail", now).await.0
}

/// The keys, and the second at which the next is due.
async fn due_of(store: &Store, target: &str, now: i64) -> (Vec<String>, Option<Timestamp>) {
    let due = store.due_notifications(target, second(now), 100).await.unwrap();
    (due.rows.into_iter().map(|row| row.key).collect(), due.next)
}

async fn ids(store: &Store) -> Vec<i64> {
    let all = NotificationQuery { limit: 1_000, ..NotificationQuery::default() };
    let mut ids: Vec<_> =
        store.notifications(&all).await.unwrap().iter().map(|row| row.id).collect();
    ids.reverse();
    ids
}

#[tokio::test]
async fn a_key_is_told_once_and_what_is_due_comes_in_order() {
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 0).await;
    assert_eq!(due_of(&store, "ops-mail", 99).await, (Vec::new(), None));
    assert_eq!(
        store.waiting_notifications().await.unwrap(),
        WaitingNotifications { count: 0, oldest: None }
    );
    let other = |key: &str, at| NewNotification {
        target: "pager".to_owned(),
        ..notification(key, Some(1), at)
    };
    let batch = vec![
        notification("b", Some(1), 10),
        notification("late", Some(1), 30),
        other("pager-late", 20),
        notification("a", None, 5),
        notification("b", Some(2), 1),
        notification("c", Some(2), 10),
        other("pager", 4),
    ];
    let (_, written) = enqueue(writer, batch).await;
    assert_eq!(written, [true, true, true, true, false, true, true]);
    let found = async |now| {
        let (keys, next) = due_of(&store, "ops-mail", now).await;
        (keys.join(" "), next)
    };
    assert_eq!(found(4).await, (String::new(), Some(second(5))));
    assert_eq!(found(5).await, ("a".to_owned(), Some(second(10))));
    assert_eq!(found(10).await, ("b a c".to_owned(), Some(second(30))));
    assert_eq!(found(30).await, ("b late a c".to_owned(), None));
    assert_eq!(due_of(&store, "pager", 4).await, (Vec::new(), Some(second(20))));
    let first = store.due_notifications("ops-mail", second(10), 1).await.unwrap();
    assert_eq!((first.rows.len(), first.next), (1, Some(second(30))));
    let waiting = store.waiting_notifications().await.unwrap();
    assert_eq!(waiting, WaitingNotifications { count: 6, oldest: Some(second(3)) });
    let row = &first.rows[0];
    let expected = NotificationRow {
        id: row.id,
        key: "b".to_owned(),
        alarm_id: Some(1),
        event_id: Some(10),
        target: "ops-mail".to_owned(),
        channel: "mail".to_owned(),
        kind: "raised".to_owned(),
        group_key: "g".to_owned(),
        body: "{}".to_owned(),
        state: NotificationState::Waiting,
        attempts: 0,
        not_before: second(10),
        created_at: second(9),
        sent_at: None,
        error: None,
    };
    assert_eq!(*row, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_is_due_is_what_a_loop_finds(
        rows in prop::collection::vec((prop::option::of(1_i64..4), 0_i64..6, 0_u8..3), 0..30),
        now in 0_i64..6,
        limit in 1_u64..20,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let (store, writer, _) = store(&folder, 0).await;
            let batch = rows.iter().enumerate().map(|(n, (alarm, at, kind))| NewNotification {
                target: if *kind == 0 { "pager" } else { "ops-mail" }.to_owned(),
                ..notification(&n.to_string(), *alarm, *at)
            });
            enqueue(writer, batch.collect()).await;
            let ids = ids(&store).await;
            let ended: Vec<i64> =
                ids.iter().zip(&rows).filter(|(_, row)| row.2 == 1).map(|(id, _)| *id).collect();
            store.bury_notifications(&ended, "no").await.unwrap();
            let waiting: Vec<(Option<i64>, i64, i64)> = rows
                .iter()
                .zip(&ids)
                .filter(|((_, _, kind), _)| *kind == 2)
                .map(|((alarm, at, _), id)| (*alarm, *at, *id))
                .collect();
            let is_held = |alarm: Option<i64>, id: i64| {
                let is_before = |(a, at, i): &(_, _, _)| *a == alarm && *i < id && *at > now;
                alarm.is_some() && waiting.iter().any(is_before)
            };
            let wanted: Vec<i64> = waiting
                .iter()
                .filter(|(alarm, at, id)| *at <= now && !is_held(*alarm, *id))
                .map(|(_, _, id)| *id)
                .take(usize::try_from(limit).unwrap())
                .collect();
            let next = waiting.iter().map(|(_, at, _)| *at).filter(|at| *at > now).min();
            let found = store.due_notifications("ops-mail", second(now), limit).await.unwrap();
            assert_eq!(found.rows.iter().map(|row| row.id).collect::<Vec<_>>(), wanted);
            assert_eq!(found.next, next.map(second));
        });
    }
}

#[tokio::test]
async fn what_became_of_them_is_noted_and_what_is_done_is_trimmed() {
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 0).await;
    let keys = ["sent", "failed", "dead", "cancelled", "waiting", "begun"];
    let batch = keys.iter().zip(1..).map(|(key, alarm)| notification(key, Some(alarm), 5));
    let (writer, _) = enqueue(writer, batch.collect()).await;
    let ids = ids(&store).await;
    store.begin_notifications(&[ids[0], ids[1], ids[2], ids[5]], second(15)).await.unwrap();
    store.retry_notifications(&[ids[0]], "refused", second(6)).await.unwrap();
    store.note_sent_notifications(&ids[..1], second(6)).await.unwrap();
    store.retry_notifications(&ids[1..2], "refused", second(20)).await.unwrap();
    store.bury_notifications(&ids[2..3], "refused").await.unwrap();
    let gone = "the target is gone";
    assert_eq!(store.cancel_notifications(&ids[3..4], gone).await.unwrap(), 1);
    store.begin_notifications(&[], second(99)).await.unwrap();
    let all = NotificationQuery { limit: 9, ..NotificationQuery::default() };
    let facts = async || {
        let mut found = store.notifications(&all).await.unwrap();
        found.reverse();
        let facts = found.into_iter().map(|row| (row.state, row.attempts, row.sent_at, row.error));
        facts.collect::<Vec<_>>()
    };
    use NotificationState::{Cancelled, Dead, Sent, Waiting};
    let error = || Some("refused".to_owned());
    let expected = [
        (Sent, 1, Some(second(6)), None),
        (Waiting, 1, None, error()),
        (Dead, 1, None, error()),
        (Cancelled, 0, None, Some(gone.to_owned())),
        (Waiting, 0, None, None),
        (Waiting, 1, None, None),
    ];
    assert_eq!(facts().await, expected);
    assert_eq!(due(&store, 14).await, ["waiting"]);
    assert_eq!(due(&store, 19).await, ["waiting", "begun"]);
    assert_eq!(due(&store, 20).await, ["failed", "waiting", "begun"]);
    // What has ended stays as it is, whatever a lane says that hears of it late.
    let ended = [ids[0], ids[2], ids[3]];
    store.begin_notifications(&ended, second(30)).await.unwrap();
    store.note_sent_notifications(&ended, second(30)).await.unwrap();
    store.retry_notifications(&ended, "late", second(30)).await.unwrap();
    store.bury_notifications(&ended, "late").await.unwrap();
    assert_eq!(store.cancel_notifications(&ended, "late").await.unwrap(), 0);
    assert_eq!(facts().await, expected);
    let mut counts: Vec<_> =
        store.outbox_counts().await.unwrap().iter().map(|c| (c.state, c.count)).collect();
    counts.sort();
    assert_eq!(counts, [(Waiting, 3), (Sent, 1), (Dead, 1), (Cancelled, 1)]);

    assert!(!store.revive_notification(ids[0], second(7)).await.unwrap());
    assert!(store.revive_notification(ids[2], second(7)).await.unwrap());
    assert_eq!(due(&store, 7).await, ["dead", "waiting"]);
    // They were made in second 4.
    assert_eq!(store.trim_notifications(second(4), 9, 10).await.unwrap(), 0);
    assert_eq!(store.trim_notifications(second(5), 9, 1).await.unwrap(), 1);
    assert_eq!(store.trim_notifications(second(5), 9, 10).await.unwrap(), 1);
    assert_eq!(store.notifications(&all).await.unwrap().len(), 4);
    drop(writer);
}

#[tokio::test]
async fn what_was_given_up_is_trimmed_by_age_and_by_number() {
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 0).await;
    let batch = (0..6).map(|n| notification(&format!("k{n}"), Some(n), 5)).collect();
    let _writer = enqueue(writer, batch).await;
    let mut ids = ids(&store).await;
    ids.sort_unstable();
    store.bury_notifications(&ids[1..], "gone").await.unwrap();
    let left = async || {
        let query = NotificationQuery { limit: 9, ..NotificationQuery::default() };
        let rows = store.notifications(&query).await.unwrap();
        rows.iter().rev().map(|row| row.id).collect::<Vec<_>>()
    };
    // However many there are, what waits stays.
    assert_eq!(store.trim_notifications(second(0), 6, 10).await.unwrap(), 0);
    assert_eq!(store.trim_notifications(second(0), 3, 1).await.unwrap(), 1);
    assert_eq!(store.trim_notifications(second(0), 3, 10).await.unwrap(), 1);
    assert_eq!(store.trim_notifications(second(0), 3, 10).await.unwrap(), 0);
    assert_eq!(left().await, [ids[0], ids[3], ids[4], ids[5]]);
    assert_eq!(store.trim_notifications(second(0), 2, 10).await.unwrap(), 1);
    assert_eq!(store.trim_notifications(second(60), 9, 10).await.unwrap(), 2);
    assert_eq!(left().await, [ids[0]]);
}

#[tokio::test]
async fn what_waits_of_an_alarm_or_for_no_target_can_be_called_off() {
    let folder = TempDir::new().unwrap();
    let (store, writer, _) = store(&folder, 0).await;
    let keys = [("a", 1), ("b", 1), ("c", 1), ("d", 2)];
    let batch = keys.iter().map(|(key, alarm)| notification(key, Some(*alarm), 5)).collect();
    let (writer, _) = enqueue(writer, batch).await;
    let first = ids(&store).await[0];
    store.note_sent_notifications(&[first], second(6)).await.unwrap();
    let (writer, cancelled) = commit(writer, |txn| {
        let one = txn.cancel_notification("b", "told otherwise")?;
        let again = txn.cancel_notification("b", "told otherwise")?;
        let sent = txn.cancel_notification("a", "told otherwise")?;
        Ok((one, again, sent, txn.cancel_notifications(1, "cleared")?))
    })
    .await;
    assert_eq!(cancelled.unwrap(), (true, false, false, 1));
    assert_eq!(due(&store, 5).await, ["d"]);
    let query = NotificationQuery { alarm: Some(1), limit: 9, ..NotificationQuery::default() };
    let rows = store.notifications(&query).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!(rows[0].error.as_deref(), Some("cleared"));
    let sent = NotificationQuery {
        state: Some(NotificationState::Sent),
        before: Some(rows[1].id),
        ..query
    };
    assert_eq!(store.notifications(&sent).await.unwrap().len(), 1);

    // More than go in one step.
    let gone = |n: i64| NewNotification {
        target: format!("gone-{}", n % 2),
        ..notification(&n.to_string(), Some(n), 5)
    };
    enqueue(writer, (0..1_100).map(gone).collect()).await;
    let kept = ["ops-mail".to_owned(), "gone-1".to_owned()];
    let cancel = async |kept: &[String]| {
        store.cancel_notifications_of_others(kept, "no such target").await.unwrap()
    };
    assert_eq!(cancel(&kept).await, 550);
    assert_eq!(cancel(&kept).await, 0);
    assert_eq!(cancel(&kept[..1]).await, 550);
    assert_eq!(due(&store, 5).await, ["d"]);
    assert_eq!(cancel(&[]).await, 1);
    assert_eq!(store.waiting_notifications().await.unwrap(), WaitingNotifications::default());
}

#[tokio::test]
async fn targets_are_edited_by_version_and_silences_end() {
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    let edit = |name: &str| NotificationTargetEdit {
        name: name.to_owned(),
        channel: "webhook".to_owned(),
        enabled: true,
        body: r#"{"url":"http://127.0.0.1"}"#.to_owned(),
    };
    let made = store.create_notification_target(&edit("ops"), second(1)).await.unwrap();
    assert_eq!(store.notification_target(made.id).await.unwrap(), Some(made.clone()));
    let taken = store.create_notification_target(&edit("ops"), second(1)).await;
    assert!(matches!(taken, Err(StoreError::Exists(_))));
    let off = NotificationTargetEdit { enabled: false, ..edit("people") };
    let changed = store.update_notification_target(made.id, 1, &off, second(2)).await.unwrap();
    assert_eq!((changed.version, changed.enabled, changed.created_at), (2, false, second(1)));
    assert_eq!(store.notification_targets().await.unwrap(), [changed]);
    let outdated = store.update_notification_target(made.id, 1, &off, second(3)).await;
    assert!(matches!(outdated, Err(StoreError::Outdated)));

    let configured = [edit("people"), edit("pager")];
    let outcome = store.provision_notification_targets(&configured, second(4)).await.unwrap();
    assert_eq!((outcome.clashes, outcome.created), (vec!["people".to_owned()], 1));
    let outcome = store.provision_notification_targets(&[], second(5)).await.unwrap();
    assert_eq!(outcome.removed.len(), 1);
    assert!(matches!(
        store.delete_notification_target(made.id, 1).await,
        Err(StoreError::Outdated)
    ));
    store.delete_notification_target(made.id, 2).await.unwrap();
    assert_eq!(store.notification_targets().await.unwrap(), []);

    let silence =
        |ends| SilenceEdit { body: "{}".to_owned(), starts_at: second(1), ends_at: second(ends) };
    let short = store.create_silence(&silence(10), second(1)).await.unwrap();
    let long = store.create_silence(&silence(20), second(1)).await.unwrap();
    assert_eq!(store.silences(None).await.unwrap(), [short.clone(), long.clone()]);
    assert_eq!(store.silences(Some(second(10))).await.unwrap(), [long]);
    store.update_silence(short.id, &silence(30)).await.unwrap();
    let longer = SilenceRow { ends_at: second(30), ..short };
    assert_eq!(store.silence(longer.id).await.unwrap(), Some(longer.clone()));
    assert!(store.delete_silence(longer.id).await.unwrap());
    assert!(!store.delete_silence(longer.id).await.unwrap());
    assert!(matches!(
        store.update_silence(longer.id, &silence(1)).await,
        Err(StoreError::NotFound(_))
    ));
}
