//! The body of a webhook: Alertmanager's, version 4 (its `webhook_config`), so that what takes that
//! takes this. What it has no place for stands in `brooklet` beside each alert. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Look, quantity};
use crate::alarm::notify::{Message, Notice};

/// What Alertmanager says of an alert that has not ended.
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u32,
    status: &'static str,
    receiver: &'a str,
    group_labels: BTreeMap<String, String>,
    common_labels: BTreeMap<String, String>,
    common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<Alert<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
    brooklet: &'a Notice,
}

/// The notices in their order: one that was raised and cleared meanwhile is told of twice.
pub(in crate::alarm::notify) fn body(message: &Message, look: &Look) -> String {
    let alerts: Vec<Alert<'_>> = message.notices.iter().map(|notice| alert(notice, look)).collect();
    let is_firing = message.notices.iter().any(|notice| !notice.is_clear());
    let group_labels: BTreeMap<String, String> =
        serde_json::from_str(&message.group_key).unwrap_or_default();
    let body = Body {
        version: "4",
        group_key: format!("{}:{}", message.target, message.group_key),
        truncated_alerts: 0,
        status: status(!is_firing),
        receiver: &message.target,
        group_labels,
        common_labels: common(alerts.iter().map(|alert| &alert.labels)),
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        external_url: look.public_url.as_deref().unwrap_or_default(),
        alerts,
    };
    serde_json::to_string(&body).unwrap_or_default()
}

fn status(is_clear: bool) -> &'static str {
    if is_clear { "resolved" } else { "firing" }
}

fn alert<'a>(notice: &'a Notice, look: &Look) -> Alert<'a> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let unit = notice.unit.as_deref();
    let annotations = [
        ("summary", Some(notice.rule.name.clone())),
        ("description", Some(notice.message.clone())),
        ("kind", Some(notice.kind.label().to_owned())),
        ("value", quantity(notice.value, unit)),
        ("limit", notice.limit.clone()),
        ("event_time", Some(notice.event_time.to_string())),
        ("device_name", notice.device.name.clone()),
    ];
    let annotations = annotations
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let ended = notice.cleared_at.filter(|_| notice.is_clear());
    Alert {
        status: status(notice.is_clear()),
        labels: notice.all_labels().into_iter().map(owned).collect(),
        annotations,
        starts_at: notice.raised_at.to_string(),
        ends_at: ended.map_or_else(|| NOT_ENDED.to_owned(), |at| at.to_string()),
        generator_url: look.link(notice).unwrap_or_default(),
        fingerprint: fingerprint(notice),
        brooklet: notice,
    }
}

/// The same for all that is told of one rule and originator, whatever its severity.
fn fingerprint(notice: &Notice) -> String {
    let sensor = notice.sensor.as_ref().map_or("", |sensor| sensor.name.as_str());
    let mut hash = Sha256::new();
    for part in [notice.rule.name.as_str(), notice.device.key.as_str(), sensor] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What is the same in all.
fn common<'a>(
    mut all: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut common = all.next().cloned().unwrap_or_default();
    for one in all {
        common.retain(|name, value| one.get(name) == Some(value));
    }
    common
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alarm::{
        notify::notice::examples::{cleared, raised},
        rule::Severity,
    };

    fn told(notices: Vec<Notice>) -> Value {
        let message = Message {
            key: "k".to_owned(),
            target: "ops".to_owned(),
            group_key: r#"{"room":"cellar"}"#.to_owned(),
            notices,
        };
        let look = Look { public_url: Some("http://b".to_owned()), ..Look::default() };
        serde_json::from_str(&body(&message, &look)).unwrap()
    }

    #[test]
    fn one_that_fires() {
        let body = told(vec![raised(17)]);
        let mut alert = body["alerts"][0].clone();
        assert_eq!(alert["brooklet"]["alarm_id"], 17);
        alert.as_object_mut().unwrap().remove("brooklet");
        let labels = json!({"alertname": "Boiler too hot", "device": "boiler-1", "room": "cellar",
            "sensor": "temperature", "severity": "critical", "team": "heating"});
        let annotations = json!({"summary": "Boiler too hot", "kind": "raised", "limit": "> 40",
            "description": "boiler-1 temperature: 41.2 °C, limit 40 (critical)",
            "device_name": "Boiler", "event_time": "2025-12-19T06:30:00.000Z", "value": "41.2 °C"});
        let expected = json!({"status": "firing", "labels": labels, "annotations": annotations,
            "startsAt": "2025-12-19T06:30:00.000Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://b/api/alarms/17", "fingerprint": alert["fingerprint"]});
        assert_eq!(alert, expected);
        for (name, value) in [
            ("version", json!("4")),
            ("groupKey", json!("ops:{\"room\":\"cellar\"}")),
            ("truncatedAlerts", json!(0)),
            ("status", json!("firing")),
            ("receiver", json!("ops")),
            ("groupLabels", json!({"room": "cellar"})),
            ("commonLabels", expected["labels"].clone()),
            ("commonAnnotations", expected["annotations"].clone()),
            ("externalURL", json!("http://b")),
        ] {
            assert_eq!(body[name], value, "{name}");
        }
    }

    #[test]
    fn several_share_what_they_share() {
        let mut other = raised(18);
        other.device.key = "boiler-2".to_owned();
        let body = told(vec![cleared(17), other]);
        assert_eq!(body["status"], "firing");
        assert_eq!(body["commonLabels"]["team"], "heating");
        assert_eq!(body["commonLabels"].get("device"), None);
        assert_eq!(body["alerts"][0]["status"], "resolved");
        assert_eq!(body["alerts"][0]["endsAt"], "2025-12-19T06:31:30.000Z");
        assert_eq!(told(vec![cleared(1)])["status"], "resolved");
    }

    #[test]
    fn a_fingerprint_stays_with_rule_and_originator() {
        let mut warning = raised(3);
        warning.severity = Severity::Warning;
        let mut other = raised(17);
        other.sensor = None;
        assert_eq!(fingerprint(&raised(17)), fingerprint(&warning));
        assert_ne!(fingerprint(&raised(17)), fingerprint(&other));
        assert_eq!(fingerprint(&other).len(), 16);
    }
}
