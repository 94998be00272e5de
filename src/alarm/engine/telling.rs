//! From a notice to rows of the outbox: one for each target that is to hear of it.

use std::{collections::BTreeMap, sync::Arc};

use super::index::{Originator, Rule};
use crate::{
    alarm::{
        lifecycle::{self, AlarmRecord},
        notify::{
            DeviceRef, LastValue, Notice, NoticeKind, Routing, RuleRef, SensorRef, Target,
            group_key, idempotency_key,
        },
    },
    store::{NewNotification, StoreError, Transaction},
    telemetry::Timestamp,
};

/// Rows of the table of last values.
const LAST_VALUES: u32 = 10;

type Subject<'a> = Option<(&'a Arc<Rule>, &'a Originator)>;

/// What an alarm is told with.
pub(super) struct Told<'a> {
    pub(super) record: &'a AlarmRecord,
    /// `None`: its rule is gone or disabled.
    pub(super) subject: Subject<'a>,
    pub(super) targets: &'a [String],
    pub(super) event: Option<i64>,
    pub(super) now: Timestamp,
}

/// Puts a notice into the outbox; whether anybody is to hear of it.
pub(super) fn tell(
    transaction: &mut Transaction<'_>,
    routing: &Routing,
    told: &Told<'_>,
    notice: &lifecycle::Notice,
) -> Result<bool, StoreError> {
    let mut shown = shown(told.record, told.subject, notice);
    if routing.addressees(&shown, told.targets).next().is_none() {
        return Ok(false);
    }
    shown.last_values = last_values(transaction, told)?;
    let body = serde_json::to_string(&shown).unwrap_or_default();
    // One input may raise an alarm by several levels; nothing else happens to it twice at one time.
    let (kind, severity) = (shown.kind.label(), shown.severity.as_str());
    let event = format!("{}/{kind}/{severity}/{}", shown.alarm_id, notice.at.as_micros());
    for target in routing.addressees(&shown, told.targets) {
        transaction.enqueue_notification(&row(&shown, target, &event, &body, told))?;
    }
    Ok(true)
}

/// Leaves a trace of what the cooldown held back, for those who ask why nobody heard of it: one for each
/// time that it would have been told, however often that came to nothing.
pub(super) fn note_held_back(
    transaction: &mut Transaction<'_>,
    routing: &Routing,
    told: &Told<'_>,
    notice: &lifecycle::Notice,
) -> Result<(), StoreError> {
    let shown = shown(told.record, told.subject, notice);
    let body = serde_json::to_string(&shown).unwrap_or_default();
    let kind = shown.kind.label();
    let event = format!("{}/{kind}/held/{}", shown.alarm_id, notice.at.as_micros());
    let why = format!("held back by the rule's cooldown until {}; over by then", notice.at);
    for target in routing.addressees(&shown, told.targets) {
        let row =
            NewNotification { not_before: notice.at, ..row(&shown, target, &event, &body, told) };
        transaction.note_suppressed_notification(&row, &why)?;
    }
    Ok(())
}

fn row(
    shown: &Notice,
    target: &Target,
    event: &str,
    body: &str,
    told: &Told<'_>,
) -> NewNotification {
    NewNotification {
        key: idempotency_key(event, &target.name),
        alarm_id: Some(shown.alarm_id),
        event_id: told.event,
        target: target.name.clone(),
        channel: target.kind().label().to_owned(),
        kind: shown.kind.label().to_owned(),
        group_key: group_key(target, shown),
        body: body.to_owned(),
        not_before: told.now,
        created_at: told.now,
    }
}

/// What targets are shown, but for the last values.
pub(in crate::alarm) fn shown(
    record: &AlarmRecord,
    subject: Subject<'_>,
    notice: &lifecycle::Notice,
) -> Notice {
    let device = subject.map(|(_, originator)| originator.device.snapshot());
    let (device_name, labels) = match device {
        Some(device) => (device.name, device.labels),
        None => (None, serde_json::Map::new()),
    };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let sensor = subject.and_then(|(_, originator)| originator.sensor.as_ref());
    let unit = sensor.and_then(|s| s.with_settings(|settings| settings.unit.clone()));
    Notice {
        kind: match notice.kind {
            lifecycle::NoticeKind::Raised => NoticeKind::Raised,
            lifecycle::NoticeKind::Escalated => NoticeKind::Escalated,
            lifecycle::NoticeKind::Cleared => NoticeKind::Cleared,
            lifecycle::NoticeKind::Repeated => NoticeKind::Repeated,
        },
        alarm_id: record.id,
        rule: RuleRef { name: record.rule_name.clone(), version: record.rule_version },
        severity: notice.severity,
        highest_severity: Some(record.highest_severity),
        labels: record.labels.clone(),
        device: DeviceRef {
            key: record.device.as_str().to_owned(),
            name: device_name,
            labels: labels.into_iter().map(|(k, v)| (k, text(v))).collect::<BTreeMap<_, _>>(),
        },
        sensor: record
            .sensor
            .as_ref()
            .map(|(id, name)| SensorRef { id: Some(id.0), name: name.as_str().to_owned() }),
        value: notice.value,
        unit: unit.map(|unit| unit.to_string()),
        limit: subject.and_then(|(rule, _)| rule.body.limit_text(notice.severity)),
        event_time: notice.event_time.unwrap_or(notice.at),
        raised_at: record.raised_at,
        cleared_at: record.cleared_at,
        message: notice.message.clone(),
        last_values: Vec::new(),
    }
}

/// The last readings of the sensor; of an alarm of a device the newest of each sensor of its rule.
fn last_values(
    transaction: &Transaction<'_>,
    told: &Told<'_>,
) -> Result<Vec<LastValue>, StoreError> {
    let Some((rule, originator)) = told.subject else { return Ok(Vec::new()) };
    let (sensors, count) = match &originator.sensor {
        Some(sensor) => (vec![sensor.clone()], LAST_VALUES),
        None => {
            let named = rule.compiled.sensors().iter();
            (named.filter_map(|name| originator.device.sensor(name)).collect(), 1)
        }
    };
    let mut values = Vec::new();
    for sensor in sensors {
        let unit = sensor.with_settings(|settings| settings.unit.clone());
        for reading in transaction.newest_readings(sensor.id, Timestamp::MAX, count)? {
            values.push(LastValue {
                event_time: reading.event_time,
                sensor: sensor.name.as_str().to_owned(),
                value: reading.value,
                unit: unit.as_deref().map(str::to_owned),
                quality: Some(reading.quality.as_str().to_owned()),
            });
        }
    }
    Ok(values)
}
