//! What judging a reading costs: one rule, ten rules on a sensor, and with many other states beside.

#![allow(clippy::expect_used, reason = "a bench that can not be set up is to stop")]

use std::hint::black_box;

use brooklet::{
    alarm::{
        lifecycle::{CompiledRule, Input, JudgedReading, Slot, State, Transition, step},
        rule::AlarmRule,
    },
    telemetry::{Quality, Timestamp},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

/// A second by the device's clock.
const SECOND: i64 = 1_000_000;

fn rule(condition: &Value, on_delay: &str) -> CompiledRule {
    let rule = json!({
        "name": "bench", "on_delay": on_delay,
        "levels": [{ "severity": "minor", "condition": condition }]
    });
    let rule = AlarmRule::from_value(rule).expect("a legal rule");
    CompiledRule::new(&rule).expect("a legal rule")
}

fn kinds() -> [(&'static str, CompiledRule); 4] {
    let above = json!({ "type": "above", "limit": 30, "deadband": 1 });
    // 100 readings of a second each.
    let mean = json!({
        "type": "aggregate", "function": "mean", "window": "100s", "above": { "limit": 30 }
    });
    [
        ("above with a deadband", rule(&above, "0s")),
        ("above with an on-delay", rule(&above, "10s")),
        ("mean of 100 readings", rule(&mean, "0s")),
        ("missing data", rule(&json!({ "type": "missing", "for": "60s" }), "0s")),
    ]
}

/// One reading a second, which swings about the limit once in two minutes.
struct Sensor {
    second: i64,
}

impl Sensor {
    fn next(&mut self) -> Input<'static> {
        self.second += 1;
        let at = Timestamp::from_micros(1_766_125_800 * SECOND + self.second * SECOND);
        let swing = (self.second % 120 - 60).abs() as f64 / 10.0;
        Input::Reading(JudgedReading {
            sensor: Slot(0),
            event_time: at,
            received_at: at,
            value: Some(27.0 + swing),
            quality: Quality::Good,
            late: false,
        })
    }
}

/// Fills windows, so that every reading measured costs the same.
fn warmed(rule: &CompiledRule, sensor: &mut Sensor) -> State {
    let (mut state, mut out) = (State::new(rule), Vec::new());
    for _ in 0..200 {
        step(rule, &mut state, sensor.next(), &mut out);
    }
    state
}

fn judged(criterion: &mut Criterion) {
    for rules in [1, 10] {
        let mut group = criterion.benchmark_group(format!("judge a reading, {rules} rules"));
        group.throughput(Throughput::Elements(rules));
        for (name, rule) in kinds() {
            let mut sensor = Sensor { second: 0 };
            let mut states: Vec<State> =
                (0..rules).map(|_| warmed(&rule, &mut Sensor { second: 0 })).collect();
            sensor.second = 200;
            let mut out: Vec<Transition> = Vec::new();
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let input = sensor.next();
                    for state in &mut states {
                        step(&rule, state, black_box(input), &mut out);
                    }
                    out.clear();
                });
            });
        }
    }
}

/// Ten rules of all kinds on one sensor, as the engine judges: on copies of the states; the sensor is
/// another one each time.
fn among_others(criterion: &mut Criterion) {
    let rules: Vec<CompiledRule> =
        kinds().into_iter().map(|(_, rule)| rule).cycle().take(10).collect();
    let mut group = criterion.benchmark_group("judge a reading, 10 rules of all kinds");
    group.throughput(Throughput::Elements(10));
    for sensors in [1, 101] {
        let mut sensor = Sensor { second: 200 };
        let mut states: Vec<Vec<State>> = (0..sensors)
            .map(|_| rules.iter().map(|rule| warmed(rule, &mut Sensor { second: 0 })).collect())
            .collect();
        let mut out: Vec<Transition> = Vec::new();
        let mut turn = 0;
        group.bench_function(format!("{} other states", (sensors - 1) * 10), |bencher| {
            bencher.iter(|| {
                let input = sensor.next();
                turn = (turn + 37) % sensors;
                for (rule, state) in rules.iter().zip(states.get_mut(turn).into_iter().flatten()) {
                    let mut copy = state.clone();
                    step(rule, &mut copy, black_box(input), &mut out);
                    *state = copy;
                }
                out.clear();
            });
        });
    }
}

/// What a backtest of a day of one sensor costs in the core.
fn day(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a day of one sensor");
    group.throughput(Throughput::Elements(86_400)).sample_size(10);
    for (name, rule) in kinds() {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (State::new(&rule), Sensor { second: 0 }, Vec::new()),
                |(mut state, mut sensor, mut out)| {
                    for _ in 0..86_400 {
                        step(&rule, &mut state, sensor.next(), &mut out);
                    }
                    out.len()
                },
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, judged, among_others, day);
criterion_main!(benches);
