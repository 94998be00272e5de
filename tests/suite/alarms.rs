//! Alarms end to end: real messages over MQTT, rules of the configuration, the events in the database.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::{
    crash::rounds,
    harness::{Brooklet, PATIENCE},
    wire::Client,
};

/// A row of `alarm_event` with its alarm's rule, device and sensor.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    of: String,
    kind: String,
    at: i64,
    severity: i64,
    value: Option<f64>,
}

const SECOND: i64 = 1_000_000;
const RULES: &str = "ALARMS__RULES";

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn events(brooklet: &Brooklet) -> Vec<Event> {
    let database = Connection::open(brooklet.database()).unwrap();
    let mut statement = database
        .prepare(
            "SELECT a.rule_name || '/' || a.device || coalesce('/' || a.sensor, ''), e.kind, e.at, \
             e.severity, e.value FROM alarm_event e JOIN alarm a ON a.id = e.alarm_id ORDER BY e.id",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        Ok(Event {
            of: row.get(0)?,
            kind: row.get(1)?,
            at: row.get(2)?,
            severity: row.get(3)?,
            value: row.get(4)?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn kinds(brooklet: &Brooklet) -> Vec<String> {
    events(brooklet).into_iter().map(|event| event.kind).collect()
}

async fn until_kinds(brooklet: &Brooklet, wanted: &[&str]) -> Vec<Event> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let events = events(brooklet);
        if events.iter().map(|event| &event.kind).eq(wanted) {
            return events;
        }
        assert!(Instant::now() < deadline, "{events:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn say(client: &mut Client, device: &str, time: i64, value: f64) {
    let payload = format!(r#"{{"t": {value}, "ts": {time}}}"#);
    let acked = client.publish(&format!("devices/{device}/data"), payload).await;
    assert_eq!(acked.reason, 0);
}

const HOT: &str = r#"[{ name = "hot", scope = { sensors = ["t"] }, levels = [
    { severity = "warning", condition = { type = "above", limit = 30, deadband = 1 } } ] }]"#;

#[tokio::test]
async fn noise_around_the_limit_raises_once_and_clears_once() {
    let mut brooklet = Brooklet::with(&[(RULES, HOT)]).await;
    let mut client = brooklet.connect("noise").await;
    let start = now();
    let values = [29.0, 30.2, 29.8, 30.4, 29.1, 30.1, 29.6, 28.9, 29.5, 29.9];
    for (n, value) in values.into_iter().enumerate() {
        say(&mut client, "boiler", start + n as i64 * SECOND, value).await;
    }
    // An acknowledged message is a judged one.
    let events = events(&brooklet);
    let seen: Vec<_> = events.iter().map(|e| (e.kind.as_str(), e.value, e.at)).collect();
    let expected =
        [("raised", Some(30.2), start + SECOND), ("cleared", Some(28.9), start + 7 * SECOND)];
    assert_eq!(seen, expected);
    assert_eq!(brooklet.metric(r#"brooklet_alarms_active{severity="warning"}"#).await, 0.0);
    let raised = brooklet.metric(r#"brooklet_alarm_events_total{kind="raised"}"#).await;
    assert_eq!(raised, 1.0);
    brooklet.stop().await;
}

#[tokio::test]
async fn two_levels_go_up_and_down() {
    let rules = r#"[{ name = "hot", levels = [
        { severity = "warning", condition = { type = "above", limit = 30, deadband = 1 } },
        { severity = "critical", condition = { type = "above", limit = 40, clear_limit = 38 } } ] }]"#;
    let brooklet = Brooklet::with(&[(RULES, rules)]).await;
    let mut client = brooklet.connect("levels").await;
    let start = now();
    for (n, value) in [31.0, 41.0, 39.0, 37.0, 28.0].into_iter().enumerate() {
        say(&mut client, "boiler", start + n as i64 * SECOND, value).await;
    }
    let events = events(&brooklet);
    let seen: Vec<_> = events.iter().map(|e| (e.kind.as_str(), e.severity)).collect();
    assert_eq!(seen, [("raised", 1), ("escalated", 4), ("deescalated", 1), ("cleared", 1)]);
}

#[tokio::test]
async fn a_sensor_that_goes_silent_is_told_on_time_without_a_message() {
    let rules = r#"[{ name = "silent", levels = [
        { severity = "major", condition = { type = "missing", for = "1s" } } ] }]"#;
    let brooklet = Brooklet::with(&[(RULES, rules)]).await;
    let mut client = brooklet.connect("silent").await;
    let before = now();
    say(&mut client, "boiler", before, 1.0).await;
    let after = now();
    let events = until_kinds(&brooklet, &["raised"]).await;
    let at = events[0].at - SECOND;
    assert!((before..=after).contains(&at), "the transition bears the deadline: {at}");
    say(&mut client, "boiler", now(), 1.0).await;
    assert_eq!(kinds(&brooklet), ["raised", "cleared"]);
}

#[tokio::test]
async fn a_device_that_drops_suppresses_what_it_does_not_send() {
    let rules = r#"[
        { name = "gone", levels = [ { severity = "major", condition = { type = "offline" } } ] },
        { name = "missing", levels = [ { severity = "minor", condition = { type = "missing", for = "3s" } } ] }]"#;
    let brooklet = Brooklet::with(&[(RULES, rules), ("DEVICES__OFFLINE_GRACE", "0s")]).await;
    let mut client = brooklet.connect("drops").await;
    say(&mut client, "boiler", now(), 1.0).await;
    drop(client);
    let events = until_kinds(&brooklet, &["raised", "raised"]).await;
    let of: Vec<_> = events.iter().map(|event| event.of.as_str()).collect();
    assert_eq!(of, ["gone/boiler", "missing/boiler/t"]);
    let database = Connection::open(brooklet.database()).unwrap();
    let suppressed = |rule: &str| -> bool {
        let sql = "SELECT suppressed FROM alarm WHERE rule_name = ?1";
        database.query_row(sql, [rule], |row| row.get(0)).unwrap()
    };
    assert!(suppressed("missing") && !suppressed("gone"));
    let mut client = brooklet.connect("drops").await;
    say(&mut client, "boiler", now(), 1.0).await;
    until_kinds(&brooklet, &["raised", "raised", "cleared", "cleared", "unsuppressed"]).await;
}

#[tokio::test]
async fn back_fill_clears_nothing_and_raises_nothing() {
    let brooklet = Brooklet::with(&[(RULES, HOT)]).await;
    let mut client = brooklet.connect("late").await;
    let start = now();
    say(&mut client, "boiler", start, 31.0).await;
    for n in 1..20 {
        say(&mut client, "boiler", start - (100 + n) * SECOND, 20.0).await;
    }
    assert_eq!(kinds(&brooklet), ["raised"]);
    say(&mut client, "boiler", start + SECOND, 20.0).await;
    say(&mut client, "boiler", start - 90 * SECOND, 50.0).await;
    assert_eq!(kinds(&brooklet), ["raised", "cleared"]);
}

#[tokio::test]
async fn durations_go_on_across_a_restart() {
    let rules = r#"[{ name = "hot", on_delay = "4s", levels = [
        { severity = "warning", condition = { type = "above", limit = 30 } } ] }]"#;
    let mut brooklet = Brooklet::with(&[(RULES, rules)]).await;
    let mut client = brooklet.connect("restart").await;
    let start = now();
    say(&mut client, "boiler", start, 31.0).await;
    brooklet.kill();
    let mut brooklet = brooklet.restart().await;
    assert!(kinds(&brooklet).is_empty());
    let events = until_kinds(&brooklet, &["raised"]).await;
    assert_eq!(events[0].at, start + 4 * SECOND);
    brooklet.kill();
    let brooklet = brooklet.restart().await;
    let mut client = brooklet.connect("restart").await;
    say(&mut client, "boiler", now(), 32.0).await;
    assert_eq!(kinds(&brooklet), ["raised"], "nothing is told twice");
    say(&mut client, "boiler", now(), 29.0).await;
    assert_eq!(kinds(&brooklet), ["raised", "cleared"]);
}

#[tokio::test]
async fn a_rule_that_the_configuration_loses_clears_its_alarms() {
    let mut brooklet = Brooklet::with(&[(RULES, HOT)]).await;
    let mut client = brooklet.connect("lost").await;
    say(&mut client, "boiler", now(), 31.0).await;
    brooklet.stop().await;
    let brooklet = brooklet.restart_with(&[(RULES, "[]")]).await;
    assert_eq!(kinds(&brooklet), ["raised", "rule_disabled"]);
}

const CRASH_RULES: &str = r#"[
    { name = "plain", cooldown = "0s", levels = [
      { severity = "warning", condition = { type = "above", limit = 60, deadband = 5 } },
      { severity = "critical", condition = { type = "above", limit = 90, deadband = 5 } } ] },
    { name = "delayed", on_delay = "90s", off_delay = "60s", cooldown = "0s", levels = [
      { severity = "minor", condition = { type = "below", limit = 40 } } ] },
    { name = "mean", cooldown = "0s", levels = [
      { severity = "major", condition = { type = "aggregate", function = "mean", window = "120s", above = { limit = 55, deadband = 4 } } } ] },
    { name = "often", cooldown = "0s", levels = [
      { severity = "info", condition = { type = "count_of", n = 3, m = 5, condition = { type = "above", limit = 70 } } } ] },
    { name = "steep", cooldown = "0s", levels = [
      { severity = "info", condition = { type = "rate", window = "60s", per = "1m", above = 30 } } ] },
    { name = "stuck", cooldown = "0s", levels = [
      { severity = "info", condition = { type = "stuck", for = "60s" } } ] }]"#;
const TARGETS: &str = r#"[{ name = "log", channel = { type = "log" } }]"#;

/// Two overlaid waves with flat stretches; 15 s apart.
fn wave(n: i64) -> f64 {
    let x = (if n % 50 > 40 { n - n % 10 } else { n }) as f64;
    (50.0 + 35.0 * (x / 7.0).sin() + 15.0 * (x / 1.7).cos()).round()
}

const READINGS: i64 = 600;

/// Sends the wave, killing the broker now and then; each reading until it is acknowledged.
async fn events_of_wave(kills: u64, start: i64) -> (Vec<Event>, Vec<(i64, String)>) {
    let mut brooklet =
        Brooklet::with(&[(RULES, CRASH_RULES), ("NOTIFICATIONS__TARGETS", TARGETS)]).await;
    let mut client = brooklet.connect("wave").await;
    let each = kills.checked_add(1).map_or(READINGS, |parts| READINGS / parts as i64);
    for n in 0..READINGS {
        let payload = format!(r#"{{"t": {}, "ts": {}}}"#, wave(n), start + n * 15 * SECOND);
        if n > 0 && kills > 0 && n % each == 0 {
            let packet = client.publish_packet(0x32, "devices/boiler/data", 9, payload.as_bytes());
            client.try_send(&packet).await;
            // The moment of the kill is to be any: before, in or after the commit.
            tokio::time::sleep(Duration::from_millis((n as u64 * 7919) % 12)).await;
            brooklet.kill();
            brooklet = brooklet.restart().await;
            client = brooklet.connect("wave").await;
        }
        let acked = client.publish("devices/boiler/data", payload).await;
        assert_eq!(acked.reason, 0);
    }
    brooklet.stop().await;
    let database = Connection::open(brooklet.database()).unwrap();
    let sql = "SELECT alarm_id, kind FROM notification ORDER BY alarm_id, id";
    let mut statement = database.prepare(sql).unwrap();
    let told = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    (events(&brooklet), told.map(Result::unwrap).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_changes_no_transition_and_no_notification() {
    let start = now() - READINGS * 15 * SECOND;
    let (events, told) = events_of_wave(0, start).await;
    for rule in ["plain", "delayed", "mean", "often", "steep", "stuck"] {
        let count = events.iter().filter(|event| event.of.starts_with(rule)).count();
        assert!(count > 4, "{rule} has only {count} events");
    }
    assert!(told.len() > 20, "{}", told.len());
    let (after_kills, told_after_kills) = events_of_wave(rounds() * 2, start).await;
    for (place, (one, other)) in events.iter().zip(&after_kills).enumerate() {
        assert_eq!(one, other, "event {place}");
    }
    assert_eq!(events.len(), after_kills.len());
    assert_eq!(told, told_after_kills);
}
