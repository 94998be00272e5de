//! A broker that stops at any moment goes on as if it had not: examples, and the property.

use proptest::prelude::*;
use serde_json::json;

use super::{
    world::{Happening, drafts, end, feed, history, judge, rules},
    *,
};

/// What [`Horizon`] asks for of `history`, and no more.
fn horizon(rule: &CompiledRule, history: &[Happening], until: Timestamp) -> Vec<Input<'static>> {
    let micros = rule.horizon().micros;
    let base = until.plus_micros(-micros);
    let old = history.partition_point(|happening| happening.start() <= base);
    let (before, after) = history.split_at(old);
    let inputs = before.iter().flat_map(|happening| happening.inputs(rule));
    let inputs: Vec<Input<'_>> = inputs.collect();
    let readings: Vec<JudgedReading> = inputs.iter().filter_map(as_reading).collect();
    let slots = [0, 1].map(|slot| oldest_needed(rule, &readings, Slot(slot), micros));
    let status = since(&inputs, |input| match input {
        Input::Status { text, .. } => Some(*text),
        _ => None,
    });
    let presence = since(&inputs, |input| match input {
        Input::Presence { online, .. } => Some(*online),
        _ => None,
    });
    let sign = inputs.iter().rposition(|input| is_sign(input)).filter(|_| rule.asks_signs());
    let mut fed = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let is_needed = match input {
            Input::Reading(reading) => {
                slots[usize::from(reading.sensor.0)].is_some_and(|from| reading.received_at >= from)
            }
            Input::Down { .. } => true,
            _ => status == Some(index) || presence == Some(index),
        };
        match input {
            input if is_needed => fed.push(*input),
            Input::Sign { at } | Input::Status { at, .. } if sign == Some(index) => {
                fed.push(Input::Sign { at: *at });
            }
            Input::Reading(reading) if sign == Some(index) => {
                fed.push(Input::Sign { at: reading.received_at });
            }
            _ => {}
        }
    }
    fed.extend(after.iter().flat_map(|happening| happening.inputs(rule)));
    fed
}

/// The first of the last run of equal ones.
fn since<'a, T: PartialEq>(
    inputs: &[Input<'a>],
    told: impl Fn(&Input<'a>) -> Option<T>,
) -> Option<usize> {
    let mut found: Option<(usize, T)> = None;
    for (index, input) in inputs.iter().enumerate() {
        if let Some(told) = told(input)
            && found.as_ref().is_none_or(|(_, known)| *known != told)
        {
            found = Some((index, told));
        }
    }
    found.map(|(index, _)| index)
}

fn as_reading(input: &Input<'_>) -> Option<JudgedReading> {
    match input {
        Input::Reading(reading) => Some(*reading),
        _ => None,
    }
}

fn is_sign(input: &Input<'_>) -> bool {
    matches!(input, Input::Sign { .. } | Input::Status { .. } | Input::Reading(_))
}

/// The arrival time from which on a sensor's readings are needed.
fn oldest_needed(
    rule: &CompiledRule,
    readings: &[JudgedReading],
    slot: Slot,
    micros: i64,
) -> Option<Timestamp> {
    let is_fresh =
        |reading: &&JudgedReading| reading.sensor == slot && (!reading.late || rule.judges_late);
    let fresh: Vec<_> = readings.iter().filter(is_fresh).collect();
    let usable: Vec<_> = fresh.iter().filter(|reading| reading.value.is_some()).collect();
    let newest = usable.iter().map(|reading| reading.event_time).max();
    let is_recent = |reading: &JudgedReading| {
        newest.is_some_and(|newest| newest.micros_since(reading.event_time) < micros)
    };
    let recent = usable.iter().filter(|reading| is_recent(reading)).copied();
    let more = usable.iter().rev().filter(|reading| !is_recent(reading)).copied();
    let more = more.take(rule.horizon().readings as usize);
    let needed = fresh.last().into_iter().chain(recent).chain(more);
    needed.map(|reading| reading.received_at).min()
}

/// Where a run ends: before which happening, how far into the pause before it the last tick came,
/// and how much earlier the time is that the broker is known to have judged everything until.
#[derive(Debug, Clone, Copy)]
struct Stop {
    index: prop::sample::Index,
    part: f64,
    behind: i64,
}

fn stops() -> impl Strategy<Value = Vec<Stop>> {
    let behind = prop_oneof![Just(0_i64), 0..20_000_000_i64];
    let stop = (any::<prop::sample::Index>(), prop_oneof![Just(0.0), 0.0..=1.0], behind);
    let stop = stop.prop_map(|(index, part, behind)| Stop { index, part, behind });
    prop::collection::vec(stop, 1..5)
}

/// Judges what is left of a history from `state` on, with stops in between.
fn judge_in_runs(
    rule: &CompiledRule,
    (begun, mut state, mut done): (Timestamp, State, usize),
    history: &[Happening],
    stops: &[Stop],
) -> Result<Vec<Transition>, TestCaseError> {
    let mut out: Vec<Transition> = Vec::new();
    let mut stops: Vec<_> =
        stops.iter().map(|stop| (stop.index.index(history.len() + 1), *stop)).collect();
    stops.sort_by(|one, other| (one.0, one.1.part).partial_cmp(&(other.0, other.1.part)).unwrap());
    for (index, stop) in stops {
        if index < done {
            continue;
        }
        out.extend(feed(
            rule,
            &mut state,
            history[done..index].iter().flat_map(|h| h.inputs(rule)),
        ));
        done = index;
        let from = index.checked_sub(1).map_or(at(0.0), |last| history[last].end());
        let from = from.max(begun);
        let to = history.get(index).map_or(from.plus_micros(60_000_000), Happening::start);
        let pause = to.micros_since(from).max(0);
        let watermark = from.plus_micros((pause as f64 * stop.part) as i64);
        out.extend(feed(rule, &mut state, [Input::Tick { watermark }]));

        let peak = state.peak.filter(|_| state.severity(rule).is_some());
        let judged_until = watermark.plus_micros(-stop.behind);
        let resume = out.last().map(|transition| &transition.resume);
        state = State::restart(rule, resume, begun, judged_until);
        if let Some(peak) = peak {
            state.note_peak(rule, peak);
        }
        let twice = feed(rule, &mut state, horizon(rule, &history[..index], judged_until));
        prop_assert_eq!(&twice, &[], "recorded twice after a stop at {}", watermark);
    }
    out.extend(feed(rule, &mut state, history[done..].iter().flat_map(|h| h.inputs(rule))));
    out.extend(feed(rule, &mut state, [Input::Tick { watermark: end(history) }]));
    Ok(out)
}

/// The worst value of an alarm that is over is nobody's business.
fn without_old_peaks(mut transitions: Vec<Transition>) -> Vec<Transition> {
    for transition in &mut transitions {
        if transition.kind == TransitionKind::Returned {
            transition.peak = None;
        }
    }
    transitions
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn stops_change_nothing(rule in rules(), drafts in drafts(60), stops in stops()) {
        let rule = compile(rule);
        let history = history(&rule, &drafts);
        let start = (Timestamp::MIN, State::new(&rule), 0);
        let in_runs = judge_in_runs(&rule, start, &history, &stops)?;
        let whole = judge(&rule, &history);
        prop_assert_eq!(without_old_peaks(in_runs), without_old_peaks(whole));
    }

    #[test]
    fn stops_change_nothing_of_a_rule_that_began_in_between(
        rule in rules(),
        drafts in drafts(50),
        stops in stops(),
        begin in any::<prop::sample::Index>(),
    ) {
        let rule = compile(rule);
        let history = history(&rule, &drafts);
        let begin = begin.index(history.len());
        let begun = history[begin].end().plus_micros(1);
        let begin = begin + 1;
        let rest = || history[begin..].iter().flat_map(|h| h.inputs(&rule));
        let tick = |watermark| Input::Tick { watermark };

        let mut state = State::begin(&rule, None, begun);
        let mut whole = feed(&rule, &mut state, history[..begin].iter().flat_map(|h| h.inputs(&rule)));
        whole.extend(feed(&rule, &mut state, [tick(begun)].into_iter().chain(rest())));
        whole.extend(feed(&rule, &mut state, [tick(end(&history))]));

        let mut state = State::begin(&rule, None, begun);
        let mut in_runs = feed(&rule, &mut state, horizon(&rule, &history[..begin], begun));
        in_runs.extend(feed(&rule, &mut state, [tick(begun)]));
        // What came out at the beginning is recorded; resume from it.
        if in_runs.is_empty() {
            in_runs.extend(judge_in_runs(&rule, (begun, state, begin), &history, &stops)?);
            prop_assert_eq!(without_old_peaks(in_runs), without_old_peaks(whole));
        }
    }
}

fn above(more: Value) -> CompiledRule {
    compile(single(json!({"type": "above", "limit": 30, "deadband": 1}), more))
}

fn readings(values: &[(f64, f64)]) -> Vec<Input<'static>> {
    values.iter().map(|(at, value)| Input::Reading(reading(0, *at, Some(*value)))).collect()
}

fn lines(transitions: &[Transition]) -> Vec<String> {
    transitions.iter().map(line).collect()
}

const NEVER: Timestamp = Timestamp::MIN;

#[test]
fn an_on_delay_that_spans_a_stop() {
    let rule = above(json!({"on_delay": "60s"}));
    let fed = readings(&[(0.0, 20.0), (10.0, 31.0), (40.0, 32.0)]);
    // The delay ends while the broker is not running: raised at its end.
    let mut state = State::restart(&rule, None, NEVER, at(50.0));
    assert_eq!(lines(&feed(&rule, &mut state, fed.clone())), [""; 0]);
    let started =
        [Input::Down { from: at(50.0), to: at(500.0) }, Input::Tick { watermark: at(500.0) }];
    assert_eq!(lines(&feed(&rule, &mut state, started)), ["Raised minor at 70"]);
    // It ends afterwards.
    let mut state = State::restart(&rule, None, NEVER, at(50.0));
    feed(&rule, &mut state, fed);
    let down = Input::Down { from: at(50.0), to: at(60.0) };
    let after = [down].into_iter().chain(readings(&[(65.0, 33.0), (71.0, 29.0)]));
    let transitions = feed(&rule, &mut state, after);
    assert_eq!(lines(&transitions), ["Raised minor at 70", "Cleared minor at 71"]);
}

#[test]
fn an_off_delay_that_spans_a_stop() {
    let rule = above(json!({"off_delay": "60s"}));
    let mut state = State::new(&rule);
    let out = feed(&rule, &mut state, readings(&[(0.0, 31.0), (500.0, 20.0), (510.0, 21.0)]));
    let resume = &out[0].resume;
    let mut state = State::restart(&rule, Some(resume), NEVER, at(520.0));
    let fed = readings(&[(0.0, 31.0), (500.0, 20.0), (510.0, 21.0)]);
    assert_eq!(lines(&feed(&rule, &mut state, fed)), [""; 0]);
    let tick = Input::Tick { watermark: at(600.0) };
    assert_eq!(lines(&feed(&rule, &mut state, [tick])), ["Cleared minor at 560"]);
}

#[test]
fn a_window_keeps_an_alarm_up_across_a_stop() {
    let rule = compile(single(json!({"type": "stuck", "for": "60s"}), json!({})));
    let all: Vec<_> = (0..600).map(|second| (f64::from(second), 5.0)).collect();
    let mut state = State::new(&rule);
    let out = feed(&rule, &mut state, readings(&all));
    assert_eq!(lines(&out), ["Raised minor at 60"]);
    let mut state = State::restart(&rule, Some(&out[0].resume), NEVER, at(599.0));
    let fed = readings(&all[540..]);
    assert_eq!(lines(&feed(&rule, &mut state, fed)), [""; 0]);
    let next = feed(&rule, &mut state, readings(&[(600.0, 5.0), (601.0, 6.0)]));
    assert_eq!(lines(&next), ["Cleared minor at 601"]);
}

#[test]
fn missing_data_does_not_count_the_time_that_the_broker_was_down() {
    let rule = compile(single(json!({"type": "missing", "for": "60s"}), json!({})));
    let mut state = State::restart(&rule, None, NEVER, at(40.0));
    feed(&rule, &mut state, readings(&[(0.0, 1.0)]));
    let down = Input::Down { from: at(40.0), to: at(5_000.0) };
    let tick = |watermark: f64| Input::Tick { watermark: at(watermark) };
    assert_eq!(lines(&feed(&rule, &mut state, [down, tick(5_019.9)])), [""; 0]);
    // A second stop: the first one is fed in its place.
    let mut state = State::restart(&rule, None, NEVER, at(5_019.9));
    feed(&rule, &mut state, readings(&[(0.0, 1.0)]));
    assert_eq!(lines(&feed(&rule, &mut state, [down, tick(5_019.9)])), [""; 0]);
    assert_eq!(lines(&feed(&rule, &mut state, [tick(5_020.0)])), ["Raised minor at 5020"]);
}

#[test]
fn an_edited_rule_is_judged_anew_from_its_edit_on_also_after_a_stop() {
    let first = above(json!({}));
    let raised = feed(&first, &mut State::new(&first), readings(&[(0.0, 31.0)]));
    let edited = above(json!({"on_delay": "60s", "off_delay": "60s"}));
    let resume = Some(&raised[0].resume);
    let fed = readings(&[(0.0, 31.0), (5.0, 20.0), (15.0, 20.0)]);
    let tick = |watermark: f64| Input::Tick { watermark: at(watermark) };
    // The off-delay begins with the first reading after the edit, not with the one before it.
    let mut state = State::begin(&edited, resume, at(10.0));
    assert_eq!(lines(&feed(&edited, &mut state, fed.clone())), [""; 0]);
    assert_eq!(state.severity(&edited), Some(crate::alarm::rule::Severity::Minor));
    assert_eq!(lines(&feed(&edited, &mut state, [tick(100.0)])), ["Cleared minor at 75"]);
    let mut state = State::restart(&edited, resume, at(10.0), at(20.0));
    assert_eq!(lines(&feed(&edited, &mut state, fed)), [""; 0]);
    assert_eq!(lines(&feed(&edited, &mut state, [tick(100.0)])), ["Cleared minor at 75"]);
}

#[test]
fn what_was_recorded_is_not_recorded_again() {
    let rule = above(json!({}));
    let fed = readings(&[(0.0, 31.0), (1.0, 20.0), (2.0, 31.0), (3.0, 32.0)]);
    let out = feed(&rule, &mut State::new(&rule), fed.clone());
    assert_eq!(out.len(), 3);
    for (recorded, transition) in out.iter().enumerate() {
        // The broker dies before anything after this transition is recorded.
        let mut state = State::replay(&rule, Some(&transition.resume), at(-100.0));
        state.note_peak(&rule, transition.peak.unwrap());
        assert_eq!(feed(&rule, &mut state, fed.clone()), out[recorded + 1..]);
    }
}

#[test]
fn readings_of_one_message_are_told_apart_by_their_count() {
    let rule = above(json!({}));
    let values = [31.0, 20.0, 31.0];
    let of_one_message = values.map(|value| Input::Reading(reading(0, 0.0, Some(value))));
    let out = feed(&rule, &mut State::new(&rule), of_one_message);
    let counts: Vec<_> = out.iter().map(|transition| transition.resume.readings).collect();
    assert_eq!(counts, [1, 2, 3]);
    let mut state = State::replay(&rule, Some(&out[0].resume), at(-1.0));
    state.note_peak(&rule, 31.0);
    assert_eq!(feed(&rule, &mut state, of_one_message), out[1..]);
}

#[test]
fn resume_survives_its_json() {
    let rule = above(json!({"on_delay": "5s"}));
    let mut state = State::new(&rule);
    let out = feed(&rule, &mut state, readings(&[(0.0, 31.0), (6.0, 31.0)]));
    let levels = serde_json::to_string(&out[0].resume.levels).unwrap();
    assert_eq!(levels, r#"[{"severity":"minor","phase":"active"}]"#);
    let since = Since { event: at(0.0), arrival: at(1.0) };
    for phase in [Phase::Pending(since), Phase::Clearing(since), Phase::Blocked, Phase::Normal] {
        let level = LevelPhase { severity: crate::alarm::rule::Severity::Major, phase };
        let json = serde_json::to_string(&level).unwrap();
        assert_eq!(serde_json::from_str::<LevelPhase>(&json).unwrap(), level);
    }
}
