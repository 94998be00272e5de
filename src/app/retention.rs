//! Drops what is older than the configuration keeps, in small steps: ingest gets between, and half of the
//! time is its own.
//!
//! A sensor whose readings are damaged is passed over and told of; the rest goes on.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::{
    alarm::rule::{Scope, ScopedDevice, ScopedSensor, glob_matches},
    clock::Clock,
    config::{self, Period, Terms},
    metrics::names,
    registry::{DeviceSnapshot, Registry, Sensor},
    store::{Old, Store, StoreError},
    telemetry::Timestamp,
};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// The longest pause between two steps.
const PAUSE_MAX: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) struct Retention {
    pub(super) store: Store,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) settings: Arc<config::Retention>,
}

/// What a pass has done.
#[derive(Debug, Default)]
struct Pass {
    readings: u64,
    hours: u64,
    days: u64,
    damaged: u64,
}

impl Retention {
    /// Does nothing where everything is kept.
    pub(super) fn start(self, tasks: &mut Tasks) {
        if !self.settings.drops() {
            return;
        }
        let stop = tasks.stop_token();
        tasks.spawn("retention", async move {
            loop {
                self.pass_unless(&stop).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(self.settings.interval.0) => {}
                }
            }
        });
    }

    async fn pass_unless(&self, stop: &CancellationToken) {
        let mut pass = Pass::default();
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = self.pass(&mut pass) => ended,
        };
        match ended {
            Ok(()) => gauge!(names::RETENTION_LAST_RUN).set(self.now() as f64 / 1e6),
            Err(error) => {
                counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
                tracing::warn!(%error, "what is too old waits for the next look");
            }
        }
        let Pass { readings, hours, days, damaged } = pass;
        if readings + hours + days + damaged > 0 {
            tracing::info!(readings, hours, days, damaged, "what was too old is dropped");
        }
    }

    async fn pass(&self, pass: &mut Pass) -> Result<(), StoreError> {
        for device in self.registry.all() {
            let snapshot = device.snapshot();
            for sensor in device.sensors() {
                let terms = terms_of(&self.settings, &snapshot, &sensor);
                match self.drop_old(&sensor, terms, pass).await {
                    Err(StoreError::Damaged(error)) => {
                        pass.damaged += 1;
                        tracing::error!(
                            error,
                            sensor = sensor.id.0,
                            "a sensor's old readings stay"
                        );
                    }
                    ended => ended?,
                }
            }
        }
        Ok(())
    }

    async fn drop_old(
        &self,
        sensor: &Sensor,
        terms: Terms,
        pass: &mut Pass,
    ) -> Result<(), StoreError> {
        let now = self.now();
        if terms.raw == Period::ZERO {
            return Ok(());
        }
        let raw = Old::Raw { keeps_minutes: terms.minutes };
        let before = cut(now, terms.raw);
        let dropped = drop_all(&self.store, sensor, raw, before).await?;
        pass.readings += dropped;
        if dropped > 0 {
            look_for_newest(&self.store, sensor).await?;
        }
        for (old, term, count) in
            [(Old::Hours, terms.hourly, &mut pass.hours), (Old::Days, terms.daily, &mut pass.days)]
        {
            if term != Period::ZERO {
                *count += drop_all(&self.store, sensor, old, cut(now, term)).await?;
            }
        }
        Ok(())
    }

    fn now(&self) -> i64 {
        self.clock.unix_micros()
    }
}

/// Up to where what is kept for a time is too old: whole days of it, or hours where it is short.
fn cut(now: i64, kept: Period) -> Timestamp {
    let micros = kept.as_micros();
    let unit = if micros >= 2 * DAY { DAY } else { HOUR };
    let before = now.saturating_sub(micros);
    Timestamp::from_micros(before.saturating_sub(before.rem_euclid(unit)))
}

/// Drops all that a sensor has of something from before a time; returns how much.
pub(super) async fn drop_all(
    store: &Store,
    sensor: &Sensor,
    old: Old,
    before: Timestamp,
) -> Result<u64, StoreError> {
    let mut rows = 0;
    loop {
        let began = tokio::time::Instant::now();
        let step = store.drop_some(sensor.id, old, before).await?;
        rows += step.readings;
        if matches!(old, Old::Raw { .. }) {
            counter!(names::RETENTION_DROPPED).increment(step.readings);
        }
        if step.readings > 0 {
            tokio::time::sleep(began.elapsed().min(PAUSE_MAX)).await;
        }
        if !step.has_more {
            return Ok(rows);
        }
    }
}

/// Lets the registry have the newest reading that is left of a sensor.
pub(super) async fn look_for_newest(store: &Store, sensor: &Sensor) -> Result<(), StoreError> {
    loop {
        let before = sensor.newest_stored();
        let newest = store.newest(sensor.id).await?;
        if sensor.replace_newest(before, newest) {
            return Ok(());
        }
    }
}

fn terms_of(settings: &config::Retention, device: &DeviceSnapshot, sensor: &Sensor) -> Terms {
    if settings.rules.is_empty() {
        return settings.terms();
    }
    let kind = sensor.with_settings(|settings| settings.kind.clone());
    let scoped_device = ScopedDevice {
        key: device.key.as_str(),
        kind: device.kind.as_str(),
        gateway: device.gateway.as_deref(),
        labels: &device.labels,
    };
    let scoped_sensor = ScopedSensor { name: sensor.name.as_str(), sensor_type: kind.as_deref() };
    let rule = settings.rules.iter().find(|rule| fits(rule, &scoped_device, &scoped_sensor));
    rule.map_or_else(|| settings.terms(), |rule| settings.terms_of(rule))
}

fn fits(
    rule: &config::RetentionRule,
    device: &ScopedDevice<'_>,
    sensor: &ScopedSensor<'_>,
) -> bool {
    let one_of = |patterns: &[String], name: &str| {
        patterns.is_empty() || patterns.iter().any(|pattern| glob_matches(pattern, name))
    };
    let scope = Scope {
        labels: rule.labels.clone(),
        sensor_types: rule.sensor_types.clone(),
        ..Scope::default()
    };
    one_of(&rule.devices, device.key)
        && one_of(&rule.sensors, sensor.name)
        && scope.matches(device, Some(sensor))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn what_is_kept_for_days_goes_by_days() {
        let period = |hours: u64| Period(Duration::from_secs(hours * 3_600));
        let now = 100 * DAY + 5 * HOUR + 17;
        assert_eq!(cut(now, period(48)).as_micros(), 98 * DAY);
        assert_eq!(cut(now, period(47)).as_micros(), 98 * DAY + 6 * HOUR);
        assert_eq!(cut(now, period(1)).as_micros(), 100 * DAY + 4 * HOUR);
        assert!(cut(now, period(u64::MAX / 3_600_000)).as_micros() < 0);
    }

    #[test]
    fn a_rule_is_for_those_that_fit_each_part() {
        let rule = |value| -> config::RetentionRule { serde_json::from_value(value).unwrap() };
        let labels: Map<_, _> = [("hall".to_owned(), json!(3))].into_iter().collect();
        let device =
            ScopedDevice { key: "press-7", kind: "device", gateway: None, labels: &labels };
        let sensor = ScopedSensor { name: "vibration_x", sensor_type: Some("acceleration") };
        for (value, expected) in [
            (json!({"sensors": ["t", "vibration*"]}), true),
            (json!({"sensors": ["vibration"]}), false),
            (json!({"devices": ["press-?"], "sensors": ["vib*"]}), true),
            (json!({"devices": ["saw-*"], "sensors": ["vib*"]}), false),
            (json!({"labels": {"hall": "3"}}), true),
            (json!({"labels": {"hall": "4"}}), false),
            (json!({"sensor_types": ["acceleration"], "labels": {"hall": "3"}}), true),
            (json!({"sensor_types": ["temperature"]}), false),
        ] {
            assert_eq!(fits(&rule(value.clone()), &device, &sensor), expected, "{value}");
        }
    }
}
