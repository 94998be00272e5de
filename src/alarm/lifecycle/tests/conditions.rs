use serde_json::json;

use super::*;

fn bench(condition: Value) -> Bench {
    Bench::new(single(condition, json!({})))
}

#[test]
fn above_with_a_deadband() {
    let mut bench = bench(json!({"type": "above", "limit": 30, "deadband": 2}));
    bench.values(&[(0.0, 30.0), (1.0, 30.1), (2.0, 28.5), (3.0, 31.0), (4.0, 28.0), (5.0, 30.0)]);
    bench.gives(&["Raised minor at 1", "Cleared minor at 4"]);
}

#[test]
fn above_with_a_clear_limit_and_without() {
    let mut plain = bench(json!({"type": "above", "limit": 30}));
    plain.values(&[(0.0, 31.0), (1.0, 30.1), (2.0, 30.0), (3.0, 30.2)]);
    plain.gives(&["Raised minor at 0", "Cleared minor at 2", "Raised minor at 3"]);
    let mut clear = bench(json!({"type": "above", "limit": 30, "clear_limit": 25}));
    clear.values(&[(0.0, 31.0), (1.0, 25.1), (2.0, 25.0)]);
    clear.gives(&["Raised minor at 0", "Cleared minor at 2"]);
}

#[test]
fn below_outside_and_inside() {
    let mut below = bench(json!({"type": "below", "limit": 5, "deadband": 1}));
    below.values(&[(0.0, 5.0), (1.0, 4.9), (2.0, 5.9), (3.0, 6.0)]);
    below.gives(&["Raised minor at 1", "Cleared minor at 3"]);
    let mut outside = bench(json!({"type": "outside", "low": 0, "high": 10, "deadband": 1}));
    outside.values(&[(0.0, 10.0), (1.0, 10.5), (2.0, 9.5), (3.0, 9.0), (4.0, -1.0), (5.0, 0.5)]);
    outside.values(&[(6.0, 1.0)]);
    outside.gives(&[
        "Raised minor at 1",
        "Cleared minor at 3",
        "Raised minor at 4",
        "Cleared minor at 6",
    ]);
    let mut inside = bench(json!({"type": "inside", "low": 0, "high": 10, "deadband": 1}));
    inside.values(&[(0.0, 11.0), (1.0, 10.0), (2.0, 11.0), (3.0, 11.1), (4.0, 10.5)]);
    inside.gives(&["Raised minor at 1", "Cleared minor at 3"]);
}

#[test]
fn two_levels_up_and_down() {
    let mut bench = Bench::new(json!({"name": "x", "levels": [
        {"severity": "warning", "condition": {"type": "above", "limit": 30, "deadband": 1}},
        {"severity": "critical", "condition": {"type": "above", "limit": 40, "clear_limit": 38}}]}));
    bench.values(&[(0.0, 31.0), (1.0, 41.0), (2.0, 39.0), (3.0, 38.0), (4.0, 45.0), (5.0, 10.0)]);
    bench.values(&[(6.0, 50.0)]);
    bench.gives(&[
        "Raised warning at 0",
        "Escalated critical at 1",
        "Deescalated warning at 3",
        "Escalated critical at 4",
        "Cleared critical at 5",
        "Raised critical at 6",
    ]);
}

#[test]
fn a_level_below_the_highest_is_noted() {
    let mut bench = Bench::new(json!({"name": "x", "levels": [
        {"severity": "warning", "condition": {"type": "above", "limit": 30}, "on_delay": "5s"},
        {"severity": "critical", "condition": {"type": "above", "limit": 40}}]}));
    bench.values(&[(0.0, 45.0), (6.0, 45.0), (7.0, 35.0), (8.0, 0.0)]);
    bench.gives(&[
        "Raised critical at 0",
        "LevelRaised critical at 5",
        "Deescalated warning at 7",
        "Cleared warning at 8",
    ]);
}

#[test]
fn equals_and_differs_of_values_and_of_the_status() {
    let mut equals = bench(json!({"type": "equals", "value": 3}));
    equals.values(&[(0.0, 2.0), (1.0, 3.0), (2.0, 3.5)]);
    equals.gives(&["Raised minor at 1", "Cleared minor at 2"]);
    let mut differs = bench(json!({"type": "differs", "value": "ok", "from": "status"}));
    assert!(differs.rule.is_per_device() && differs.rule.asks_status());
    for (second, text) in [(0.0, "ok"), (1.0, "jammed"), (2.0, "jammed"), (3.0, "ok")] {
        differs.feed(Input::Status { text, at: at(second) });
    }
    differs.gives(&["Raised minor at 1", "Cleared minor at 3"]);
}

#[test]
fn rate_over_a_window() {
    let mut bench = bench(json!({
        "type": "rate", "above": {"limit": 5, "deadband": 1}, "below": -5, "per": "1m", "window": "60s"
    }));
    // Two readings close together are no trend yet.
    bench.values(&[(0.0, 0.0), (10.0, 10.0)]);
    bench.gives(&[]);
    bench.values(&[(20.0, 20.0), (30.0, 30.0)]);
    bench.gives(&["Raised minor at 30"]);
    bench.values(&[(60.0, 30.0), (89.0, 30.0), (120.0, 30.0), (150.0, 30.0)]);
    bench.gives(&["Cleared minor at 89"]);
    bench.values(&[(180.0, 20.0), (200.0, 0.0)]);
    bench.gives(&["Raised minor at 180"]);
}

#[test]
fn stuck_is_the_same_value_for_long() {
    let mut bench = bench(json!({"type": "stuck", "for": "10s"}));
    bench.values(&[(0.0, 1.0), (5.0, 2.0), (10.0, 2.0), (14.9, 2.0), (15.0, 2.0), (16.0, 2.5)]);
    bench.gives(&["Raised minor at 15", "Cleared minor at 16"]);
}

#[test]
fn aggregates_over_a_window() {
    let mut mean = bench(json!({
        "type": "aggregate", "function": "mean", "window": "10s", "above": {"limit": 5, "deadband": 1}
    }));
    mean.values(&[(0.0, 0.0), (1.0, 9.0), (2.0, 9.0), (10.0, 0.0), (11.0, 0.0)]);
    mean.gives(&["Raised minor at 2", "Cleared minor at 11"]);

    let function = |function: &str, limit: Value| {
        let mut condition = json!({"type": "aggregate", "function": function, "window": "10s"});
        condition.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        bench(condition)
    };
    let mut min = function("min", json!({"above": 3}));
    min.values(&[(0.0, 1.0), (5.0, 4.0), (10.0, 4.0), (12.0, 2.0)]);
    min.gives(&["Raised minor at 10", "Cleared minor at 12"]);
    let mut max = function("max", json!({"outside": {"low": 0, "high": 5}}));
    max.values(&[(0.0, 6.0), (9.0, 1.0), (10.0, 1.0)]);
    max.gives(&["Raised minor at 0", "Cleared minor at 10"]);
    let mut count = function("count", json!({"above": 2}));
    count.values(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (11.0, 0.0)]);
    count.gives(&["Raised minor at 2", "Cleared minor at 11"]);
    let mut stddev = function("stddev", json!({"above": 1}));
    stddev.values(&[(0.0, 0.0), (1.0, 0.0), (2.0, 10.0), (20.0, 1.0), (21.0, 1.0)]);
    stddev.gives(&["Raised minor at 2", "Cleared minor at 21"]);
}

#[test]
fn some_of_the_last_readings() {
    let mut bench = bench(json!({
        "type": "count_of", "n": 2, "m": 3, "condition": {"type": "above", "limit": 5}
    }));
    bench.values(&[(0.0, 9.0), (1.0, 0.0), (2.0, 9.0), (3.0, 0.0), (4.0, 0.0)]);
    bench.gives(&["Raised minor at 2", "Cleared minor at 3"]);
}

#[test]
fn missing_data_by_the_timer_alone() {
    let mut bench = bench(json!({"type": "missing", "for": "60s"}));
    bench.tick(1_000.0).gives(&[]);
    bench.value(1_000.0, 1.0).tick(1_059.9).gives(&[]);
    bench.tick(5_000.0).gives(&["Raised minor at 1060"]);
    bench.value(6_000.0, 1.0).gives(&["Cleared minor at 6000"]);
    assert_eq!(bench.state.next_deadline(), Some(at(6_060.0)));
    bench.value(7_000.0, 1.0).gives(&["Raised minor at 6060", "Cleared minor at 7000"]);
}

#[test]
fn bad_readings_and_late_ones_and_missing_data() {
    let mut bench = bench(json!({"type": "missing", "for": "60s"}));
    bench.value(0.0, 1.0).reading(reading(0, 50.0, None)).tick(100.0).gives(&[]);
    let late = JudgedReading { late: true, event_time: at(1.0), ..reading(0, 105.0, Some(1.0)) };
    bench.reading(late).tick(110.0).gives(&["Raised minor at 110"]);
}

#[test]
fn down_time_is_no_silence() {
    let mut bench = bench(json!({"type": "missing", "for": "60s"}));
    bench.value(0.0, 1.0).feed(Input::Down { from: at(50.0), to: at(1_000.0) });
    bench.tick(1_009.9).gives(&[]);
    bench.tick(1_010.0).gives(&["Raised minor at 1010"]);
    bench.feed(Input::Down { from: at(1_020.0), to: at(1_030.0) }).tick(2_000.0).gives(&[]);
}

#[test]
fn a_silent_device() {
    let mut bench = bench(json!({"type": "silent", "for": "60s"}));
    assert!(bench.rule.is_per_device() && bench.rule.asks_signs());
    bench.feed(Input::Sign { at: at(0.0) }).feed(Input::Sign { at: at(30.0) });
    bench.tick(90.0).gives(&["Raised minor at 90"]);
    bench.feed(Input::Status { text: "ok", at: at(95.0) }).gives(&["Cleared minor at 95"]);
}

#[test]
fn a_device_that_drops() {
    let mut bench = bench(json!({"type": "offline"}));
    assert!(bench.rule.asks_presence());
    for (second, online) in [(0.0, true), (1.0, false), (2.0, false), (3.0, true)] {
        bench.feed(Input::Presence { online, at: at(second) });
    }
    bench.gives(&["Raised minor at 1", "Cleared minor at 3"]);
}

#[test]
fn bad_quality_is_seen_only_by_its_condition() {
    let mut bad = bench(json!({"type": "bad_quality"}));
    bad.value(0.0, 1.0).reading(reading(0, 1.0, None)).value(2.0, 1.0);
    bad.gives(&["Raised minor at 1", "Cleared minor at 2"]);
    let mut above = bench(json!({"type": "above", "limit": 30}));
    above.value(0.0, 31.0).reading(reading(0, 1.0, None));
    let bad = JudgedReading { quality: Quality::Bad, ..reading(0, 2.0, Some(1.0)) };
    let uncertain = JudgedReading { quality: Quality::Uncertain, ..reading(0, 3.0, Some(1.0)) };
    above.reading(bad).gives(&["Raised minor at 0"]);
    above.reading(uncertain).gives(&["Cleared minor at 3"]);
}

#[test]
fn all_of_three_sensors() {
    let mut bench = bench(json!({"type": "all", "conditions": [
        {"sensor": "a", "type": "above", "limit": 10, "deadband": 2},
        {"sensor": "b", "type": "above", "limit": 10},
        {"sensor": "c", "type": "bad_quality"}]}));
    assert_eq!(bench.rule.slot("b"), Some(Slot(1)));
    assert_eq!(bench.rule.slot("d"), None);
    bench.reading(reading(0, 0.0, Some(11.0))).reading(reading(1, 1.0, Some(11.0)));
    bench.gives(&[]);
    bench.reading(reading(2, 2.0, None)).gives(&["Raised minor at 2"]);
    bench.reading(reading(0, 3.0, Some(9.0))).gives(&[]);
    bench.reading(reading(1, 4.0, Some(9.0))).gives(&["Cleared minor at 4"]);
    bench.reading(reading(1, 5.0, Some(11.0))).gives(&[]);
}

#[test]
fn any_of_two() {
    let mut bench = bench(json!({"type": "any", "conditions": [
        {"sensor": "a", "type": "above", "limit": 10}, {"type": "offline"}]}));
    bench.reading(reading(0, 0.0, Some(11.0))).gives(&["Raised minor at 0"]);
    bench.feed(Input::Presence { online: false, at: at(1.0) });
    bench.reading(reading(0, 2.0, Some(1.0))).gives(&[]);
    bench.feed(Input::Presence { online: true, at: at(3.0) }).gives(&["Cleared minor at 3"]);
}
