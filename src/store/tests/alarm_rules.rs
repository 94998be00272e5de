use super::*;

fn edit(name: &str, body: &str) -> AlarmRuleEdit {
    AlarmRuleEdit { name: name.to_owned(), enabled: true, body: body.to_owned() }
}

#[tokio::test]
async fn each_edit_of_a_rule_makes_a_version() {
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    let made = store.create_alarm_rule(&edit("hot", "1"), Some("Ada"), second(1)).await.unwrap();
    assert_eq!(store.alarm_rule(made.id).await.unwrap(), Some(made.clone()));
    let off = AlarmRuleEdit { enabled: false, ..edit("warm", "2") };
    let changed = store.update_alarm_rule(made.id, 1, &off, None, second(2)).await.unwrap();
    let expected = AlarmRuleRow {
        name: "warm".to_owned(),
        enabled: false,
        version: 2,
        body: "2".to_owned(),
        updated_at: second(2),
        ..made.clone()
    };
    assert_eq!(changed, expected);
    assert_eq!(store.alarm_rules().await.unwrap(), [expected]);
    let outdated = store.update_alarm_rule(made.id, 1, &off, None, second(3)).await;
    assert!(matches!(outdated, Err(StoreError::Outdated)));
    let versions = store.alarm_rule_versions(made.id).await.unwrap();
    let facts: Vec<_> = versions.iter().map(|v| (v.version, v.body.as_str())).collect();
    assert_eq!(facts, [(2, "2"), (1, "1")]);
    assert_eq!(versions[1].author.as_deref(), Some("Ada"));

    assert!(matches!(store.delete_alarm_rule(made.id, 1).await, Err(StoreError::Outdated)));
    store.delete_alarm_rule(made.id, 2).await.unwrap();
    assert_eq!(store.alarm_rule(made.id).await.unwrap(), None);
    let first = store.alarm_rule_version(made.id, 1).await.unwrap();
    assert_eq!(first, Some(versions[1].clone()));
    let later = store.create_alarm_rule(&edit("hot", "1"), None, second(4)).await.unwrap();
    assert!(later.id > made.id, "a number is never used again");
}

#[tokio::test]
async fn a_name_is_taken_once_and_a_refused_edit_leaves_no_version() {
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    let hot = store.create_alarm_rule(&edit("hot", "1"), None, second(1)).await.unwrap();
    store.create_alarm_rule(&edit("cold", "1"), None, second(1)).await.unwrap();
    let taken = store.create_alarm_rule(&edit("hot", "2"), None, second(1)).await;
    assert!(matches!(taken, Err(StoreError::Exists(_))));
    let taken = store.update_alarm_rule(hot.id, 1, &edit("cold", "2"), None, second(2)).await;
    assert!(matches!(taken, Err(StoreError::Exists(_))));
    assert_eq!(store.alarm_rule(hot.id).await.unwrap(), Some(hot.clone()));
    assert_eq!(store.alarm_rule_versions(hot.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn provisioned_rules_follow_the_configuration() {
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    let own = store.create_alarm_rule(&edit("own", "1"), None, second(1)).await.unwrap();
    let configured = [edit("a", "1"), edit("b", "1"), edit("own", "9")];
    let outcome = store.provision_alarm_rules(&configured, second(2)).await.unwrap();
    let expected =
        Provisioned { clashes: vec!["own".to_owned()], created: 2, ..Provisioned::default() };
    assert_eq!(outcome, expected);
    let again = store.provision_alarm_rules(&configured, second(3)).await.unwrap();
    assert_eq!(again, Provisioned { created: 0, ..expected });
    let rules = store.alarm_rules().await.unwrap();
    assert!(rules.iter().all(|rule| rule.version == 1 && rule.provisioned == (rule.name != "own")));

    let outcome = store.provision_alarm_rules(&[edit("b", "2")], second(4)).await.unwrap();
    let a = rules.iter().find(|rule| rule.name == "a").unwrap().id;
    let expected =
        Provisioned { removed: vec![(a, "a".to_owned())], updated: 1, ..Provisioned::default() };
    assert_eq!(outcome, expected);
    let rules = store.alarm_rules().await.unwrap();
    let facts: Vec<_> = rules.iter().map(|rule| (rule.name.as_str(), rule.version)).collect();
    assert_eq!(facts, [("own", 1), ("b", 2)]);
    assert_eq!(rules[0], own);
    assert_eq!(store.alarm_rule_versions(rules[1].id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn runs_are_found_by_the_time_that_they_cover() {
    let folder = TempDir::new().unwrap();
    let (store, mut writer, _) = store(&folder, 0).await;
    assert_eq!(store.first_run().await.unwrap(), None);
    for (from, until) in [(10, 20), (30, 40), (50, 50)] {
        let run = store.begin_run(second(from)).await.unwrap();
        let noted;
        (writer, noted) = commit(writer, move |txn| {
            txn.note_alive(run, second(until))?;
            // The clock was set back: what is known to have been stays.
            txn.note_alive(run, second(until - 5))
        })
        .await;
        noted.unwrap();
    }
    let found = async |from, to| {
        let runs = store.runs(second(from), second(to)).await.unwrap();
        let seconds = |time: Timestamp| time.as_micros() / 1_000_000;
        runs.iter()
            .map(|run| (seconds(run.started_at), seconds(run.alive_until)))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(0, 100).await, [(10, 20), (30, 40), (50, 50)]);
    assert_eq!(found(20, 30).await, [(10, 20)]);
    assert_eq!(found(21, 31).await, [(30, 40)]);
    assert_eq!(found(41, 50).await, [(0, 0); 0]);
    let first = store.first_run().await.unwrap().unwrap();
    assert_eq!(first.started_at, second(10));
}
