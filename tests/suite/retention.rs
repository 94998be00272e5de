//! Readings that are too old go; what was made of them stays.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::Value;

use crate::harness::Brooklet;

const DAY: i64 = 86_400;
const RULES: &str = r#"[{ sensors = ["kept*"], raw = "0s" }]"#;

pub(crate) fn today() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    now - now.rem_euclid(DAY)
}

/// Parameters of a request.
pub(crate) fn within((from, to): (i64, i64)) -> String {
    let shown = |seconds| jiff::Timestamp::from_second(seconds).unwrap().to_string();
    format!("from={}&to={}", shown(from), shown(to))
}

pub(crate) async fn import(brooklet: &Brooklet, rows: &[(&str, i64, i64)]) {
    let mut text = "device,sensor,event_time,value\n".to_owned();
    for (sensor, at, value) in rows {
        text.push_str(&format!("d,{sensor},{at},{value}\n"));
    }
    let csv = ("Content-Type", "text/csv");
    let ordered = brooklet.send(Method::POST, "/api/data/import?", text, &[csv]).await;
    let job = brooklet.ended(&ordered).await;
    assert_eq!(job["state"], "done", "{job}");
}

pub(crate) async fn raw(brooklet: &Brooklet, sensor: &str, range: (i64, i64)) -> i64 {
    let path = format!("/api/data/history?page=1&sensor={sensor}&{}", within(range));
    brooklet.get(&path).await["total"].as_i64().unwrap()
}

/// Of the range, and by the hour or day.
pub(crate) async fn statistics(
    brooklet: &Brooklet,
    (sensor, bucket): (&str, &str),
    range: (i64, i64),
) -> Value {
    let path = format!("/api/data/statistics?sensor={sensor}&{}&bucket={bucket}", within(range));
    let found = brooklet.get(&path).await["items"][0].clone();
    let whole = ["count", "min", "max", "mean"].map(|name| found[name].clone());
    let parts = found["series"].as_array().unwrap().iter();
    let parts = parts.map(|part| {
        ["start", "count", "min", "max", "mean"].map(|name| part[name].clone()).to_vec().into()
    });
    Value::Array(whole.into_iter().chain(parts).collect())
}

/// A reading each ten minutes of four days, from eight days ago on, of two sensors, and two of today.
pub(crate) async fn with_old_readings() -> (Brooklet, i64) {
    let brooklet = Brooklet::start().await;
    let start = today() - 8 * DAY;
    let mut rows = Vec::new();
    for sensor in ["s", "kept_s"] {
        rows.extend((0..4 * 144).map(|n| (sensor, start + n * 600, n * 7 % 100)));
        rows.push((sensor, today(), 5));
    }
    import(&brooklet, &rows).await;
    (brooklet, start)
}

#[tokio::test]
async fn old_readings_go_and_what_was_made_of_them_stays() {
    let (brooklet, start) = with_old_readings().await;
    let (old, all) = ((start, start + 2 * DAY), (start, today() + DAY));
    let hours = statistics(&brooklet, ("s", "1h"), all).await;
    let days = statistics(&brooklet, ("s", "1d"), all).await;
    let kept = statistics(&brooklet, ("kept_s", "1h"), all).await;
    assert_eq!((&hours[0], days.as_array().unwrap().len()), (&Value::from(577), 4 + 5));
    // What is kept begins with the day that is six days ago.
    let variables =
        [("RETENTION__RAW", "6d"), ("RETENTION__INTERVAL", "1s"), ("RETENTION__RULES", RULES)];
    let brooklet = brooklet.restart_with(&variables).await;
    brooklet.until_metric("brooklet_retention_dropped_readings_total", 288.0).await;
    assert!(brooklet.metric("brooklet_retention_last_run_timestamp_seconds").await >= 0.0);
    assert_eq!((raw(&brooklet, "s", old).await, raw(&brooklet, "s", all).await), (0, 289));
    assert_eq!(raw(&brooklet, "kept_s", all).await, 577);
    assert_eq!(statistics(&brooklet, ("s", "1h"), all).await, hours);
    assert_eq!(statistics(&brooklet, ("s", "1d"), all).await, days);
    assert_eq!(statistics(&brooklet, ("kept_s", "1h"), all).await, kept);
    assert_eq!(brooklet.latest("d").await.len(), 2);

    // Late, of a time whose readings are gone.
    import(&brooklet, &[("s", start + 3_601, 1_000), ("kept_s", start + 3_601, 1_000)]).await;
    let late = statistics(&brooklet, ("s", "1h"), all).await;
    assert_eq!((&late[0], &late[2]), (&Value::from(578), &Value::from(1_000.0)));
    let second_hour = |found: &Value| found[5].clone();
    assert_eq!(second_hour(&late)[1], Value::from(7));
    assert_eq!(late, statistics(&brooklet, ("kept_s", "1h"), all).await);
    assert_eq!(raw(&brooklet, "kept_s", old).await, 289);
    // It is shown while it is in memory; the next look moves it.
    let path = format!("/api/data/history?page=1&sensor=s&{}", within(old));
    brooklet.eventually(&path, |page| page["total"] == 0).await;
    assert_eq!(statistics(&brooklet, ("s", "1h"), all).await, late);

    // Nothing comes back with the next start.
    let brooklet = brooklet.restart().await;
    assert_eq!(statistics(&brooklet, ("s", "1h"), all).await, late);
    assert_eq!(raw(&brooklet, "s", all).await, 289);
}

#[tokio::test]
async fn statistics_by_hour_and_day_go_in_their_time() {
    let (brooklet, start) = with_old_readings().await;
    let by_minute = !crate::servers::is_elsewhere();
    let variables = [
        ("RETENTION__RAW", "5d"),
        ("RETENTION__HOURLY", "6d"),
        ("RETENTION__DAILY", "7d"),
        ("RETENTION__MINUTES", if by_minute { "true" } else { "false" }),
        ("RETENTION__INTERVAL", "1s"),
    ];
    let brooklet = brooklet.restart_with(&variables).await;
    brooklet.logged(|line| line["message"] == "what was too old is dropped").await;
    brooklet.until_metric("brooklet_retention_dropped_readings_total", 2.0 * 3.0 * 144.0).await;
    let range = |from: i64, to: i64| (start + from * DAY, start + to * DAY);
    let count = async |bucket: &str, range| {
        let found = statistics(&brooklet, ("s", bucket), range).await;
        (found[0].as_u64().unwrap(), found.as_array().unwrap().len() - 4)
    };
    // The last of the three days has its hours, and minutes; the second its day; the first nothing.
    assert_eq!(count("1h", range(2, 3)).await, (144, 24));
    assert_eq!(count("1m", range(2, 3)).await, (144, if by_minute { 144 } else { 24 }));
    assert_eq!(count("1d", range(1, 3)).await, (288, 2));
    assert_eq!(count("1d", range(0, 1)).await, (0, 0));
    assert_eq!(count("1h", range(3, 9)).await, (145, 25));
}

/// On a server, where a task does it: the first look is at the start.
#[tokio::test]
async fn what_is_there_is_rolled_up_in_the_background() {
    if !crate::servers::is_elsewhere() {
        return;
    }
    let (brooklet, start) = with_old_readings().await;
    let all = (start, start + 5 * DAY);
    let from_rows = statistics(&brooklet, ("s", "1h"), all).await;
    let brooklet = brooklet.restart().await;
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while brooklet.metric("brooklet_rollup_hours_total").await < 2.0 * 4.0 * 24.0 {
        assert!(std::time::Instant::now() < deadline, "nothing is rolled up");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(statistics(&brooklet, ("s", "1h"), all).await, from_rows);
    // Late: counted at once, whatever becomes of its hour.
    import(&brooklet, &[("s", start + 3_601, 1_000)]).await;
    let late = statistics(&brooklet, ("s", "1h"), all).await;
    assert_eq!(late[0], from_rows[0].as_i64().unwrap() + 1);
}
