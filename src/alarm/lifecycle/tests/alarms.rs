//! From transitions and commands to the record, its events and what is told.

use serde_json::json;

use super::{desk::Desk, *};
use crate::{alarm::rule::Severity, telemetry::SensorId};

/// Warning above 30, critical above 40.
fn desk(more: Value) -> Desk {
    let mut rule = json!({"name": "Too hot", "levels": [
        {"severity": "warning", "condition": {"type": "above", "limit": 30, "deadband": 1}},
        {"severity": "critical", "condition": {"type": "above", "limit": 40}}],
        "labels": {"team": "heating"},
        "message": "{device} {sensor}: {value} {unit}, limit {limit} ({severity})"});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Desk::new(rule)
}

#[test]
fn a_record_says_what_raised_it() {
    let mut desk = desk(json!({}));
    desk.values(&[(0.0, 20.0), (5.0, 31.5)]);
    assert!(desk.last.is_started && desk.last.is_changed);
    let record = desk.record();
    assert_eq!((record.id, record.rule_id, record.rule_version), (0, 7, 3));
    assert_eq!((record.rule_name.as_str(), record.device.as_str()), ("Too hot", "boiler-1"));
    assert_eq!(record.sensor, Some((SensorId(4), desk.sensor.clone())));
    assert!(record.active && !record.acknowledged && !record.closed && record.notified);
    assert_eq!((record.severity, record.highest_severity), (Severity::Warning, Severity::Warning));
    assert_eq!((record.raised_at, record.arrival, record.cleared_at), (at(5.0), at(5.0), None));
    assert_eq!((record.value, record.event_time), (Some(31.5), Some(at(5.0))));
    assert_eq!((record.peak, record.occurrences), (Some(31.5), 1));
    assert_eq!(record.message, "boiler-1 temperature: 31.5 °C, limit 30 (warning)");
    assert_eq!(record.labels["team"], "heating");

    desk.values(&[(6.0, 45.0), (7.0, 50.0), (8.0, 35.0)]);
    assert!(!desk.last.is_started);
    let record = desk.record();
    assert_eq!((record.severity, record.highest_severity), (Severity::Warning, Severity::Critical));
    assert_eq!((record.value, record.peak), (Some(35.0), Some(50.0)));
    assert_eq!(record.message, "boiler-1 temperature: 35 °C, limit 30 (warning)");
    desk.values(&[(9.0, 29.0)]);
    let record = desk.record();
    assert!(!record.active && !record.closed && !record.notified);
    assert_eq!((record.cleared_at, record.raised_at), (Some(at(9.0)), at(5.0)));
    desk.gives(
        &[
            "raised warning at 5",
            "escalated critical at 6",
            "deescalated warning at 8",
            "cleared warning at 9",
        ],
        &["raised warning at 5", "escalated critical at 6", "cleared warning at 9"],
    );
}

#[test]
fn raised_again_it_is_the_same_alarm_until_it_is_closed() {
    let mut desk = desk(json!({"cooldown": "0s"}));
    desk.values(&[(0.0, 31.0), (1.0, 20.0), (2.0, 31.0)]);
    assert_eq!((desk.record().occurrences, desk.record().raised_at), (2, at(2.0)));
    assert_eq!(desk.record().cleared_at, None);
    desk.ok(3.0, Command::Acknowledge).values(&[(4.0, 20.0)]);
    assert!(desk.record().closed);
    let event = desk.last.events.last().unwrap();
    assert_eq!((event.kind, event.actor.as_deref()), (EventKind::Cleared, None));
    desk.values(&[(5.0, 33.0)]);
    assert!(desk.last.is_started);
    let record = desk.record();
    assert_eq!((record.occurrences, record.peak), (1, Some(33.0)));
    assert!(record.active && !record.acknowledged && record.acknowledged_by.is_none());
}

#[test]
fn acknowledged_after_the_clear_closes_too() {
    let mut desk = desk(json!({}));
    desk.values(&[(0.0, 31.0), (1.0, 20.0)]).ok(2.0, Command::Acknowledge);
    let record = desk.record();
    assert!(record.closed && record.acknowledged);
    assert_eq!(
        (record.acknowledged_at, record.acknowledged_by.as_deref()),
        (Some(at(2.0)), Some("ann"))
    );
    assert_eq!(record.note.as_deref(), Some("seen"));
    let event = desk.last.events.last().unwrap();
    assert_eq!((event.actor.as_deref(), event.note.as_deref()), (Some("ann"), Some("seen")));
}

#[test]
fn commands_that_do_not_fit_are_refused() {
    use Command::{
        Acknowledge, PutInService, Reset, Shelve, TakeOutOfService, Unacknowledge, Unshelve,
    };
    let mut desk = desk(json!({"latching": true}));
    assert_eq!(desk.command(0.0, Acknowledge), Err(CommandError::NoAlarm));
    desk.values(&[(0.0, 31.0)]);
    let before = desk.alarm.clone();
    for (command, error) in [
        (Unacknowledge, CommandError::NotAcknowledged),
        (Reset, CommandError::NotLatched),
        (Shelve { until: at(1.0) }, CommandError::ShelvedInPast),
        (Unshelve, CommandError::NotShelved),
        (PutInService, CommandError::InService),
    ] {
        assert_eq!(desk.command(1.0, command), Err(error));
        assert_eq!(desk.alarm, before);
    }
    desk.ok(2.0, Acknowledge).ok(2.0, TakeOutOfService);
    assert_eq!(desk.command(3.0, Acknowledge), Err(CommandError::AlreadyAcknowledged));
    assert_eq!(desk.command(3.0, TakeOutOfService), Err(CommandError::AlreadyOutOfService));
    desk.ok(4.0, PutInService).values(&[(5.0, 20.0)]).ok(6.0, Reset);
    assert!(desk.record().closed);
    assert_eq!(desk.command(7.0, Unacknowledge), Err(CommandError::Closed));
    assert_eq!(desk.command(7.0, Shelve { until: at(90.0) }), Err(CommandError::Closed));
}

#[test]
fn cleared_by_an_operator_it_comes_back_only_after_the_condition_was_false() {
    let mut desk = desk(json!({"cooldown": "0s"}));
    desk.values(&[(0.0, 31.0)]).clear_at(at(1.0));
    assert!(!desk.record().active);
    assert_eq!(desk.last.events[0].actor.as_deref(), Some("ann"));
    desk.values(&[(2.0, 35.0), (3.0, 20.0), (4.0, 31.0)]);
    desk.gives(
        &[
            "raised warning at 0",
            "forced_clear warning at 1",
            "returned warning at 3",
            "raised warning at 4",
        ],
        &["raised warning at 0", "cleared warning at 1", "raised warning at 4"],
    );
}

#[test]
fn the_peak_is_that_of_the_alarm_whoever_ends_it() {
    let mut desk = desk(json!({}));
    desk.values(&[(0.0, 31.0), (1.0, 37.0), (2.0, 32.0)]).clear_at(at(3.0));
    assert_eq!(desk.record().peak, Some(37.0));
    // What is read before the condition was gone once is of no alarm.
    desk.values(&[(4.0, 39.0), (5.0, 20.0)]);
    assert_eq!(desk.record().peak, Some(37.0));
    desk.values(&[(6.0, 31.0), (7.0, 38.0)]);
    let worst = desk.state.worst(&desk.rule);
    desk.ok(8.0, Command::DisableRule { worst });
    assert_eq!((worst, desk.record().peak), (Some(38.0), Some(38.0)));

    let mut desk = self::desk(json!({"latching": true, "levels": [
        {"severity": "warning", "condition": {"type": "below", "limit": 10}}]}));
    desk.values(&[(0.0, 9.0), (1.0, 7.0), (2.0, 8.0), (3.0, 12.0), (4.0, 11.0)]).clear_at(at(5.0));
    assert_eq!(desk.record().peak, Some(7.0));
}

#[test]
fn latching_stays_until_it_is_reset() {
    let mut desk = desk(json!({"latching": true}));
    desk.values(&[(0.0, 31.0), (1.0, 20.0)]).tick(1_000.0);
    assert!(desk.record().active && desk.record().latched);
    // It comes back, and the reset has to wait.
    desk.values(&[(1_001.0, 31.0)]);
    assert!(!desk.record().latched && desk.record().occurrences == 2);
    assert_eq!(desk.command(1_002.0, Command::Reset), Err(CommandError::NotLatched));
    desk.values(&[(1_003.0, 20.0)]).ok(1_004.0, Command::Reset);
    assert!(!desk.record().active && !desk.record().latched);
    assert_eq!(desk.record().cleared_at, Some(at(1_004.0)));
    desk.gives(
        &[
            "raised warning at 0",
            "latched warning at 1",
            "raised warning at 1001",
            "latched warning at 1003",
            "reset warning at 1004",
        ],
        &["raised warning at 0", "cleared warning at 1004"],
    );
}

#[test]
fn the_cooldown_holds_back_what_may_still_end() {
    let mut desk = desk(json!({"cooldown": "60s"}));
    desk.values(&[(0.0, 31.0), (10.0, 20.0)]);
    // Raised and over within the cooldown: never told.
    desk.values(&[(20.0, 31.0), (30.0, 20.0)]);
    desk.values(&[(40.0, 31.0)]);
    assert_eq!(desk.alarm.next_deadline(&desk.policy), Some(at(70.0)));
    assert!(!desk.record().notified);
    desk.tick(69.9);
    let told = ["raised warning at 0", "cleared warning at 10"];
    assert_eq!(std::mem::take(&mut desk.notices), told);
    desk.tick(500.0);
    assert_eq!(std::mem::take(&mut desk.notices), ["raised warning at 70"]);
    // It goes on from one alarm to the next.
    desk.values(&[(510.0, 20.0)]).ok(511.0, Command::Acknowledge);
    assert!(desk.record().closed);
    desk.values(&[(512.0, 31.0)]).tick(600.0);
    assert_eq!(desk.notices, ["cleared warning at 510", "raised warning at 570"]);
}

#[test]
fn an_escalation_does_not_wait() {
    let mut desk = desk(json!({"cooldown": "60s"}));
    desk.values(&[(0.0, 31.0), (1.0, 41.0), (2.0, 35.0), (3.0, 41.0)]).tick(1_000.0);
    // To a severity that it had before, it does.
    let notices = ["raised warning at 0", "escalated critical at 1", "escalated critical at 61"];
    assert_eq!(desk.notices, notices);
}

/// The cooldown is about what was told within it, not about what an alarm had long ago.
#[test]
fn a_severity_of_long_ago_does_not_hold_back_an_escalation() {
    let mut desk = desk(json!({"cooldown": "1h"}));
    desk.values(&[(0.0, 45.0), (10.0, 20.0), (8_000.0, 31.0), (8_010.0, 41.0)]).tick(8_020.0);
    let notices = [
        "raised critical at 0",
        "cleared critical at 10",
        "raised warning at 8000",
        "escalated critical at 8010",
    ];
    assert_eq!(std::mem::take(&mut desk.notices), notices);
    // Told just now: it waits, and is not told at all if it is over by then.
    desk.values(&[(8_030.0, 35.0), (8_040.0, 41.0), (8_050.0, 35.0), (8_060.0, 41.0)]);
    desk.tick(11_609.0);
    assert!(desk.notices.is_empty());
    desk.tick(11_611.0).values(&[(11_620.0, 35.0), (11_630.0, 41.0), (11_640.0, 35.0)]);
    desk.tick(90_000.0);
    assert_eq!(desk.notices, ["escalated critical at 11610"]);
}

#[test]
fn repeated_while_active_and_not_acknowledged() {
    let mut desk = desk(json!({"repeat": "1m"}));
    desk.values(&[(0.0, 31.0)]).tick(130.0).ok(140.0, Command::Acknowledge).tick(1_000.0);
    let notices = ["raised warning at 0", "repeated warning at 60", "repeated warning at 120"];
    assert_eq!(std::mem::take(&mut desk.notices), notices);
    desk.ok(1_010.0, Command::Unacknowledge).tick(1_069.0).values(&[(1_069.5, 20.0)]).tick(2_000.0);
    assert_eq!(desk.notices, ["repeated warning at 1010", "cleared warning at 1069.5"]);
}

#[test]
fn shelving_ends_by_its_timer() {
    let mut desk = desk(json!({"repeat": "10s"}));
    desk.values(&[(0.0, 31.0)]).ok(1.0, Command::Shelve { until: at(100.0) });
    desk.values(&[(2.0, 41.0)]).tick(99.9);
    assert_eq!(desk.alarm.next_deadline(&desk.policy), Some(at(100.0)));
    desk.gives(
        &["raised warning at 0", "shelved warning at 1", "escalated critical at 2"],
        &["raised warning at 0"],
    );
    desk.tick(105.0);
    desk.gives(&["shelve_expired critical at 100"], &["repeated critical at 100"]);
    // Raised and over while it is shelved: nothing is told of it.
    desk.values(&[(106.0, 20.0)]).ok(107.0, Command::Shelve { until: at(900.0) });
    desk.values(&[(200.0, 31.0), (201.0, 20.0)]).ok(300.0, Command::Unshelve).tick(2_000.0);
    assert_eq!(desk.notices, ["cleared critical at 106"]);
}

#[test]
fn shelving_outlives_the_alarm() {
    let mut desk = desk(json!({}));
    desk.values(&[(0.0, 31.0)]).ok(1.0, Command::Shelve { until: at(100.0) });
    desk.ok(2.0, Command::Acknowledge).values(&[(3.0, 20.0), (50.0, 31.0)]).tick(99.0);
    assert!(desk.record().is_quiet() && desk.record().occurrences == 1);
    // Who heard of the first hears that it is over: nothing else would ever say so.
    assert_eq!(desk.notices, ["raised warning at 0", "cleared warning at 3"]);
    desk.tick(100.0);
    assert_eq!(desk.notices[2..], ["raised warning at 100"]);
}

#[test]
fn suppressed_alarms_are_kept_and_told_afterwards() {
    let mut desk = desk(json!({}));
    desk.suppressed = true;
    desk.values(&[(0.0, 31.0)]).tick(1_000.0);
    assert!(desk.record().active && desk.record().suppressed && !desk.record().notified);
    desk.gives(&["raised warning at 0"], &[]);
    desk.ok(1_001.0, Command::Unsuppress).ok(1_002.0, Command::Unsuppress);
    desk.gives(&["unsuppressed warning at 1001"], &["raised warning at 1001"]);
    // Over before the suppression ends: the raise was told, so the end is.
    desk.ok(1_003.0, Command::Suppress).values(&[(1_004.0, 20.0)]).tick(1_010.0);
    desk.gives(&["suppressed warning at 1003", "cleared warning at 1004"], &[]);
    desk.ok(1_020.0, Command::Unsuppress);
    desk.gives(&["unsuppressed warning at 1020"], &["cleared warning at 1020"]);
}

#[test]
fn out_of_service_lasts_until_it_is_put_back() {
    let mut desk = desk(json!({}));
    desk.values(&[(0.0, 31.0)]).ok(1.0, Command::TakeOutOfService);
    desk.values(&[(2.0, 20.0)]).ok(3.0, Command::Acknowledge).values(&[(4.0, 31.0)]).tick(500.0);
    assert!(desk.record().out_of_service);
    assert_eq!(desk.notices, ["raised warning at 0", "cleared warning at 3"]);
    desk.ok(501.0, Command::PutInService);
    assert_eq!(desk.notices[2..], ["raised warning at 501"]);
}

#[test]
fn what_was_never_told_ends_without_a_word() {
    let mut desk = desk(json!({}));
    desk.suppressed = true;
    desk.values(&[(0.0, 31.0)]).ok(1.0, Command::Acknowledge).values(&[(2.0, 20.0)]);
    assert!(desk.record().closed);
    desk.values(&[(3.0, 31.0), (4.0, 20.0)]).ok(5.0, Command::Acknowledge).tick(500.0);
    assert!(desk.record().closed && desk.notices.is_empty());
}

const DISABLE: Command<'_> = Command::DisableRule { worst: None };

#[test]
fn a_disabled_rule_clears_its_alarm() {
    let mut desk = desk(json!({"latching": true}));
    desk.values(&[(0.0, 31.0)]).ok(1.0, DISABLE).ok(2.0, DISABLE);
    assert!(!desk.record().active && desk.record().resume().levels.is_empty());
    desk.gives(
        &["raised warning at 0", "rule_disabled warning at 1"],
        &["raised warning at 0", "cleared warning at 1"],
    );
}

#[test]
fn progress_survives_its_json() {
    let mut desk = desk(json!({"on_delay": "5s"}));
    desk.values(&[(0.0, 31.0), (3.0, 45.0), (6.0, 45.0)]);
    let json = serde_json::to_string(&desk.record().progress).unwrap();
    assert_eq!(serde_json::from_str::<Progress>(&json).unwrap(), desk.record().progress);
    assert!(
        json.contains("\"phase\":\"pending\"") && json.contains("\"told\":\"warning\""),
        "{json}"
    );
}

#[test]
fn repeats_that_were_due_while_the_broker_was_down_are_told_once() {
    let mut desk = desk(json!({"repeat": "1m"}));
    desk.values(&[(0.0, 31.0)]).tick(70.0);
    desk.apply(Change::Down { from: at(125.0), to: at(1_000.0) }).unwrap();
    let notices = [
        "raised warning at 0",
        "repeated warning at 60",
        "repeated warning at 120",
        "repeated warning at 960",
    ];
    assert_eq!(std::mem::take(&mut desk.notices), notices);
    desk.tick(1_021.0);
    assert_eq!(std::mem::take(&mut desk.notices), ["repeated warning at 1020"]);
    // The end of shelving keeps its time.
    desk.ok(1_030.0, Command::Shelve { until: at(1_100.0) });
    desk.apply(Change::Down { from: at(1_040.0), to: at(2_000.0) }).unwrap();
    assert_eq!(desk.notices, ["repeated warning at 1100", "repeated warning at 2000"]);
}
