//! Values of a sensor at which a rule raises an alarm, as far as they can be shown as areas of a chart.

use super::{AlarmRule, Condition, Function, Limit, ScopedDevice, ScopedSensor, Severity, Test};

/// From `low`, or from below everything, up to `high`, or above everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    pub severity: Severity,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl AlarmRule {
    /// The areas of its levels for a sensor of a device; none where it is not for them, or asks for
    /// something else than values.
    pub fn areas(&self, device: &ScopedDevice<'_>, sensor: &ScopedSensor<'_>) -> Vec<Area> {
        if !self.scope.matches_device(device) {
            return Vec::new();
        }
        let is_own = !self.is_per_device() && self.scope.matches_sensor(sensor);
        let mut areas = Vec::new();
        for level in &self.levels {
            let mut found = Vec::new();
            collect(&level.condition, sensor.name, is_own, &mut found);
            let area = |(low, high)| Area { severity: level.severity, low, high };
            areas.extend(found.into_iter().map(area));
        }
        areas
    }
}

type Range = (Option<f64>, Option<f64>);

/// `is_asked`: the condition is about the sensor where it names none.
fn collect(condition: &Condition, sensor: &str, is_asked: bool, found: &mut Vec<Range>) {
    let is_asked = condition.sensor.as_deref().map_or(is_asked, |named| named == sensor);
    match &condition.test {
        Test::All(parts) | Test::Any(parts) => {
            parts.iter().for_each(|part| collect(part, sensor, is_asked, found));
        }
        Test::CountOf(count) => collect(&count.condition, sensor, is_asked, found),
        Test::Limit(limit) if is_asked => ranges(limit, found),
        Test::Aggregate(aggregate) if is_asked => match aggregate.function {
            Function::Mean | Function::Min | Function::Max => ranges(&aggregate.limit, found),
            Function::Count | Function::Stddev => {}
        },
        _ => {}
    }
}

fn ranges(limit: &Limit, found: &mut Vec<Range>) {
    match limit {
        Limit::Above(bound) => found.push((Some(bound.limit), None)),
        Limit::Below(bound) => found.push((None, Some(bound.limit))),
        Limit::Inside(band) => found.push((Some(band.low), Some(band.high))),
        Limit::Outside(band) => found.extend([(None, Some(band.low)), (Some(band.high), None)]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn areas(rule: serde_json::Value, sensor: &str) -> Vec<(Severity, Range)> {
        let rule = AlarmRule::from_value(rule).unwrap();
        let labels = Map::new();
        let device = ScopedDevice { key: "d", kind: "device", gateway: None, labels: &labels };
        let sensor = ScopedSensor { name: sensor, sensor_type: None };
        let areas = rule.areas(&device, &sensor);
        areas.into_iter().map(|area| (area.severity, (area.low, area.high))).collect()
    }

    #[test]
    fn limits_are_areas_for_the_sensors_of_the_scope() {
        let rule = json!({"name": "r", "scope": {"sensors": ["t"]}, "levels": [
            {"severity": "warning", "condition": {"type": "above", "limit": 30}},
            {"severity": "critical", "condition": {"type": "outside", "low": 5, "high": 40}},
        ]});
        let expected = [
            (Severity::Warning, (Some(30.0), None)),
            (Severity::Critical, (None, Some(5.0))),
            (Severity::Critical, (Some(40.0), None)),
        ];
        assert_eq!(areas(rule.clone(), "t"), expected);
        assert_eq!(areas(rule, "h"), []);
        let elsewhere = json!({"name": "r", "scope": {"devices": ["e"]}, "levels": [
            {"severity": "warning", "condition": {"type": "above", "limit": 30}},
        ]});
        assert_eq!(areas(elsewhere, "t"), []);
    }

    #[test]
    fn parts_of_a_condition_are_for_the_sensors_that_they_name() {
        let rule = json!({"name": "r", "levels": [{"severity": "major", "condition": {"type": "all", "conditions": [
            {"type": "above", "sensor": "t", "limit": 30},
            {"type": "below", "sensor": "h", "limit": 20},
        ]}}]});
        assert_eq!(areas(rule.clone(), "t"), [(Severity::Major, (Some(30.0), None))]);
        assert_eq!(areas(rule.clone(), "h"), [(Severity::Major, (None, Some(20.0)))]);
        assert_eq!(areas(rule, "x"), []);
        let silent = json!({"name": "r", "levels": [
            {"severity": "major", "condition": {"type": "offline"}},
        ]});
        assert_eq!(areas(silent, "t"), []);
    }
}
