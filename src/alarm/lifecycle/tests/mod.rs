//! Examples for each condition and each kind of timing, and the properties that hold for all.

mod alarms;
mod conditions;
mod desk;
mod properties;
mod quiet;
mod restart;
mod timing;
mod world;

use serde_json::{Value, json};

use super::*;
use crate::{
    alarm::rule::AlarmRule,
    telemetry::{Quality, Timestamp},
};

/// 2025-12-19T06:30:00Z, a Friday.
const START: i64 = 1_766_125_800_000_000;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_micros(START + (seconds * 1e6).round() as i64)
}

fn seconds(at: Timestamp) -> f64 {
    (at.as_micros() - START) as f64 / 1e6
}

fn compile(rule: Value) -> CompiledRule {
    CompiledRule::new(&AlarmRule::from_value(rule).unwrap()).unwrap()
}

/// A rule with one level, `minor`.
fn single(condition: Value, more: Value) -> Value {
    let mut rule = json!({
        "name": "x", "levels": [{ "severity": "minor", "condition": condition }]
    });
    let (rule_fields, more) = (rule.as_object_mut().unwrap(), more.as_object().unwrap().clone());
    rule_fields.extend(more);
    rule
}

/// One state and the transitions that came out of it, as short lines.
struct Bench {
    rule: CompiledRule,
    state: State,
    lines: Vec<String>,
}

impl Bench {
    fn new(rule: Value) -> Self {
        let rule = compile(rule);
        let state = State::new(&rule);
        Self { rule, state, lines: Vec::new() }
    }

    fn feed(&mut self, input: Input<'_>) -> &mut Self {
        let mut out = Vec::new();
        step(&self.rule, &mut self.state, input, &mut out);
        self.lines.extend(out.iter().map(line));
        self
    }

    fn reading(&mut self, reading: JudgedReading) -> &mut Self {
        self.feed(Input::Reading(reading))
    }

    /// A reading of slot 0 that arrives at its event time.
    fn value(&mut self, at_seconds: f64, value: f64) -> &mut Self {
        self.reading(reading(0, at_seconds, Some(value)))
    }

    fn values(&mut self, values: &[(f64, f64)]) -> &mut Self {
        for (at, value) in values {
            self.value(*at, *value);
        }
        self
    }

    fn tick(&mut self, at_seconds: f64) -> &mut Self {
        self.feed(Input::Tick { watermark: at(at_seconds) })
    }

    #[track_caller]
    fn gives(&mut self, lines: &[&str]) {
        assert_eq!(std::mem::take(&mut self.lines), lines);
    }
}

fn reading(slot: u8, at_seconds: f64, value: Option<f64>) -> JudgedReading {
    JudgedReading {
        sensor: Slot(slot),
        event_time: at(at_seconds),
        received_at: at(at_seconds),
        value,
        quality: if value.is_some() { Quality::Good } else { Quality::Bad },
        late: false,
    }
}

/// `Raised minor at 5`, or `… at 5 (6)` where the arrival is another time.
fn line(transition: &Transition) -> String {
    let Transition { kind, severity, at, arrival, .. } = transition;
    let (at, arrival) = (seconds(*at), seconds(*arrival));
    match at == arrival {
        true => format!("{kind:?} {severity} at {at}"),
        false => format!("{kind:?} {severity} at {at} ({arrival})"),
    }
}
