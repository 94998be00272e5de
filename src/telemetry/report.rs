use serde_json::{Map, Value};

use super::{DeviceFacts, Timestamp};

/// What one message says of its device, beside its readings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub facts: DeviceFacts,
    /// To be merged into the last report's `status`.
    pub status: Map<String, Value>,
    /// Other facts, to be merged into the last report itself.
    pub extra: Map<String, Value>,
    /// The message's own time, where it gives one for the whole of it.
    pub reported_at: Option<Timestamp>,
}

impl Report {
    pub fn is_empty(&self) -> bool {
        self.facts == DeviceFacts::default() && self.status.is_empty() && self.extra.is_empty()
    }
}

impl DeviceFacts {
    /// Takes over what `newer` says; what it leaves unsaid stays.
    pub fn merge(&mut self, newer: &Self) {
        let Self { status, firmware, ip, uptime_seconds, location } = newer;
        take_over(&mut self.status, status);
        take_over(&mut self.firmware, firmware);
        take_over(&mut self.ip, ip);
        take_over(&mut self.uptime_seconds, uptime_seconds);
        take_over(&mut self.location, location);
    }
}

fn take_over<T: Clone>(old: &mut Option<T>, newer: &Option<T>) {
    if newer.is_some() {
        old.clone_from(newer);
    }
}
