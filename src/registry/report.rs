//! A device's last report: the JSON object that AIOT's users know as `last_report_data`.
//!
//! `sensors` holds the last data message's readings, `status` the merge of all that was said,
//! `location` and `upload_timestamp` the last of each. Kept cheap per message: the sensors become
//! JSON only when somebody looks.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::telemetry::{Report, SensorName, Timestamp};

/// Names that one level of a report holds. A device that invents ever others gets no more kept: what
/// is known stays up to date.
const NAMES_MAX: usize = 256;

/// A reading as the last report shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedSample {
    pub sensor: SensorName,
    pub value: Option<f64>,
    pub unit: Option<Arc<str>>,
    pub event_time: Timestamp,
}

#[derive(Debug)]
pub(super) struct LastReport {
    /// What the store has, until somebody looks at it.
    stored: Option<String>,
    report: Map<String, Value>,
    latest: Option<(Vec<ReportedSample>, Timestamp)>,
}

impl LastReport {
    pub(super) fn new(stored: Option<String>) -> Self {
        Self { stored, report: Map::new(), latest: None }
    }

    pub(super) fn merge(
        &mut self,
        report: &Report,
        samples: Vec<ReportedSample>,
        received_at: Timestamp,
    ) {
        if !samples.is_empty() {
            self.latest = Some((samples, report.reported_at.unwrap_or(received_at)));
        }
        if let Some(location) = report.facts.location {
            let location = json!({"latitude": location.latitude, "longitude": location.longitude});
            self.parsed().insert("location".to_owned(), location);
        }
        if !report.status.is_empty() {
            let status = self.parsed().entry("status").or_insert_with(|| json!({}));
            if !status.is_object() {
                *status = json!({});
            }
            if let Value::Object(status) = status {
                extend(status, &report.status);
            }
        }
        if !report.extra.is_empty() {
            extend(self.parsed(), &report.extra);
        }
    }

    /// `None` while nothing was ever reported.
    pub(super) fn json(&mut self) -> Option<Map<String, Value>> {
        if let Some((samples, at)) = self.latest.take() {
            let sensors: Map<String, Value> = samples
                .into_iter()
                .map(|sample| {
                    let shown = json!({
                        "value": sample.value,
                        "unit": sample.unit.as_deref().unwrap_or(""),
                        "timestamp": sample.event_time.to_string(),
                    });
                    (sample.sensor.as_str().to_owned(), shown)
                })
                .collect();
            let report = self.parsed();
            report.insert("sensors".to_owned(), Value::Object(sensors));
            report.insert("upload_timestamp".to_owned(), Value::String(at.to_string()));
        }
        let report = self.parsed();
        (!report.is_empty()).then(|| report.clone())
    }

    fn parsed(&mut self) -> &mut Map<String, Value> {
        if let Some(text) = self.stored.take() {
            self.report = serde_json::from_str(&text).unwrap_or_default();
        }
        &mut self.report
    }
}

fn extend(object: &mut Map<String, Value>, said: &Map<String, Value>) {
    for (name, value) in said {
        if object.len() < NAMES_MAX || object.contains_key(name) {
            object.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_invents_names_does_not_fill_the_memory() {
        let mut last = LastReport::new(None);
        for n in 0..10_000 {
            let extra = [(format!("name{n}"), json!(n)), ("known".to_owned(), json!(n))];
            let report = Report { extra: extra.into_iter().collect(), ..Report::default() };
            last.merge(&report, Vec::new(), Timestamp::UNIX_EPOCH);
        }
        let kept = last.json().unwrap();
        assert_eq!((kept.len(), &kept["known"]), (NAMES_MAX, &json!(9_999)));
    }
}
