use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::telemetry::Timestamp;

const FULL: &str = r#"{
    "name": "Boiler too hot", "description": "", "enabled": true,
    "scope": {
        "devices": ["boiler-1"], "kinds": ["gateway"], "gateways": ["gw-1"],
        "labels": {"room": "cellar"}, "device_glob": "boiler-*",
        "sensors": ["temperature"], "sensor_types": ["temperature"], "sensor_glob": "temp*"},
    "levels": [
        {"severity": "warning", "condition": {"type": "above", "limit": 30, "deadband": 1}},
        {"severity": "critical", "condition": {"type": "above", "limit": 40, "clear_limit": 38},
         "on_delay": "10s"}],
    "on_delay": "0s", "off_delay": "0s", "cooldown": "60s", "repeat": "1h",
    "schedule": {"weekdays": ["mon", "tue"], "from": "08:00", "to": "18:00",
                 "zone": "Europe/Berlin"},
    "latching": false, "judges_late": false, "suppressed_by": ["rule name"],
    "message": "{device} {sensor}: {value} {unit}, limit {limit} ({severity})",
    "labels": {"team": "heating"}, "targets": ["ops-mail"]
}"#;

fn with_condition(condition: Value) -> Value {
    json!({ "name": "x", "levels": [{ "severity": "minor", "condition": condition }] })
}

fn problems(rule: Value) -> Vec<(String, String)> {
    let problems = AlarmRule::from_value(rule).unwrap_err().problems;
    problems.into_iter().map(|Problem { path, detail }| (path, detail)).collect()
}

#[test]
fn a_full_rule_is_read_and_written_back() {
    let rule = AlarmRule::from_json(FULL).unwrap();
    assert_eq!(rule.levels.len(), 2);
    assert_eq!(rule.limit_text(Severity::Critical).as_deref(), Some("40"));
    assert!(!rule.is_per_device());
    assert_eq!(AlarmRule::from_json(&rule.to_json()).unwrap(), rule);
}

#[test]
fn defaults_are_filled_in() {
    let rule = AlarmRule::from_value(with_condition(json!({"type": "below", "limit": 5}))).unwrap();
    assert!(rule.enabled && !rule.latching && rule.repeat.is_none());
    assert_eq!(rule.cooldown.to_string(), "1m");
    assert_eq!(rule.schedule, Schedule::default());
}

#[test]
fn every_condition_is_read_and_written_back() {
    let conditions = [
        json!({"type": "above", "limit": 30.5, "clear_limit": 29.0}),
        json!({"type": "below", "limit": 5.0, "deadband": 1.0}),
        json!({"type": "outside", "low": 1.0, "high": 9.0, "deadband": 0.5}),
        json!({"type": "inside", "low": 1.0, "high": 9.0}),
        json!({"type": "equals", "value": 3.0}),
        json!({"type": "differs", "value": "ok"}),
        json!({"type": "rate", "above": 2.0, "below": {"limit": -2.0, "deadband": 0.5}, "per": "1m", "window": "5m"}),
        json!({"type": "stuck", "for": "10m"}),
        json!({"type": "aggregate", "function": "stddev", "above": 1.5, "window": "10m"}),
        json!({"type": "count_of", "n": 3, "m": 5, "condition": {"type": "above", "limit": 1.0}}),
        json!({"type": "missing", "for": "15m"}),
        json!({"type": "silent", "for": "15m"}),
        json!({"type": "offline"}),
        json!({"type": "bad_quality"}),
        json!({"type": "all", "conditions": [
            {"sensor": "a", "type": "above", "limit": 1.0},
            {"type": "any", "conditions": [{"type": "offline"}, {"sensor": "b", "type": "stuck", "for": "1m"}]}]}),
    ];
    for condition in conditions {
        let rule = AlarmRule::from_value(with_condition(condition.clone())).unwrap();
        let written = serde_json::to_value(&rule).unwrap();
        let mut expected: Value = condition;
        let mut found = written["levels"][0]["condition"].clone();
        expected.sort_all_objects();
        found.sort_all_objects();
        assert_eq!(found, expected);
    }
}

#[test]
fn mistakes_are_told_with_their_path() {
    let deep = json!({"type": "all", "conditions": [
        {"sensor": "a", "type": "above", "limit": "30"}, {"type": "offline"}]});
    let cases = [
        (with_condition(deep), "/levels/0/condition/conditions/0/limit", "expected f64"),
        (with_condition(json!({"type": "abov"})), "/levels/0/condition/type", "expected one of"),
        (with_condition(json!({"type": "above"})), "/levels/0/condition", "needs `limit`"),
        (
            with_condition(json!({"type": "above", "limit": 3, "window": "1m"})),
            "/levels/0/condition",
            "`window` is no part of this \"above\", which takes limit",
        ),
        (
            with_condition(json!({"type": "above", "limt": 3})),
            "/levels/0/condition/limt",
            "unknown field `limt`",
        ),
        (
            with_condition(json!({"type": "missing", "for": 60})),
            "/levels/0/condition/for",
            "a duration such as",
        ),
        (
            with_condition(json!({"type": "offline", "sensor": "a"})),
            "/levels/0/condition",
            "`sensor` is no part",
        ),
        (json!({"name": "x", "levels": [], "colour": 1}), "/colour", "unknown field"),
        (json!({"name": "x", "levels": []}), "/levels", "1 to 5"),
        (
            with_condition(json!({"type": "above", "limit": 30, "clear_limit": 31})),
            "/levels/0/condition/clear_limit",
            "quiet side",
        ),
        (
            with_condition(json!({"type": "outside", "low": 1, "high": 2, "deadband": 0.5})),
            "/levels/0/condition/deadband",
            "half of the range",
        ),
        (
            with_condition(
                json!({"type": "count_of", "n": 3, "m": 2, "condition": {"type": "above", "limit": 1}}),
            ),
            "/levels/0/condition",
            "n <= m",
        ),
        (
            with_condition(
                json!({"type": "count_of", "n": 1, "m": 2, "condition": {"type": "above", "limit": 1, "deadband": 1}}),
            ),
            "/levels/0/condition/condition",
            "without clear_limit",
        ),
        (
            with_condition(
                json!({"type": "all", "conditions": [{"type": "offline"}, {"type": "above", "limit": 1}]}),
            ),
            "/levels/0/condition/conditions/1",
            "which `sensor`",
        ),
        (
            with_condition(json!({"type": "equals", "value": "ok", "from": "reading"})),
            "/levels/0/condition",
            "a reading is a number",
        ),
    ];
    for (rule, path, detail) in cases {
        let problems = problems(rule.clone());
        let is_told = problems.iter().any(|(at, text)| at == path && text.contains(detail));
        assert!(is_told, "{rule}: {problems:?}, not {path}: {detail}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let problems = problems(json!({
        "name": " ",
        "scope": {"kinds": ["fridge"]},
        "levels": [
            {"severity": "major", "condition": {"type": "stuck", "for": "0s"}},
            {"severity": "minor", "condition": {"type": "bad_quality"}}],
        "schedule": [{"zone": "Mars/Olympus"}],
        "message": "{colour}",
        "labels": {"1a": "x"},
        "suppressed_by": [" "],
        "repeat": "1s",
    }));
    let paths: Vec<_> = problems.iter().map(|(path, _)| path.as_str()).collect();
    for path in [
        "/name",
        "/scope/kinds/0",
        "/levels/0/condition/for",
        "/levels/1/severity",
        "/schedule/0/zone",
        "/message",
        "/labels/1a",
        "/suppressed_by/0",
        "/repeat",
    ] {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
}

#[test]
fn presets_are_legal_rules() {
    for preset in presets() {
        let rule = AlarmRule::from_value(preset.rule);
        assert!(rule.is_ok(), "{}: {rule:?}", preset.name);
    }
}

fn labels(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn every_part_of_a_scope_must_match() {
    let scope = AlarmRule::from_json(FULL).unwrap().scope;
    let cellar = labels(json!({"room": "cellar", "floor": -1}));
    let device =
        ScopedDevice { key: "boiler-1", kind: "gateway", gateway: Some("gw-1"), labels: &cellar };
    let sensor = ScopedSensor { name: "temperature", sensor_type: Some("temperature") };
    assert!(scope.matches(&device, Some(&sensor)));
    assert!(scope.matches(&device, None));
    for wrong in [
        ScopedDevice { key: "boiler-2", ..device },
        ScopedDevice { kind: "device", ..device },
        ScopedDevice { gateway: None, ..device },
        ScopedDevice { labels: &Map::new(), ..device },
    ] {
        assert!(!scope.matches(&wrong, Some(&sensor)), "{wrong:?}");
    }
    for wrong in
        [ScopedSensor { name: "humidity", ..sensor }, ScopedSensor { sensor_type: None, ..sensor }]
    {
        assert!(!scope.matches(&device, Some(&wrong)), "{wrong:?}");
    }
    assert!(Scope::default().matches(&device, Some(&sensor)));
    let by_number = Scope { labels: [("floor".into(), "-1".into())].into(), ..Scope::default() };
    assert!(by_number.matches_device(&device));
}

#[test]
fn globs_match() {
    for (glob, text, matches) in [
        ("*", "", true),
        ("temp*", "temperature", true),
        ("temp*", "tem", false),
        ("*ture", "temperature", true),
        ("t?mp", "temp", true),
        ("t?mp", "tmp", false),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("**?", "é", true),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(glob_matches(glob, text), matches, "{glob} {text}");
    }
}

proptest! {
    #[test]
    fn globs_match_as_the_plain_definition_says(glob in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        fn plain(glob: &[u8], text: &[u8]) -> bool {
            match (glob, text) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| plain(rest, &text[skip..])),
                ([b'?', glob @ ..], [_, text @ ..]) => plain(glob, text),
                ([g, glob @ ..], [t, text @ ..]) => g == t && plain(glob, text),
                _ => false,
            }
        }
        prop_assert_eq!(glob_matches(&glob, &text), plain(glob.as_bytes(), text.as_bytes()));
    }
}

#[test]
fn a_message_is_rendered() {
    let facts = MessageFacts {
        device: "esp",
        device_name: Some("Cabinet"),
        sensor: Some("temperature"),
        value: Some(41.5),
        unit: None,
        limit: Some("40"),
        severity: Severity::Critical,
        time: "2025-12-19T06:30:00Z".parse().unwrap(),
        rule: "Hot",
    };
    let render = |text| MessageTemplate::parse(text).unwrap().render(&facts);
    assert_eq!(
        render(
            "{rule} {device_name}/{device} {sensor}: {value} {unit} > {limit}, {severity} {time}"
        ),
        "Hot Cabinet/esp temperature: 41.5 > 40, critical 2025-12-19T06:30:00.000Z"
    );
    assert_eq!(render("{value} {unit}, limit {limit}"), "41.5, limit 40");
    assert_eq!(render("{{x}}"), "{x}");
    for wrong in ["{valu}", "{value", "a } b"] {
        assert!(MessageTemplate::parse(wrong).is_err(), "{wrong}");
    }
}

fn calendar(json: Value) -> Calendar {
    Calendar::new(&serde_json::from_value(json).unwrap()).unwrap().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn hours_are_those_of_their_zone_and_weekdays() {
    let work = calendar(json!({"weekdays": ["mon", "fri"], "from": "08:00", "to": "18:00",
                               "zone": "Europe/Berlin"}));
    // 2025-12-19 is a Friday; Berlin is one hour ahead of UTC.
    assert!(!work.contains(at("2025-12-19T06:59:59.999Z")));
    assert!(work.contains(at("2025-12-19T07:00:00Z")));
    assert!(work.contains(at("2025-12-19T16:59:59Z")));
    assert!(!work.contains(at("2025-12-19T17:00:00Z")));
    assert!(!work.contains(at("2025-12-20T12:00:00Z")));
    assert_eq!(work.next_change(at("2025-12-19T06:00:00Z")), Some(at("2025-12-19T07:00:00Z")));
    assert_eq!(work.next_change(at("2025-12-19T07:00:00Z")), Some(at("2025-12-19T17:00:00Z")));
    assert_eq!(work.next_change(at("2025-12-19T17:00:00Z")), Some(at("2025-12-22T07:00:00Z")));
    assert!(Calendar::new(&Schedule::default()).unwrap().is_none());
}

#[test]
fn hours_past_midnight_belong_to_the_day_on_which_they_begin() {
    let night = calendar(json!({"weekdays": ["fri"], "from": "22:00", "to": "06:00"}));
    assert!(night.contains(at("2025-12-19T22:00:00Z")));
    assert!(night.contains(at("2025-12-20T05:59:59Z")));
    assert!(!night.contains(at("2025-12-20T06:00:00Z")));
    assert!(!night.contains(at("2025-12-20T22:00:00Z")));
    let all = calendar(json!([{"to": "12:00"}, {"from": "12:00"}]));
    assert!(all.contains(at("2025-12-20T12:00:00Z")));
    assert_eq!(all.next_change(at("2025-12-20T06:00:00Z")), None);
}

proptest! {
    /// Clocks are turned on 2025-03-30 and 2025-10-26 in Berlin.
    #[test]
    fn the_next_change_is_the_first(
        day in prop::sample::select(vec!["2025-03-29T22:00:00Z", "2025-10-25T22:00:00Z"]),
        offset in 0_i64..10 * 60,
        from in 0_u16..24 * 6,
        to in 0_u16..=24 * 6,
    ) {
        prop_assume!(from != to);
        let text = |tens: u16| format!("{:02}:{:02}", tens / 6, tens % 6 * 10);
        let hours = calendar(json!({"from": text(from), "to": text(to), "zone": "Europe/Berlin"}));
        let start = at(day).plus_micros(offset * 60_000_000);
        let is_open = hours.contains(start);
        let minute = |n: i64| start.plus_micros(n * 60_000_000);
        let first = (1..=3 * 24 * 60).find(|n| hours.contains(minute(*n)) != is_open).map(minute);
        prop_assert_eq!(hours.next_change(start).filter(|at| *at <= minute(3 * 24 * 60)), first);
    }
}
