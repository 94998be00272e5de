//! What of a reading is judged, and what is known of an originator when something happens to its
//! alarm: the same live, after a restart and in a backtest.

use std::sync::Arc;

use super::index::{Originator, Rule};
use crate::{
    alarm::lifecycle::{Change, Facts, JudgedReading, Slot},
    store::StoredReading,
    telemetry::Timestamp,
};

/// A reading whose event time is older than that, and not the sensor's newest, is late.
const LATE_AFTER: i64 = 60_000_000;

/// A reading as rules see it, `newest` being the sensor's newest event time before it; and the newest
/// after it.
pub(in crate::alarm) fn judged(
    reading: &StoredReading,
    newest: Option<Timestamp>,
) -> (JudgedReading, Timestamp) {
    let judged = JudgedReading {
        sensor: Slot(0),
        event_time: reading.event_time,
        received_at: reading.received_at,
        value: reading.value,
        quality: reading.quality,
        late: newest.is_some_and(|newest| is_late(reading, newest)),
    };
    (judged, newest.map_or(reading.event_time, |newest| newest.max(reading.event_time)))
}

fn is_late(reading: &StoredReading, newest: Timestamp) -> bool {
    reading.event_time < newest && reading.event_time < reading.received_at.plus_micros(-LATE_AFTER)
}

/// What [`Facts`] borrow.
pub(in crate::alarm) struct OwnedFacts<'a> {
    originator: &'a Originator,
    device_name: Option<String>,
    cause: Option<&'a str>,
    unit: Option<Arc<str>>,
    suppressed: bool,
}

impl<'a> OwnedFacts<'a> {
    pub(in crate::alarm) fn new(
        rule: &'a Rule,
        originator: &'a Originator,
        change: Change<'_>,
        is_suppressed: impl FnOnce() -> bool,
    ) -> Self {
        let Change::Transition(transition) = change else {
            let (device_name, cause, unit) = (None, None, None);
            return Self { originator, device_name, cause, unit, suppressed: false };
        };
        let cause = transition.sensor.and_then(|slot| rule.compiled.sensor(slot));
        let sensor = match (&originator.sensor, cause) {
            (Some(sensor), _) => Some(sensor.clone()),
            (None, Some(cause)) => originator.device.sensor(cause),
            (None, None) => None,
        };
        let unit = sensor.and_then(|s| s.with_settings(|settings| settings.unit.clone()));
        let (device_name, suppressed) = (originator.device.name(), is_suppressed());
        Self { originator, device_name, cause, unit, suppressed }
    }

    pub(in crate::alarm) fn borrow(&self) -> Facts<'_> {
        Facts {
            device: &self.originator.device.key,
            device_name: self.device_name.as_deref(),
            sensor: self.originator.sensor.as_ref().map(|sensor| (sensor.id, &sensor.name)),
            cause: self.cause,
            unit: self.unit.as_deref(),
            suppressed: self.suppressed,
        }
    }
}
