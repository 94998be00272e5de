//! Which index serves a query: the plan of each statement as it is really executed.

use sea_orm::QueryTrait;

use super::*;
use crate::store::{alarm_changes, alarm_marks, outbox, readings::removal};

async fn plan(store: &Store, sql: String, values: Option<sea_orm::sea_query::Values>) -> String {
    let values = values.unwrap_or(sea_orm::sea_query::Values(Vec::new()));
    let explained = Statement::from_sql_and_values(
        DatabaseBackend::Sqlite,
        format!("EXPLAIN QUERY PLAN {sql}"),
        values.0,
    );
    let rows = store.readers.query_all_raw(explained).await.unwrap();
    let details = rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap());
    details.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn every_query_is_served_by_a_key_or_an_index() {
    if !is_sqlite() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 1).await;
    let mut statements = Vec::new();
    for device in [None, Some("d")] {
        for before in [None, Some(7)] {
            for page in [quarantine::page, quarantine::sizes] {
                statements.push(page(device, before, 10).build(DatabaseBackend::Sqlite));
            }
        }
    }
    let held = ingest::held(crate::telemetry::DeviceId(1), 10);
    statements.push(held.build(DatabaseBackend::Sqlite));
    let number = || sea_orm::Value::from(1_i64);
    for (sql, count) in [(alarm_marks::ACTIVE, 0), (removal::DELETE_CLAIMED, 4)] {
        let values = (0..count).map(|_| number());
        statements.push(Statement::from_sql_and_values(DatabaseBackend::Sqlite, sql, values));
    }
    for statement in statements {
        let plan = plan(&store, statement.sql.clone(), statement.values).await;
        let is_served = plan.contains("PRIMARY KEY") || plan.contains("INDEX");
        let scans = plan.contains("SCAN reading") || plan.contains("SCAN quarantine");
        // The newest of all is the table's own order, read backwards and cut.
        let is_newest = statement.sql.contains("quarantine") && !plan.contains("TEMP B-TREE");
        assert!((is_served && !scans) || is_newest, "{} : {plan}", statement.sql);
        let sorts = plan.contains("TEMP B-TREE") && !statement.sql.contains("GROUP BY");
        assert!(!sorts, "{} : {plan}", statement.sql);
    }
    let values = sea_orm::sea_query::Values((0..5).map(|_| number()).collect());
    let marks = plan(&store, alarm_marks::MARKS.to_owned(), Some(values)).await;
    for alias in ["SEARCH a USING INDEX", "SEARCH e USING INDEX"] {
        assert!(marks.contains(alias), "{marks}");
    }
}

/// However much has been told, and however much waits for others.
#[tokio::test]
async fn the_outbox_reads_what_it_wants_by_an_index() {
    if !is_sqlite() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    let number = || sea_orm::Value::from(1_i64);
    let raw = |sql: &str, values: Vec<sea_orm::Value>| {
        Statement::from_sql_and_values(DatabaseBackend::Sqlite, sql, values)
    };
    let others = outbox::of_others(&["a".to_owned(), "b".to_owned()], 10);
    let waiting = "SEARCH notification USING COVERING INDEX notification_state_";
    for (statement, expected) in [
        (
            raw(outbox::DUE, vec!["a".into(), number(), number()]),
            "SEARCH n USING INDEX notification_state_target_id_not_before (state=? AND target=?); \
             CORRELATED SCALAR SUBQUERY 1; SEARCH e USING COVERING INDEX \
             notification_alarm_id_state_target_not_before (alarm_id=? AND state=? AND target=? \
             AND not_before>?)",
        ),
        (
            raw(outbox::NEXT, vec!["a".into(), number()]),
            "SEARCH notification USING COVERING INDEX notification_state_target_id_not_before \
             (state=? AND target=?)",
        ),
        (raw(outbox::WAITING, Vec::new()), waiting),
        (others.build(DatabaseBackend::Sqlite), waiting),
        (
            raw(alarm_changes::CANCEL_OF_ALARM, vec![number(), "why".into()]),
            "INDEX notification_alarm_id_state_target_not_before (alarm_id=? AND state=?)",
        ),
        (
            raw(alarm_changes::CANCEL_BY_KEY, vec!["key".into(), "why".into()]),
            "SEARCH notification USING INDEX sqlite_autoindex_notification",
        ),
        (raw(outbox::TRIM, vec![number(), number()]), waiting),
        (raw(outbox::TRIM_MORE, vec![number(), number()]), waiting),
    ] {
        let plan = plan(&store, statement.sql.clone(), statement.values).await;
        assert!(plan.contains(expected), "{} : {plan}", statement.sql);
        let scans = plan.contains("SCAN notification") || plan.contains("SCAN n");
        assert!(!scans && !plan.contains("TEMP B-TREE"), "{} : {plan}", statement.sql);
    }
}
