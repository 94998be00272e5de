use proptest::prelude::*;

use super::*;
use crate::alarm::notify::notice::examples::{RAISED_AT, raised};

fn target(json: &str) -> Target {
    let channel = r#""channel": {"type": "webhook", "url": "http://x/"}"#;
    serde_json::from_str(&format!(r#"{{"name": "t", {channel}{json}}}"#)).unwrap()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(RAISED_AT + micros)
}

fn row(id: i64, alarm: i64, group: &str, attempts: u32, not_before: i64) -> Row {
    let row = Waiting {
        id,
        key: format!("k{id}"),
        alarm_id: Some(alarm),
        group_key: group.to_owned(),
        body: String::new(),
        attempts,
        not_before: at(not_before),
        created_at: at(0),
    };
    Row { row, notice: raised(alarm) }
}

fn ids(plan: &Plan) -> Vec<Vec<i64>> {
    plan.ready.iter().map(Batch::ids).collect()
}

#[test]
fn a_burst_is_one_message_once_its_first_notice_has_waited() {
    let rows: Vec<Row> = (0..40).map(|n| row(n, n, "{}", 0, n * 10)).collect();
    let target = target("");
    let early = plan(rows.clone(), &target, at(4_999_999), false);
    assert_eq!((early.ready.len(), early.ready_at), (0, Some(at(5_000_000))));
    let ready = plan(rows, &target, at(5_000_000), false);
    assert_eq!(ids(&ready), [(0..40).collect::<Vec<_>>()]);
    assert_eq!(ready.ready_at, None);
}

#[test]
fn a_full_message_does_not_wait_and_what_is_over_does() {
    let rows: Vec<Row> = (0..25).map(|n| row(n, n, "{}", 0, n)).collect();
    let plan = plan(rows, &target(r#", "group_max": 10"#), at(100), false);
    assert_eq!(ids(&plan), [(0..10).collect::<Vec<_>>(), (10..20).collect()]);
    assert_eq!(plan.ready_at, Some(at(5_000_020)));
}

#[test]
fn groups_and_tries_stay_apart() {
    let rows = vec![
        row(1, 1, "a", 0, 0),
        row(2, 2, "b", 0, 0),
        row(3, 3, "a", 1, 5),
        row(4, 4, "a", 1, 5),
        row(5, 5, "a", 1, 6),
        row(6, 6, "a", 0, 1),
    ];
    let plan = plan(rows, &target(r#", "group_wait": "0s""#), at(10), false);
    assert_eq!(ids(&plan), [vec![1, 6], vec![2], vec![3, 4], vec![5]]);
}

#[test]
fn what_is_told_of_an_alarm_waits_for_what_was_to_be_told_before() {
    let rows = vec![
        row(1, 1, "critical", 0, 0),
        row(2, 2, "warning", 1, 0),
        row(3, 1, "warning", 1, 0),
        row(4, 3, "info", 1, 0),
    ];
    let plan = plan(rows, &target(""), at(10), false);
    assert_eq!(ids(&plan), [vec![4]], "2 goes with 3, and 3 waits for 1");
    assert_eq!(plan.ready_at, Some(at(5_000_000)));
}

#[test]
fn an_alarm_in_two_ready_messages_goes_by_turns() {
    let rows = vec![row(1, 1, "a", 0, 0), row(2, 1, "b", 0, 0), row(3, 1, "a", 0, 0)];
    let target = target(r#", "group_wait": "0s""#);
    let first = plan(rows.clone(), &target, at(0), false);
    assert_eq!(ids(&first), [vec![1]]);
    let second = plan(rows[1..].to_vec(), &target, at(0), false);
    assert_eq!(ids(&second), [vec![2]]);
}

#[test]
fn keys_differ_with_every_part() {
    let keys = [
        idempotency_key("1:2", "a"),
        idempotency_key("1:2", "b"),
        idempotency_key("1:2a", ""),
        idempotency_key("1:", "2a"),
        message_key(["a", "b"].into_iter()),
        message_key(["ab"].into_iter()),
    ];
    let distinct: HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    let target = target(r#", "group_by": ["room", "severity", "none"]"#);
    let expected = r#"{"room":"cellar","severity":"critical","none":""}"#;
    assert_eq!(group_key(&target, &raised(1)), expected);
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((1_i64..6, 0_usize..3, 0_u32..2, 0_i64..3), 0..40).prop_map(|rows| {
        let numbered = rows.into_iter().enumerate();
        numbered
            .map(|(id, (alarm, group, attempts, at))| {
                row(i64::try_from(id).unwrap(), alarm, ["a", "b", "c"][group], attempts, at)
            })
            .collect()
    })
}

proptest! {
    /// Sent round by round, every row goes once, each alarm's in order, no message too large.
    #[test]
    fn rounds_bring_everything_out_in_each_alarms_order(rows in any_rows(), group_max in 1_usize..6) {
        let target = target(&format!(r#", "group_max": {group_max}"#));
        let mut left = rows.clone();
        let mut told: Vec<Row> = Vec::new();
        let mut now = at(2);
        while !left.is_empty() {
            let plan = plan(left.clone(), &target, now, false);
            if plan.ready.is_empty() {
                prop_assert!(plan.ready_at.is_some_and(|ready| ready > now), "nothing would ever go");
                now = plan.ready_at.unwrap();
                continue;
            }
            let mut in_round = HashSet::new();
            for batch in plan.ready {
                prop_assert!(batch.rows.len() <= group_max);
                let alarms: HashSet<i64> = batch.alarms().collect();
                prop_assert!(alarms.iter().all(|alarm| in_round.insert(*alarm)));
                let gone = batch.ids();
                left.retain(|row| !gone.contains(&row.row.id));
                told.extend(batch.rows);
            }
        }
        prop_assert_eq!(told.len(), rows.len());
        for alarm in 1..6 {
            let of_alarm: Vec<i64> = told
                .iter()
                .filter(|row| row.row.alarm_id == Some(alarm))
                .map(|row| row.row.id)
                .collect();
            prop_assert!(of_alarm.is_sorted(), "{:?}", of_alarm);
        }
    }
}
