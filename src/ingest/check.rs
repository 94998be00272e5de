//! What a sensor's settings say of a reading: an inactive sensor takes none, and a value outside its
//! physical range is uncertain. Pure; the committer asks, with the settings of the moment.

use super::rejection::{Rejection, RejectionReason};
use crate::telemetry::Quality;

/// What is set for a sensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SensorRules {
    pub(super) active: bool,
    /// Lowest value that is physically possible, in the sensor's unit.
    pub(super) min: Option<f64>,
    /// Highest such value.
    pub(super) max: Option<f64>,
}

/// The quality that the rules leave a value at best; a reading without a value breaks no range.
///
/// # Errors
/// When the sensor is inactive.
pub(super) fn check(
    sensor: &str,
    value: Option<f64>,
    rules: SensorRules,
) -> Result<Quality, Rejection> {
    if !rules.active {
        let detail = "the sensor is set inactive; activate it to take its readings";
        return Err(Rejection::of_sensor(sensor, RejectionReason::Inactive, detail));
    }
    let is_outside = value.is_some_and(|value| {
        rules.min.is_some_and(|min| value < min) || rules.max.is_some_and(|max| value > max)
    });
    Ok(if is_outside { Quality::Uncertain } else { Quality::Good })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_themselves_are_inside() {
        let rules = SensorRules { active: true, min: Some(-40.0), max: Some(85.0) };
        for (value, expected) in [
            (Some(-40.0), Quality::Good),
            (Some(85.0), Quality::Good),
            (Some(-40.1), Quality::Uncertain),
            (Some(85.1), Quality::Uncertain),
            (None, Quality::Good),
        ] {
            assert_eq!(check("t", value, rules), Ok(expected), "{value:?}");
        }
        let open = SensorRules { min: None, max: None, ..rules };
        assert_eq!(check("t", Some(f64::MAX), open), Ok(Quality::Good));
    }

    #[test]
    fn an_inactive_sensor_takes_nothing() {
        let rules = SensorRules { active: false, min: None, max: None };
        let refused = check("t", Some(1.0), rules).unwrap_err();
        assert_eq!(
            (refused.sensor.as_deref(), refused.reason),
            (Some("t"), RejectionReason::Inactive)
        );
    }
}
