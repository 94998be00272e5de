use serde_json::json;

use super::*;

fn above(more: Value) -> Bench {
    Bench::new(single(json!({"type": "above", "limit": 30, "deadband": 1}), more))
}

#[test]
fn on_delay_by_a_later_reading_or_by_the_timer() {
    let mut bench = above(json!({"on_delay": "10s"}));
    bench.values(&[(0.0, 31.0), (9.999, 31.0), (12.0, 31.0)]);
    bench.gives(&["Raised minor at 10"]);
    let mut bench = above(json!({"on_delay": "10s"}));
    bench.value(0.0, 31.0).tick(9.999_999).gives(&[]);
    assert_eq!(bench.state.next_deadline(), Some(at(10.0)));
    bench.tick(60.0).gives(&["Raised minor at 10"]);
}

#[test]
fn on_delay_begins_anew_when_the_value_is_back_at_the_limit() {
    let mut bench = above(json!({"on_delay": "10s"}));
    bench.values(&[(0.0, 31.0), (5.0, 30.0), (6.0, 31.0)]).tick(15.999_999).gives(&[]);
    bench.tick(16.0).gives(&["Raised minor at 16"]);
}

#[test]
fn on_delay_counts_event_time_when_data_comes_in_bursts() {
    let mut bench = above(json!({"on_delay": "10s"}));
    for second in [0.0, 5.0, 10.0, 11.0] {
        let event_time = at(second);
        let received_at = at(100.0 + second / 1_000.0);
        bench.reading(JudgedReading { event_time, received_at, ..reading(0, 0.0, Some(31.0)) });
    }
    bench.gives(&["Raised minor at 10 (100.01)"]);
    // The reading that shows that the delay has passed is judged after it.
    let mut bench = above(json!({"on_delay": "10s"}));
    bench.value(0.0, 31.0);
    let event_time = at(10.0);
    bench.reading(JudgedReading { event_time, ..reading(0, 9.0, Some(0.0)) });
    bench.gives(&["Raised minor at 9", "Cleared minor at 10 (9)"]);
}

#[test]
fn off_delay_mirrors_it() {
    let mut bench = above(json!({"off_delay": "10s"}));
    bench.values(&[(0.0, 31.0), (1.0, 29.0), (5.0, 29.5), (6.0, 29.0)]).tick(15.9);
    bench.gives(&["Raised minor at 0"]);
    bench.tick(16.0).gives(&["Cleared minor at 16"]);
}

#[test]
fn levels_have_their_own_delays() {
    let mut bench = Bench::new(json!({"name": "x", "on_delay": "5s", "levels": [
        {"severity": "warning", "condition": {"type": "above", "limit": 30}},
        {"severity": "critical", "condition": {"type": "above", "limit": 40}, "on_delay": "20s", "off_delay": "3s"}]}));
    bench.value(0.0, 50.0).tick(30.0).value(31.0, 35.0).tick(40.0);
    bench.gives(&["Raised warning at 5", "Escalated critical at 20", "Deescalated warning at 34"]);
}

#[test]
fn late_readings_are_judged_only_when_asked_for() {
    let late = JudgedReading { late: true, event_time: at(-500.0), ..reading(0, 1.0, Some(99.0)) };
    let mut bench = above(json!({}));
    bench.value(0.0, 0.0).reading(late).gives(&[]);
    let mut bench = above(json!({"judges_late": true}));
    bench.value(0.0, 0.0).reading(late).gives(&["Raised minor at -500 (1)"]);
}

#[test]
fn nothing_is_raised_outside_the_schedule() {
    // The readings begin at 06:30.
    let hours = json!({"schedule": {"from": "06:31", "to": "06:32"}});
    let mut bench = above(hours.clone());
    bench.value(0.0, 31.0).gives(&[]);
    bench.tick(100.0).gives(&["Raised minor at 60"]);
    bench.value(130.0, 29.0).gives(&["Cleared minor at 130"]);
    bench.value(140.0, 31.0).tick(1_000.0).gives(&[]);
    // A delay that the end of the hours cuts off is not taken up again.
    let mut bench = above(json!({"schedule": hours["schedule"], "on_delay": "10s"}));
    bench.value(115.0, 31.0).tick(1_000.0).gives(&[]);
}

#[test]
fn a_forced_clear_lasts_until_the_condition_was_false() {
    let mut bench = above(json!({}));
    bench.value(0.0, 31.0).feed(Input::Clear { at: at(1.0) });
    bench.values(&[(2.0, 32.0), (3.0, 30.5), (4.0, 30.0), (5.0, 31.0)]);
    bench.gives(&[
        "Raised minor at 0",
        "ForcedClear minor at 1",
        "Returned minor at 4",
        "Raised minor at 5",
    ]);
}

#[test]
fn an_edited_rule_keeps_the_phases_of_severities_that_exist() {
    let rule = |limit: f64| {
        compile(json!({"name": "x", "levels": [
            {"severity": "warning", "condition": {"type": "above", "limit": limit}},
            {"severity": "critical", "condition": {"type": "above", "limit": 40}}]}))
    };
    let (first, mut out) = (rule(30.0), Vec::new());
    let mut state = State::new(&first);
    step(&first, &mut state, Input::Reading(reading(0, 0.0, Some(50.0))), &mut out);
    let resume = out.pop().unwrap().resume;
    let without_critical = compile(single(json!({"type": "above", "limit": 35}), json!({})));
    let edited = rule(20.0);
    for (rule, expected) in [(&edited, vec![]), (&without_critical, vec!["Cleared critical at 9"])]
    {
        let mut state = State::begin(rule, Some(&resume), at(9.0));
        step(rule, &mut state, Input::Reading(reading(0, 0.0, Some(50.0))), &mut out);
        step(rule, &mut state, Input::Tick { watermark: at(9.0) }, &mut out);
        assert_eq!(out.drain(..).map(|t| line(&t)).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_rule_that_begins_sees_at_once_what_is_missing() {
    let rule = compile(single(json!({"type": "missing", "for": "60s"}), json!({})));
    let mut out = Vec::new();
    let mut state = State::begin(&rule, None, at(1_000.0));
    step(&rule, &mut state, Input::Reading(reading(0, 0.0, Some(1.0))), &mut out);
    step(&rule, &mut state, Input::Tick { watermark: at(1_000.0) }, &mut out);
    assert_eq!(out.iter().map(line).collect::<Vec<_>>(), ["Raised minor at 1000"]);
}

#[test]
fn transitions_say_which_reading_did_it_and_the_peak() {
    let rule = compile(single(json!({"type": "above", "limit": 30}), json!({"on_delay": "5s"})));
    let (mut state, mut out) = (State::new(&rule), Vec::new());
    for (second, value) in [(-1.0, 20.0), (0.0, 31.0), (2.0, 33.0), (10.0, 35.0), (11.0, 1.0)] {
        step(&rule, &mut state, Input::Reading(reading(0, second, Some(value))), &mut out);
    }
    let facts: Vec<_> = out.iter().map(|t| (t.value, t.event_time.map(seconds), t.peak)).collect();
    assert_eq!(facts, [(Some(33.0), Some(2.0), Some(33.0)), (Some(1.0), Some(11.0), Some(35.0))]);
}
