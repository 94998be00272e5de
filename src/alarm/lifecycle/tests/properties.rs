//! What holds for every rule and every history.

use proptest::prelude::*;
use serde_json::json;

use super::{
    desk::Desk,
    world::{Happening, drafts, end, feed, history, judge, rules},
    *,
};
use crate::alarm::rule::Severity;

fn severity_of(resume: &Resume) -> Option<Severity> {
    let active = resume.levels.iter().filter(|level| level.phase.is_active());
    active.map(|level| level.severity).max()
}

/// Ticks at parts of the pause before a happening; none during a stop.
fn with_ticks(
    rule: &CompiledRule,
    history: &[Happening],
    ticks: &[(prop::sample::Index, f64)],
) -> Vec<Input<'static>> {
    let mut inputs = Vec::new();
    let mut before = at(0.0);
    for (index, happening) in history.iter().enumerate() {
        let pause = happening.start().micros_since(before);
        let here = ticks.iter().filter(|(at, _)| at.index(history.len()) == index);
        let mut parts: Vec<f64> = here.map(|(_, part)| *part).collect();
        parts.sort_by(f64::total_cmp);
        inputs.extend(parts.into_iter().map(|part| {
            let watermark = before.plus_micros((pause as f64 * part) as i64);
            Input::Tick { watermark }
        }));
        inputs.extend(happening.inputs(rule));
        before = happening.end();
    }
    inputs.push(Input::Tick { watermark: end(history) });
    inputs
}

fn part() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn ticks_change_nothing(
        rule in rules(),
        drafts in drafts(60),
        ticks in prop::collection::vec((any::<prop::sample::Index>(), part()), 0..80),
    ) {
        let rule = compile(rule);
        let history = history(&rule, &drafts);
        let mut state = State::new(&rule);
        let ticked = feed(&rule, &mut state, with_ticks(&rule, &history, &ticks));
        prop_assert_eq!(ticked, judge(&rule, &history));
    }

    /// Ticks that come when `next_deadline` says so are enough.
    #[test]
    fn deadlines_come_in_time(rule in rules(), drafts in drafts(60)) {
        let rule = compile(rule);
        let history = history(&rule, &drafts);
        let (mut state, mut out) = (State::new(&rule), Vec::new());
        for happening in &history {
            while let Some(due) = state.next_deadline().filter(|due| *due < happening.start()) {
                let known = out.len();
                let watermark = due.plus_micros(-1);
                step(&rule, &mut state, Input::Tick { watermark }, &mut out);
                prop_assert_eq!(out.len(), known, "before the deadline");
                step(&rule, &mut state, Input::Tick { watermark: due }, &mut out);
                let next = state.next_deadline();
                prop_assert!(next.is_none_or(|next| next > due), "a deadline that stays");
            }
            let (known, start) = (out.len(), happening.start());
            out.extend(feed(&rule, &mut state, happening.inputs(&rule)));
            let is_overdue = |transition: &Transition| transition.arrival < start;
            prop_assert!(!out[known..].iter().any(is_overdue), "a timer that nothing told of");
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_transitions(rule in rules(), drafts in drafts(40)) {
        let rule = compile(rule);
        let history = history(&rule, &drafts);
        let (mut one, mut out) = (State::new(&rule), Vec::new());
        for happening in &history {
            // Copies go on as what they were copied from.
            let mut copy = one.clone();
            let copied = feed(&rule, &mut copy, happening.inputs(&rule));
            let transitions = feed(&rule, &mut one, happening.inputs(&rule));
            prop_assert_eq!(&copied, &transitions);
            out.extend(transitions);
        }
        out.extend(feed(&rule, &mut one, [Input::Tick { watermark: end(&history) }]));
        prop_assert_eq!(out, judge(&rule, &history));
    }

    #[test]
    fn raised_and_cleared_in_turn(rule in rules(), drafts in drafts(60)) {
        use TransitionKind::{Cleared, Deescalated, Escalated, LevelCleared, LevelRaised, Raised};
        let rule = compile(rule);
        let transitions = judge(&rule, &history(&rule, &drafts));
        let mut active: Option<Severity> = None;
        let mut arrival = Timestamp::MIN;
        for transition in &transitions {
            let severity = transition.severity;
            let is_legal = match (transition.kind, active) {
                (Raised, None) | (Cleared, Some(_)) => true,
                (Escalated, Some(before)) => severity > before,
                (Deescalated, Some(before)) => severity < before,
                (LevelRaised | LevelCleared, Some(before)) => severity == before,
                _ => false,
            };
            prop_assert!(is_legal, "{} while {:?}", line(transition), active);
            prop_assert!(transition.kind != Cleared || active == Some(severity));
            active = (transition.kind != Cleared).then_some(severity);
            prop_assert!(transition.arrival >= arrival, "arrivals run back");
            arrival = transition.arrival;
        }
        if let Some(last) = transitions.last() {
            prop_assert_eq!(severity_of(&last.resume), active);
        }
    }

    /// A back-filled reading is a sign of the device, and nothing else.
    #[test]
    fn late_readings_move_nothing(
        rule in rules(),
        drafts in drafts(40),
        late in prop::collection::vec((any::<prop::sample::Index>(), 0_i64..5_000, 0_u8..11), 1..20),
    ) {
        let mut rule = rule;
        rule["judges_late"] = json!(false);
        let rule = compile(rule);
        prop_assume!(!rule.asks_signs());
        let history = history(&rule, &drafts);
        let whole = judge(&rule, &history);
        let (mut state, mut out) = (State::new(&rule), Vec::new());
        for (index, happening) in history.iter().enumerate() {
            out.extend(feed(&rule, &mut state, happening.inputs(&rule)));
            for (_, age, value) in late.iter().filter(|late| late.0.index(history.len()) == index) {
                let received_at = happening.end().plus_micros(1);
                let event_time = received_at.plus_micros(-61_000_000 - age * 1_000_000);
                let value = Some(f64::from(*value));
                let late = JudgedReading { event_time, received_at, late: true, ..reading(0, 0.0, value) };
                out.extend(feed(&rule, &mut state, [Input::Reading(late)]));
            }
        }
        out.extend(feed(&rule, &mut state, [Input::Tick { watermark: end(&history) }]));
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn one_level_agrees_with_a_plain_model(
        is_above in any::<bool>(),
        deadband in 0_u8..4,
        delays in (0_i64..4, 0_i64..4),
        values in prop::collection::vec((1_i64..6, 0_u8..11), 1..80),
    ) {
        let (on_delay, off_delay) = (delays.0 * 3, delays.1 * 3);
        let kind = if is_above { "above" } else { "below" };
        let condition = json!({"type": kind, "limit": 5, "deadband": deadband});
        let delays = json!({"on_delay": format!("{on_delay}s"), "off_delay": format!("{off_delay}s")});
        let mut bench = Bench::new(single(condition, delays));
        let mut second = 0;
        let mut mirrored = Vec::new();
        for (gap, value) in values {
            second += gap;
            bench.value(second as f64, f64::from(value));
            let value = f64::from(value);
            mirrored.push((second, if is_above { value } else { 10.0 - value }));
        }
        bench.tick(second as f64 + 100.0);
        let model = model(&mirrored, 5.0 - f64::from(deadband), (on_delay, off_delay));
        bench.gives(&model.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn noise_within_the_deadband_changes_nothing(
        noise in prop::collection::vec(4.0..=5.0_f64, 0..50),
        off_delay in 0_u8..5,
    ) {
        let condition = json!({"type": "above", "limit": 5, "clear_limit": 3.999});
        let off_delay = json!({"off_delay": format!("{off_delay}s")});
        let mut bench = Bench::new(single(condition, off_delay));
        for (second, value) in noise.iter().enumerate() {
            bench.value(second as f64, *value);
        }
        bench.gives(&[]);
        bench.value(100.0, 5.1);
        bench.gives(&["Raised minor at 100"]);
        for (second, value) in noise.iter().enumerate() {
            bench.value(101.0 + second as f64, *value);
        }
        bench.tick(1_000.0).gives(&[]);
    }

    /// By event time or by the timer, whichever shows first; never before every reading of that long
    /// was beyond the limit.
    #[test]
    fn no_raise_before_the_end_of_the_on_delay(drafts in drafts(60), delay in 1_u8..30) {
        let condition = json!({"type": "above", "limit": 4});
        let rule = compile(single(condition, json!({"on_delay": format!("{delay}s")})));
        let micros = i64::from(delay) * 1_000_000;
        let history = history(&rule, &drafts);
        let inputs: Vec<_> = history.iter().flat_map(|h| h.inputs(&rule)).collect();
        let judged = inputs.iter().filter_map(|input| match input {
            Input::Reading(reading) if !reading.late => reading.value.map(|v| (reading, v > 4.0)),
            _ => None,
        });
        let judged: Vec<_> = judged.collect();
        for raised in judge(&rule, &history) {
            if raised.kind != TransitionKind::Raised {
                continue;
            }
            let is_proven = (0..=judged.len()).any(|known| {
                let run = judged[..known].iter().rev().take_while(|(_, is_true)| *is_true);
                let Some((first, _)) = run.last() else { return false };
                let end = first.event_time.plus_micros(micros);
                let is_before = |reading: &JudgedReading| reading.received_at < raised.arrival;
                let by_timer = raised.arrival == first.received_at.plus_micros(micros)
                    && known == judged.partition_point(|(reading, _)| is_before(reading));
                // The reading that shows the end by its event time is not one of those that count.
                let by_event = judged.get(known).is_some_and(|(shows, _)| {
                    shows.received_at == raised.arrival && shows.event_time >= end
                });
                (by_timer || by_event) && raised.at == end.min(raised.arrival)
            });
            prop_assert!(is_proven, "{}", line(&raised));
        }
    }

    #[test]
    fn records_stay_sound_and_ticks_change_nothing(
        rule in rules(),
        drafts in drafts(40),
        commands in commands(),
        (is_latching, cooldown, repeats) in (any::<bool>(), 0_u8..3, any::<bool>()),
    ) {
        let mut rule = rule;
        rule["latching"] = json!(is_latching);
        rule["cooldown"] = json!(format!("{}s", cooldown * 20));
        rule["repeat"] = if repeats { json!("45s") } else { Value::Null };
        let (mut desk, mut ticked) = (Desk::new(rule.clone()), Desk::new(rule));
        let history = history(&desk.rule, &drafts);
        for (index, happening) in history.iter().enumerate() {
            let now = happening.end().plus_micros(1);
            for (is_ticked, desk) in [(false, &mut desk), (true, &mut ticked)] {
                if is_ticked {
                    desk.tick_at(happening.start().plus_micros(-1));
                    desk.tick_at(happening.start());
                    // What is kept of it is all that a restart needs.
                    desk.alarm = Alarm { record: desk.alarm.record.clone() };
                }
                for input in happening.inputs(&desk.rule) {
                    desk.feed(input);
                    desk.check(is_latching)?;
                }
                let here = commands.iter().filter(|(at, _)| at.index(history.len()) == index);
                for (_, choice) in here {
                    desk.attempt(now, *choice);
                    desk.check(is_latching)?;
                }
            }
        }
        let end = end(&history);
        desk.tick_at(end);
        ticked.tick_at(end);
        prop_assert_eq!(&desk.events, &ticked.events);
        prop_assert_eq!(&desk.notices, &ticked.notices);
        prop_assert_eq!(&desk.alarm, &ticked.alarm);
        check_notices(&desk.notices, f64::from(cooldown) * 20.0)?;
    }
}

/// What an operator or the engine tries after some happening.
fn commands() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0_u8..11), 0..20)
}

/// An end is told once, and only of what was told, and before the raise of the next; a raise waits for
/// the cooldown.
fn check_notices(notices: &[String], cooldown: f64) -> Result<(), TestCaseError> {
    let (mut is_told, mut last) = (false, f64::MIN);
    for notice in notices {
        let words: Vec<_> = notice.split(' ').collect();
        let at: f64 = words[3].parse().unwrap();
        prop_assert!(at >= last, "notices run back: {:?}", notices);
        let is_legal = match words[0] {
            "raised" => !is_told && at >= last + cooldown - 1e-6,
            "escalated" => true,
            _ => is_told,
        };
        prop_assert!(is_legal, "{} of {:?}", notice, notices);
        is_told = words[0] != "cleared";
        last = at;
    }
    Ok(())
}

/// `above 5`, told forwards: each time the first reading that is beyond the limit and is followed by
/// no other kind until the delay has passed.
fn model(values: &[(i64, f64)], clear: f64, (on, off): (i64, i64)) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut is_active, mut from) = (false, 0);
    while let Some((at, value)) = values.get(from) {
        let is_over = |value: f64| if is_active { value <= clear } else { value > 5.0 };
        let end = at + if is_active { off } else { on };
        let within = values[from + 1..].iter().take_while(|(at, _)| *at < end).count();
        let is_kept = values[from..=from + within].iter().all(|(_, value)| is_over(*value));
        from += 1;
        if is_over(*value) && is_kept {
            is_active = !is_active;
            let kind = if is_active { "Raised" } else { "Cleared" };
            lines.push(format!("{kind} minor at {end}"));
            from += within;
        }
    }
    lines
}
