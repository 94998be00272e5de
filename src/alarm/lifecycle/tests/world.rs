//! Histories of one originator, drawn at random, and rules to judge them by.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What happened at one time.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Message { at: Timestamp, status: Option<&'static str>, readings: Vec<JudgedReading> },
    Presence { at: Timestamp, online: bool },
    Down { from: Timestamp, to: Timestamp },
}

/// A happening before it has its place in time; times are milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    gap: i64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Message { status: Option<&'static str>, readings: Vec<DraftReading> },
    Presence(bool),
    Down(i64),
}

#[derive(Debug, Clone)]
struct DraftReading {
    slot: u8,
    ahead: i64,
    value: Option<u8>,
}

fn draft_reading() -> impl Strategy<Value = DraftReading> {
    let ahead = prop_oneof![
        12 => Just(0_i64),
        3 => -30_000..30_000_i64,
        1 => -400_000..-60_000_i64,
    ];
    let value = prop_oneof![9 => (0_u8..11).prop_map(Some), 1 => Just(None)];
    (0_u8..2, ahead, value).prop_map(|(slot, ahead, value)| DraftReading { slot, ahead, value })
}

pub(super) fn drafts(most: usize) -> impl Strategy<Value = Vec<Draft>> {
    // Whole seconds half of the time, so that inputs meet deadlines.
    let gap = prop_oneof![
        5 => (1_i64..12).prop_map(|seconds| seconds * 1_000),
        4 => 1_i64..15_000,
        1 => 30_000_i64..150_000,
    ];
    let status = prop_oneof![Just(None), Just(Some("ok")), Just(Some("fault"))];
    let readings = prop::collection::vec(draft_reading(), 0..4);
    let kind = prop_oneof![
        12 => (status, readings).prop_map(|(status, readings)| Kind::Message { status, readings }),
        2 => any::<bool>().prop_map(Kind::Presence),
        1 => (1_000_i64..100_000).prop_map(Kind::Down),
    ];
    prop::collection::vec((gap, kind).prop_map(|(gap, kind)| Draft { gap, kind }), 1..most)
}

/// Gives the drafts their times, and says which readings are late.
pub(super) fn history(rule: &CompiledRule, drafts: &[Draft]) -> Vec<Happening> {
    let mut at = Timestamp::from_micros(START);
    let mut newest = [Timestamp::MIN; 2];
    let mut place = |at: Timestamp, draft: &DraftReading| {
        let slot = if rule.sensors().len() > 1 { draft.slot } else { 0 };
        let event_time = at.plus_micros(draft.ahead * 1_000);
        let newest = &mut newest[usize::from(slot)];
        let late = event_time < *newest && event_time < at.plus_micros(-60_000_000);
        *newest = event_time.max(*newest);
        let value = draft.value.map(f64::from);
        let quality = if value.is_some() { Quality::Good } else { Quality::Bad };
        JudgedReading { sensor: Slot(slot), event_time, received_at: at, value, quality, late }
    };
    let mut history = Vec::new();
    for draft in drafts {
        at = at.plus_micros(draft.gap * 1_000);
        history.push(match &draft.kind {
            Kind::Message { status, readings } => {
                let readings = readings.iter().map(|reading| place(at, reading)).collect();
                Happening::Message { at, status: *status, readings }
            }
            Kind::Presence(online) => Happening::Presence { at, online: *online },
            Kind::Down(length) => {
                let from = at;
                at = at.plus_micros(length * 1_000);
                Happening::Down { from, to: at }
            }
        });
    }
    history
}

impl Happening {
    pub(super) fn start(&self) -> Timestamp {
        match self {
            Self::Message { at, .. } | Self::Presence { at, .. } => *at,
            Self::Down { from, .. } => *from,
        }
    }

    pub(super) fn end(&self) -> Timestamp {
        match self {
            Self::Down { to, .. } => *to,
            other => other.start(),
        }
    }

    /// What of it concerns the rule, as inputs.
    pub(super) fn inputs(&self, rule: &CompiledRule) -> Vec<Input<'static>> {
        match self {
            Self::Message { at, status, readings } => {
                let at = *at;
                let looks_at_sensors = !rule.is_per_device() || !rule.sensors().is_empty();
                let status = status.filter(|_| rule.asks_status());
                let mut inputs: Vec<_> =
                    status.map(|text| Input::Status { text, at }).into_iter().collect();
                if looks_at_sensors {
                    inputs.extend(readings.iter().map(|reading| Input::Reading(*reading)));
                }
                if inputs.is_empty() && rule.asks_signs() {
                    inputs.push(Input::Sign { at });
                }
                inputs
            }
            Self::Presence { at, online } if rule.asks_presence() => {
                vec![Input::Presence { online: *online, at: *at }]
            }
            Self::Presence { .. } => Vec::new(),
            Self::Down { from, to } => vec![Input::Down { from: *from, to: *to }],
        }
    }
}

/// A time after everything has settled.
pub(super) fn end(history: &[Happening]) -> Timestamp {
    let last = history.last().map_or(Timestamp::from_micros(START), Happening::end);
    last.plus_micros(3_600_000_000)
}

pub(super) fn feed<'a>(
    rule: &CompiledRule,
    state: &mut State,
    inputs: impl IntoIterator<Item = Input<'a>>,
) -> Vec<Transition> {
    let mut out = Vec::new();
    for input in inputs {
        step(rule, state, input, &mut out);
    }
    out
}

pub(super) fn judge(rule: &CompiledRule, history: &[Happening]) -> Vec<Transition> {
    let mut state = State::new(rule);
    let mut out = feed(rule, &mut state, history.iter().flat_map(|h| h.inputs(rule)));
    out.extend(feed(rule, &mut state, [Input::Tick { watermark: end(history) }]));
    out
}

/// Conditions for two levels, `warning` and `critical`.
fn conditions() -> Vec<[Value; 2]> {
    let above =
        |sensor: &str, limit: u8| json!({"sensor": sensor, "type": "above", "limit": limit});
    let aggregate = |function: &str, window: &str, limit: Value| json!({"type": "aggregate", "function": function, "window": window, "above": limit});
    let count_of = |n: u8, m: u8| json!({"type": "count_of", "n": n, "m": m, "condition": {"type": "above", "limit": 5}});
    let period = |kind: &str, period: &str| json!({"type": kind, "for": period});
    let offline = json!({"type": "offline"});
    let fault = json!({"type": "equals", "value": "fault"});
    vec![
        [
            json!({"type": "above", "limit": 5, "deadband": 2}),
            json!({"type": "above", "limit": 7, "clear_limit": 6}),
        ],
        [json!({"type": "below", "limit": 5}), json!({"type": "below", "limit": 3, "deadband": 1})],
        [
            json!({"type": "outside", "low": 3, "high": 8, "deadband": 1}),
            json!({"type": "inside", "low": 0, "high": 2, "deadband": 1}),
        ],
        [json!({"type": "differs", "value": 5}), json!({"type": "equals", "value": 3})],
        [
            json!({"type": "rate", "above": 6, "per": "1m", "window": "30s"}),
            json!({"type": "rate", "above": {"limit": 20, "deadband": 5}, "below": -20, "per": "1m", "window": "1m"}),
        ],
        [period("stuck", "10s"), period("stuck", "40s")],
        [
            aggregate("mean", "30s", json!({"limit": 5, "deadband": 1})),
            aggregate("max", "1m", json!(8)),
        ],
        [aggregate("count", "1m", json!(5)), aggregate("stddev", "30s", json!(2))],
        [count_of(2, 3), count_of(4, 6)],
        [period("missing", "10s"), period("missing", "40s")],
        [json!({"type": "bad_quality"}), json!({"type": "above", "limit": 5})],
        [
            json!({"type": "all", "conditions": [above("a", 4), above("b", 4)]}),
            json!({"type": "any", "conditions": [
                {"sensor": "a", "type": "missing", "for": "20s"}, above("b", 8)]}),
        ],
        [
            json!({"type": "all", "conditions": [above("a", 3), {"sensor": "b", "type": "aggregate",
                "function": "mean", "window": "20s", "below": {"limit": 6, "deadband": 1}}]}),
            json!({"type": "any", "conditions": [offline, above("b", 8)]}),
        ],
        [period("silent", "10s"), period("silent", "40s")],
        [fault.clone(), json!({"type": "any", "conditions": [offline, fault]})],
    ]
}

fn delay() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("0s"), 1 => Just("5s"), 1 => Just("7s"), 1 => Just("30s")]
}

/// Any kind of condition, with one level or two, delays, and perhaps a schedule.
pub(super) fn rules() -> impl Strategy<Value = Value> {
    let delays = (delay(), delay(), delay(), delay());
    let choice = (0..conditions().len(), 0..3, any::<bool>(), 0..4);
    (choice, delays).prop_map(|((conditions_at, levels, judges_late, hours), delays)| {
        let [warning, critical] = conditions()[conditions_at].clone();
        let warning = json!({"severity": "warning", "condition": warning});
        let critical = json!({"severity": "critical", "condition": critical,
            "on_delay": delays.2, "off_delay": delays.3});
        let levels = match levels {
            0 => vec![warning],
            1 => vec![critical],
            _ => vec![warning, critical],
        };
        let mut rule = json!({"name": "x", "levels": levels, "judges_late": judges_late,
            "on_delay": delays.0, "off_delay": delays.1});
        if hours == 0 {
            rule["schedule"] = json!([
                {"from": "06:31", "to": "06:33"}, {"from": "06:34", "to": "06:40"}]);
        }
        rule
    })
}
