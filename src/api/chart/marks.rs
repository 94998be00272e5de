//! What of alarms stands in a chart: the limits of rules, and when alarms were raised and cleared.

use std::sync::Arc;

use crate::{
    alarm::rule::{AlarmRule, ScopedDevice, ScopedSensor, Severity},
    api::{Api, problem::Fault},
    chart::{Axis, Limit, Marker},
    registry::Sensor,
    store::AlarmMark,
    telemetry::Timestamp,
};

/// Limits and markers in one chart; further ones would hide it.
const LIMITS_MAX: usize = 40;
const MARKERS_MAX: u32 = 100;

/// Where enabled rules raise alarms of these sensors.
pub(super) async fn limits(
    api: &Api,
    sensors: &[Arc<Sensor>],
    axes: &[Axis],
) -> Result<Vec<Limit>, Fault> {
    let rules = api.store.alarm_rules().await?.into_iter().filter(|row| row.enabled);
    let rules: Vec<_> =
        rules.filter_map(|row| Some((row.id, AlarmRule::from_json(&row.body).ok()?))).collect();
    let mut limits: Vec<Limit> = Vec::new();
    for (sensor, axis) in sensors.iter().zip(axes) {
        let Some(device) = api.registry.get(sensor.device.as_str()) else { continue };
        let device = device.snapshot();
        let scoped = ScopedDevice {
            key: device.key.as_str(),
            kind: device.kind.as_str(),
            gateway: device.gateway.as_deref(),
            labels: &device.labels,
        };
        let sensor_type = sensor.with_settings(|settings| settings.kind.clone());
        let sensor_type = sensor_type.as_deref();
        let scoped_sensor = ScopedSensor { name: sensor.name.as_str(), sensor_type };
        for (rule, body) in &rules {
            for area in body.areas(&scoped, &scoped_sensor) {
                let severity = area.severity.as_str();
                let (low, high) = (area.low, area.high);
                let limit = Limit { rule: *rule, axis: *axis, severity, low, high };
                if limits.len() < LIMITS_MAX && !limits.contains(&limit) {
                    limits.push(limit);
                }
            }
        }
    }
    Ok(limits)
}

/// The last moments of alarms of these sensors and their devices, in the order of time.
pub(super) async fn markers(
    api: &Api,
    sensors: &[Arc<Sensor>],
    range: (Timestamp, Timestamp),
) -> Result<Vec<Marker>, Fault> {
    let mut marks: Vec<AlarmMark> = Vec::new();
    let mut devices: Vec<&str> = sensors.iter().map(|sensor| sensor.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    let originators = devices.into_iter().map(|device| (device, None));
    let of_sensors = sensors.iter().map(|sensor| (sensor.device.as_str(), Some(sensor.id)));
    for originator in originators.chain(of_sensors) {
        marks.extend(api.store.alarm_marks(originator, range, MARKERS_MAX).await?);
    }
    marks.sort_by_key(|mark| (std::cmp::Reverse(mark.at), mark.alarm));
    marks.truncate(MARKERS_MAX as usize);
    marks.reverse();
    let marker = |mark: AlarmMark| Marker {
        alarm: mark.alarm,
        at: mark.at,
        severity: Severity::from_code(mark.severity).unwrap_or_default().as_str(),
        is_raised: mark.is_raised,
    };
    Ok(marks.into_iter().map(marker).collect())
}
