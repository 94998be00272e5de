//! Ready-made rules for common sensors, to start from.

use serde_json::{Value, json};

/// A rule with a title; `rule` is the JSON that a new rule is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    pub name: &'static str,
    pub title: &'static str,
    pub rule: Value,
}

pub fn presets() -> Vec<Preset> {
    vec![
        Preset { name: "temperature", title: "Temperature too high", rule: temperature() },
        Preset { name: "humidity", title: "Humidity out of range", rule: humidity() },
        Preset { name: "battery", title: "Battery low", rule: battery() },
        Preset { name: "offline", title: "Device offline", rule: offline() },
        Preset { name: "missing", title: "Sensor silent", rule: missing() },
    ]
}

fn temperature() -> Value {
    json!({
        "name": "Temperature too high",
        "scope": { "sensor_glob": "temp*" },
        "levels": [
            { "severity": "warning", "condition": { "type": "above", "limit": 30, "deadband": 1 } },
            { "severity": "critical", "condition": { "type": "above", "limit": 40, "deadband": 1 } }
        ],
        "on_delay": "30s",
        "message": "{device} {sensor}: {value} {unit}, limit {limit} ({severity})"
    })
}

fn humidity() -> Value {
    json!({
        "name": "Humidity out of range",
        "scope": { "sensor_glob": "humid*" },
        "levels": [{
            "severity": "warning",
            "condition": { "type": "outside", "low": 30, "high": 70, "deadband": 2 }
        }],
        "on_delay": "5m",
        "message": "{device} {sensor}: {value} {unit}, range {limit}"
    })
}

fn battery() -> Value {
    json!({
        "name": "Battery low",
        "scope": { "sensor_glob": "batt*" },
        "levels": [
            { "severity": "warning", "condition": { "type": "below", "limit": 20, "deadband": 5 } },
            { "severity": "major", "condition": { "type": "below", "limit": 5, "deadband": 5 } }
        ],
        "cooldown": "12h",
        "message": "{device}: battery at {value} {unit}"
    })
}

fn offline() -> Value {
    json!({
        "name": "Device offline",
        "levels": [{ "severity": "major", "condition": { "type": "offline" } }],
        "on_delay": "1m",
        "message": "{device_name} is offline"
    })
}

fn missing() -> Value {
    json!({
        "name": "Sensor silent",
        "levels": [{ "severity": "minor", "condition": { "type": "missing", "for": "15m" } }],
        "suppressed_by": ["Device offline"],
        "message": "{device}: no reading of {sensor} for {limit}"
    })
}
