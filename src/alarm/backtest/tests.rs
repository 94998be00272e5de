use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    alarm::{
        engine::{Down, OwnedFacts, judged},
        lifecycle::{Alarm, AlarmEvent, Change, Input, NoticeKind, Slot, State, step},
    },
    registry::{PresenceSettings, Registry, RegistrySettings, UnknownDevices},
    store::{DeviceRow, SensorRow},
    telemetry::{
        Approval, DeviceFacts, DeviceId, DeviceKey, DeviceKind, Quality, SensorId, SensorName,
    },
};

mod live;

const SECOND: i64 = 1_000_000;
/// 2025-12-19T06:30:00Z, a Friday.
const START: i64 = 1_766_125_800 * SECOND;

/// A rule by its levels and what else it says.
fn rule(more: Value) -> AlarmRule {
    let mut body = json!({"name": "tried"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    AlarmRule::from_value(body).unwrap()
}

fn one_level(condition: Value) -> Value {
    json!([{"severity": "warning", "condition": condition}])
}

/// One of each kind of condition and timing.
fn rules() -> Vec<AlarmRule> {
    let above = |limit: i64| json!({"type": "above", "limit": limit, "deadband": 2});
    let on = |sensor: &str, limit: i64| json!({"type": "above", "limit": limit, "sensor": sensor});
    let mean = json!({"type": "aggregate", "function": "mean", "window": "60s",
                      "above": {"limit": 28}});
    let count = json!({"type": "count_of", "n": 2, "m": 4,
                       "condition": {"type": "above", "limit": 29}});
    let rate = json!({"type": "rate", "above": {"limit": 3}, "per": "1m", "window": "2m"});
    let office = json!({"weekdays": ["fri"], "from": "06:32", "to": "06:50", "zone": "UTC"});
    vec![
        rule(json!({"levels": one_level(above(30))})),
        rule(json!({"levels": [
            {"severity": "warning", "condition": above(25), "on_delay": "20s"},
            {"severity": "critical", "condition": above(32), "off_delay": "45s"}],
            "cooldown": "5m", "repeat": "10m"})),
        rule(json!({"levels": one_level(above(28)), "latching": true, "judges_late": true})),
        rule(json!({"levels": one_level(above(28)), "schedule": office, "on_delay": "5s"})),
        rule(json!({"levels": one_level(mean), "on_delay": "10s"})),
        rule(json!({"levels": one_level(count)})),
        rule(json!({"levels": one_level(rate), "off_delay": "30s"})),
        rule(json!({"levels": one_level(json!({"type": "stuck", "for": "40s"}))})),
        rule(json!({"levels": one_level(json!({"type": "bad_quality"})), "on_delay": "15s"})),
        rule(json!({"levels": one_level(json!({"type": "missing", "for": "90s"}))})),
        rule(json!({"levels": one_level(json!({"type": "silent", "for": "60s"}))})),
        rule(json!({"levels": one_level(json!({"type": "all", "conditions": [
            on("s0", 27), {"type": "below", "limit": 30, "sensor": "s1"}]})), "on_delay": "12s"})),
        rule(json!({"levels": one_level(json!({"type": "any", "conditions": [
            on("s0", 31), {"type": "missing", "for": "2m", "sensor": "s1"}]}))})),
    ]
}

fn registry(sensors: i64) -> Registry {
    let registry = Registry::new(RegistrySettings {
        unknown: UnknownDevices::Learn,
        learned_per_hour_max: 1,
        presence: PresenceSettings {
            offline_grace: std::time::Duration::ZERO,
            offline_after: std::time::Duration::ZERO,
        },
    });
    let device = DeviceRow {
        id: DeviceId(1),
        key: DeviceKey::new("boiler").unwrap(),
        name: None,
        kind: DeviceKind::Device,
        gateway: None,
        facts: DeviceFacts::default(),
        labels: "{}".to_owned(),
        first_seen: Timestamp::UNIX_EPOCH,
        last_seen: None,
        last_heartbeat: None,
        online: false,
        last_report: None,
        approval: Approval::Active,
        version: 1,
        retired_at: None,
    };
    let sensors = (0..sensors).map(|n| SensorRow {
        id: SensorId(n + 1),
        device: device.id,
        name: SensorName::in_topic(&format!("s{n}")).unwrap(),
        display_name: None,
        kind: None,
        unit: None,
        location: None,
        min: None,
        max: None,
        active: true,
        resolution: None,
        newest: None,
        version: 1,
        retired_at: None,
    });
    let sensors = sensors.collect();
    registry.load(vec![device], sensors);
    registry
}

/// One reading of the generated past.
#[derive(Debug, Clone)]
struct Step {
    sensor: i64,
    /// Since the arrival before.
    gap: i64,
    lag: i64,
    value: Option<f64>,
    quality: Quality,
    /// The broker did not run in a part of the gap.
    has_down: bool,
    /// Where in the gap a tick comes, in hundredths.
    tick: Option<i64>,
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![8 => 1_i64..20_000, 1 => 20_000_i64..200_000];
    let lag = prop_oneof![6 => 0_i64..3_000, 1 => -60_000_i64..0, 1 => 50_000_i64..400_000];
    let value = prop_oneof![9 => (200_i32..360).prop_map(|n| Some(f64::from(n) / 10.0)),
                            1 => Just(None)];
    let quality = prop_oneof![8 => Just(Quality::Good), 1 => Just(Quality::Uncertain),
                              1 => Just(Quality::Bad)];
    let tick = prop::option::of(1_i64..=100);
    let step = (0_i64..3, gap, lag, value, quality, prop::bool::weighted(0.03), tick);
    let step = step.prop_map(|(sensor, gap, lag, value, quality, has_down, tick)| Step {
        sensor,
        gap: gap * 1_000,
        lag: lag * 1_000,
        value,
        quality,
        has_down,
        tick,
    });
    prop::collection::vec(step, 1..120)
}

/// What is fed: a down-time, a tick, or a reading.
#[derive(Debug, Clone, Copy)]
enum Past {
    Down(Timestamp, Timestamp),
    Tick(Timestamp),
    Reading(StoredReading),
}

fn played(steps: &[Step]) -> Vec<Past> {
    let mut past = Vec::new();
    let mut now = START;
    for step in steps {
        let at = Timestamp::from_micros;
        if step.has_down && step.gap > 10 {
            past.push(Past::Down(at(now + step.gap / 10), at(now + step.gap / 2)));
        }
        if let Some(tick) = step.tick {
            // A tick comes after what arrived before it, the down-time among it.
            let begin = if step.has_down { now + step.gap / 2 } else { now };
            let tick = begin + (now + step.gap - begin) * tick / 100;
            past.push(Past::Tick(at(tick.max(now + 1))));
        }
        now += step.gap;
        past.push(Past::Reading(StoredReading {
            sensor: SensorId(step.sensor + 1),
            event_time: at(now - step.lag),
            received_at: at(now),
            value: step.value,
            quality: step.quality,
        }));
    }
    past
}

/// What one originator goes through when every input and tick is judged as it comes.
fn judged_directly(
    rule: &Arc<Rule>,
    originator: &Originator,
    past: &[Past],
    to: Timestamp,
) -> (Vec<AlarmEvent>, Vec<NoticeKind>) {
    let (mut state, mut alarm) = (State::new(&rule.compiled), Alarm::default());
    let mut newest = std::collections::HashMap::new();
    let (mut events, mut notices) = (Vec::new(), Vec::new());
    let last = Past::Tick(to.plus_micros(-1));
    for past in past.iter().chain([&last]) {
        let mut tick = None;
        let input = match *past {
            Past::Down(from, to) => Input::Down { from, to },
            Past::Tick(watermark) => {
                tick = Some(watermark);
                Input::Tick { watermark }
            }
            Past::Reading(reading) => {
                let known = newest.get(&reading.sensor).copied();
                let (mut judged, after) = judged(&reading, known);
                newest.insert(reading.sensor, after);
                let name = format!("s{}", reading.sensor.0 - 1);
                let slot = match &originator.sensor {
                    Some(own) => (own.id == reading.sensor).then_some(Slot(0)),
                    None => rule.compiled.slot(&name),
                };
                match slot {
                    Some(slot) => {
                        judged.sensor = slot;
                        Input::Reading(judged)
                    }
                    None if originator.sensor.is_none() && rule.compiled.asks_signs() => {
                        Input::Sign { at: reading.received_at }
                    }
                    None => continue,
                }
            }
        };
        let mut transitions = Vec::new();
        step(&rule.compiled, &mut state, input, &mut transitions);
        let changes = transitions.iter().map(Change::Transition).chain(tick.map(Change::Tick));
        for change in changes {
            let facts = OwnedFacts::new(rule, originator, change, || false);
            let outcome = alarm.apply(&rule.policy, &facts.borrow(), change).unwrap();
            events.extend(outcome.events);
            notices.extend(outcome.notices.iter().map(|notice| notice.kind));
        }
    }
    (events, notices)
}

fn downs_of(past: &[Past]) -> Vec<Down> {
    let down = |past: &Past| match past {
        Past::Down(from, to) => Some((*from, *to)),
        _ => None,
    };
    past.iter().filter_map(down).collect()
}

/// By backtest, in memory.
fn replayed(backtest: &Backtest, past: &[Past]) -> Report {
    let rules = backtest.rules();
    let range = Range { from: backtest.from, to: backtest.to };
    let mut replay = Replay::new(&rules, range, Findings::new(backtest));
    for device in &backtest.devices {
        let looked = look_at(&rules, device);
        replay.add(looked.originators, &looked.device, &looked.sensors);
    }
    replay.set_downs(downs_of(past));
    for past in past {
        if let Past::Reading(reading) = past {
            replay.reading(reading);
        }
    }
    replay.finish().into_report()
}

fn backtest(rules: &[&AlarmRule], to: Timestamp, registry: &Registry) -> Backtest {
    let mut tried = rules.iter().map(|rule| Tried::new((*rule).clone(), None).unwrap());
    Backtest {
        rule: tried.next().unwrap(),
        compare_with: tried.next(),
        from: Timestamp::from_micros(START),
        to,
        devices: registry.all(),
        routing: Arc::default(),
    }
}

fn events_of(report: &RuleReport, sensor: Option<SensorId>) -> Vec<AlarmEvent> {
    let own = report.events.iter().filter(|event| {
        let of = event.sensor.as_ref().map(|(id, _)| *id);
        of == sensor
    });
    let plain = |event: &TriedEvent| AlarmEvent {
        kind: event.kind,
        at: event.at,
        arrival: event.arrival,
        severity: event.severity,
        value: event.value,
        event_time: event.event_time,
        actor: None,
        note: None,
    };
    own.map(plain).collect()
}

/// The last arrival, and a while more.
fn end(past: &[Past]) -> Timestamp {
    let last = past.iter().rev().find_map(|past| match past {
        Past::Reading(reading) => Some(reading.received_at),
        _ => None,
    });
    last.unwrap().plus_micros(150 * SECOND)
}

proptest! {
    #[test]
    fn live_and_backtest_give_the_same_events_wherever_ticks_come(
        steps in history(),
        which in 0..13_usize,
    ) {
        let past = played(&steps);
        let (registry, body, to) = (registry(3), rules().remove(which), end(&past));
        let backtest = backtest(&[&body], to, &registry);
        let report = replayed(&backtest, &past);
        let rule = &backtest.rule.rule;
        let mut counts = NoticeCounts::default();
        let mut total = 0;
        for originator in originators_of_rule(rule, &registry.all()[0]) {
            let (events, notices) = judged_directly(rule, &originator, &past, to);
            total += events.len() as u64;
            prop_assert_eq!(events_of(&report.rule, originator.sensor_id()), events);
            for kind in notices {
                match kind {
                    NoticeKind::Raised => counts.raised += 1,
                    NoticeKind::Escalated => counts.escalated += 1,
                    NoticeKind::Cleared => counts.cleared += 1,
                    NoticeKind::Repeated => counts.repeated += 1,
                }
            }
        }
        prop_assert_eq!(report.rule.notices, counts);
        prop_assert_eq!(report.rule.events_total, total);
        let looked = look_at(&backtest.rules(), &registry.all()[0]).sensors;
        let is_looked_at = |step: &&Step| looked.iter().any(|it| it.id.0 == step.sensor + 1);
        prop_assert_eq!(report.readings, steps.iter().filter(is_looked_at).count() as u64);
    }

    #[test]
    fn what_two_rules_have_in_common_adds_up(
        steps in history(),
        which in (0..13_usize, 0..13_usize),
        is_prompt in any::<bool>(),
    ) {
        let steps = steps.into_iter().map(|step| {
            let lag = if is_prompt { 0 } else { step.lag };
            Step { lag, ..step }
        });
        let steps: Vec<_> = steps.collect();
        let past = played(&steps);
        let (registry, rules, to) = (registry(3), rules(), end(&past));
        let (rule, other) = (&rules[which.0], &rules[which.1]);
        let both = replayed(&backtest(&[rule, other], to, &registry), &past);
        let difference = both.difference.clone().unwrap();
        let compared = both.compared.clone().unwrap();
        // Neither is judged differently beside the other.
        let alone = replayed(&backtest(&[rule], to, &registry), &past);
        prop_assert_eq!(&both.rule, &alone.rule);
        let alone = replayed(&backtest(&[other], to, &registry), &past);
        prop_assert_eq!(&compared, &alone.rule);
        prop_assert_eq!(difference.common + difference.added, both.rule.alarms_total);
        prop_assert!(difference.removed <= compared.alarms_total);
        if which.0 == which.1 {
            prop_assert_eq!((difference.added, difference.removed), (0, 0));
        }
        // By hand: those that no alarm of the same originator on the other side touches.
        let own = |some: &RuleReport, others: &RuleReport| {
            let is_common = |one: &TriedAlarm| others.alarms.iter().any(|other| {
                let end = |alarm: &TriedAlarm| {
                    let cleared = alarm.cleared_at.unwrap_or(Timestamp::MAX);
                    cleared.max(alarm.raised_at.plus_micros(1))
                };
                one.sensor == other.sensor
                    && one.raised_at < end(other) && other.raised_at < end(one)
            });
            some.alarms.iter().filter(|one| !is_common(one)).count() as u64
        };
        // Event times say the same as arrivals where no device's clock is involved.
        if is_prompt {
            prop_assert_eq!(difference.added, own(&both.rule, &compared));
            prop_assert_eq!(difference.removed, own(&compared, &both.rule));
        }
    }
}

fn reading(second: i64, value: f64) -> Past {
    let at = Timestamp::from_micros(START + second * SECOND);
    let (value, quality) = (Some(value), Quality::Good);
    Past::Reading(StoredReading {
        sensor: SensorId(1),
        event_time: at,
        received_at: at,
        value,
        quality,
    })
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_micros(START + second * SECOND)
}

#[test]
fn alarms_are_told_apart_by_what_lies_in_the_range() {
    let registry = registry(1);
    let body = rule(json!({"levels": [
        {"severity": "warning", "condition": {"type": "above", "limit": 30}},
        {"severity": "major", "condition": {"type": "above", "limit": 40}}]}));
    let values =
        [(0, 31.0), (10, 29.0), (20, 31.0), (40, 45.0), (50, 20.0), (60, 33.0), (70, 39.0)];
    let past: Vec<_> = values.iter().map(|(at, value)| reading(*at, *value)).collect();
    let mut asked = backtest(&[&body], second(100), &registry);
    asked.from = second(30);
    let report = replayed(&asked, &past).rule;
    let alarms: Vec<_> = report
        .alarms
        .iter()
        .map(|alarm| (alarm.raised_at, alarm.cleared_at, alarm.peak, alarm.duration_micros))
        .collect();
    assert_eq!(
        alarms,
        [
            (second(20), Some(second(50)), Some(45.0), 30 * SECOND),
            (second(60), None, Some(39.0), 40 * SECOND)
        ]
    );
    assert_eq!((report.alarms_total, report.active_at_start, report.active_at_end), (2, 1, 1));
    assert_eq!(report.by_severity, [0, 1, 0, 1, 0]);
    assert_eq!((report.originators, report.alarming), (1, 1));
    assert_eq!((report.active_micros, report.longest_micros), (60 * SECOND, 40 * SECOND));
    let kinds: Vec<_> = report.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["escalated", "cleared", "raised"]);
}

/// As live, where a person clears the alarm at the end.
#[test]
fn a_latching_alarm_that_is_active_at_the_end_has_its_peak() {
    let registry = registry(1);
    let peak = |values: &[(i64, f64)], latching: bool| {
        let body = rule(json!({"levels": one_level(json!({"type": "above", "limit": 30})),
                               "latching": latching}));
        let past: Vec<_> = values.iter().map(|(at, value)| reading(*at, *value)).collect();
        let report = replayed(&backtest(&[&body], second(100), &registry), &past).rule;
        report.alarms.last().unwrap().peak
    };
    let rising = [(0, 31.0), (10, 37.0), (20, 33.0)];
    assert_eq!((peak(&rising, false), peak(&rising, true)), (Some(37.0), Some(37.0)));
    let again = [(0, 31.0), (10, 39.0), (20, 20.0), (30, 31.0), (40, 35.0)];
    assert_eq!((peak(&again, false), peak(&again, true)), (Some(35.0), Some(39.0)));
    // It is latched at the end.
    assert_eq!(peak(&again[..3], true), Some(39.0));
}

#[test]
fn the_difference_names_what_was_added_and_removed() {
    let registry = registry(1);
    let above =
        |limit: i64| rule(json!({"levels": one_level(json!({"type": "above", "limit": limit}))}));
    let values = [(0, 31.0), (10, 20.0), (20, 36.0), (30, 20.0), (40, 32.0), (50, 20.0)];
    let past: Vec<_> = values.iter().map(|(at, value)| reading(*at, *value)).collect();
    let (rule, other) = (above(35), above(30));
    let report = replayed(&backtest(&[&rule, &other], second(100), &registry), &past);
    let difference = report.difference.unwrap();
    assert_eq!((difference.common, difference.added, difference.removed), (1, 0, 2));
    let removed: Vec<_> = difference.removed_alarms.iter().map(|alarm| alarm.raised_at).collect();
    assert_eq!(removed, [second(0), second(40)]);
}

#[test]
fn lists_are_cut_and_counted_on() {
    let registry = registry(1);
    let body = rule(json!({"levels": one_level(json!({"type": "above", "limit": 30}))}));
    let flapping = (0..6_000).map(|n| reading(n, if n % 2 == 0 { 31.0 } else { 29.0 }));
    let past: Vec<_> = flapping.collect();
    let report = replayed(&backtest(&[&body], second(6_000), &registry), &past).rule;
    assert_eq!((report.alarms_total, report.events_total), (3_000, 6_000));
    assert_eq!((report.alarms.len(), report.events.len()), (ALARMS_MAX, EVENTS_MAX));
    assert_eq!(report.alarms.last().unwrap().raised_at, second(2 * 999));
    assert_eq!(report.events.last().unwrap().at, second(4_999));
}

#[test]
fn what_history_does_not_tell_is_named() {
    let registry = registry(1);
    let limits = |body: &AlarmRule| limitations(&backtest(&[body], second(1), &registry)).len();
    let plain = rule(json!({"levels": one_level(json!({"type": "above", "limit": 30}))}));
    assert_eq!(limits(&plain), 0);
    let offline = rule(json!({"levels": one_level(json!({"type": "offline"}))}));
    assert_eq!(limits(&offline), 1);
    let silent = rule(json!({"levels": one_level(json!({"type": "silent", "for": "1m"})),
                             "repeat": "1h", "latching": true}));
    assert_eq!(limits(&silent), 4);
}
