//! Alarms between their record and their row.

use serde_json::from_str;

use crate::{
    alarm::{
        lifecycle::{AlarmEvent, AlarmRecord, Progress},
        rule::Severity,
    },
    store::{AlarmEventRow, AlarmRow},
    telemetry::{DeviceKey, SensorName},
};

pub(super) fn severity_of(code: u8) -> Severity {
    Severity::ALL.get(usize::from(code)).copied().unwrap_or(Severity::Critical)
}

pub(super) fn to_row(record: &AlarmRecord) -> AlarmRow {
    let (sensor_id, sensor) = match &record.sensor {
        Some((id, name)) => (Some(*id), Some(name.as_str().to_owned())),
        None => (None, None),
    };
    AlarmRow {
        id: record.id,
        rule_id: record.rule_id,
        rule_version: record.rule_version,
        rule_name: record.rule_name.clone(),
        device: record.device.as_str().to_owned(),
        sensor_id,
        sensor,
        severity: record.severity as u8,
        highest_severity: record.highest_severity as u8,
        active: record.active,
        acknowledged: record.acknowledged,
        latched: record.latched,
        shelved_until: record.shelved_until,
        suppressed: record.suppressed,
        out_of_service: record.out_of_service,
        closed: record.closed,
        raised_at: record.raised_at,
        cleared_at: record.cleared_at,
        changed_at: record.changed_at,
        arrival: record.arrival,
        acknowledged_at: record.acknowledged_at,
        acknowledged_by: record.acknowledged_by.clone(),
        note: record.note.clone(),
        value: record.value,
        event_time: record.event_time,
        peak: record.peak,
        occurrences: i64::from(record.occurrences),
        levels: serde_json::to_string(&record.progress).unwrap_or_default(),
        message: record.message.clone(),
        labels: serde_json::to_string(&record.labels).unwrap_or_default(),
        last_notified_at: record.last_notified_at,
        notified: record.notified,
    }
}

/// `None` where its device or sensor has no legal name, which nothing here writes.
pub(super) fn to_record(row: &AlarmRow) -> Option<AlarmRecord> {
    let sensor = match (row.sensor_id, &row.sensor) {
        (Some(id), Some(name)) => Some((id, SensorName::in_topic(name).ok()?)),
        _ => None,
    };
    Some(AlarmRecord {
        id: row.id,
        rule_id: row.rule_id,
        rule_version: row.rule_version,
        rule_name: row.rule_name.clone(),
        device: DeviceKey::new(&row.device).ok()?,
        sensor,
        severity: severity_of(row.severity),
        highest_severity: severity_of(row.highest_severity),
        active: row.active,
        acknowledged: row.acknowledged,
        latched: row.latched,
        shelved_until: row.shelved_until,
        suppressed: row.suppressed,
        out_of_service: row.out_of_service,
        closed: row.closed,
        raised_at: row.raised_at,
        cleared_at: row.cleared_at,
        changed_at: row.changed_at,
        arrival: row.arrival,
        acknowledged_at: row.acknowledged_at,
        acknowledged_by: row.acknowledged_by.clone(),
        note: row.note.clone(),
        value: row.value,
        event_time: row.event_time,
        peak: row.peak,
        occurrences: u32::try_from(row.occurrences).unwrap_or(u32::MAX),
        progress: from_str::<Progress>(&row.levels).unwrap_or_default(),
        message: row.message.clone(),
        labels: from_str(&row.labels).unwrap_or_default(),
        last_notified_at: row.last_notified_at,
        notified: row.notified,
    })
}

pub(super) fn to_event_row(alarm_id: i64, event: AlarmEvent) -> AlarmEventRow {
    AlarmEventRow {
        id: 0,
        alarm_id,
        kind: event.kind.as_str().to_owned(),
        at: event.at,
        arrival: event.arrival,
        severity: event.severity as u8,
        value: event.value,
        event_time: event.event_time,
        actor: event.actor,
        note: event.note,
    }
}
