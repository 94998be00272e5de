//! What alarms write in the committer's transaction: with the readings that caused it, or for an
//! operator's command.

use super::{
    AlarmEventRow, AlarmRow, NewNotification, NotificationState, StoreError, Transaction,
    engine::{Engine, binds},
    writer::always,
};
use crate::telemetry::Timestamp;

pub(super) const SAVE: &str = "INSERT INTO alarm (id, rule_id, rule_version, rule_name, device, \
    sensor_id, sensor, severity, highest_severity, active, acknowledged, latched, shelved_until, \
    suppressed, out_of_service, closed, raised_at, cleared_at, changed_at, arrival, \
    acknowledged_at, acknowledged_by, note, value, event_time, peak, occurrences, levels, message, \
    labels, last_notified_at, notified) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
    ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, \
    ?32) ON CONFLICT (id) DO UPDATE SET rule_version = excluded.rule_version, \
    rule_name = excluded.rule_name, severity = excluded.severity, \
    highest_severity = excluded.highest_severity, active = excluded.active, \
    acknowledged = excluded.acknowledged, latched = excluded.latched, \
    shelved_until = excluded.shelved_until, suppressed = excluded.suppressed, \
    out_of_service = excluded.out_of_service, closed = excluded.closed, \
    raised_at = excluded.raised_at, cleared_at = excluded.cleared_at, \
    changed_at = excluded.changed_at, arrival = excluded.arrival, \
    acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by, \
    note = excluded.note, value = excluded.value, event_time = excluded.event_time, \
    peak = excluded.peak, occurrences = excluded.occurrences, levels = excluded.levels, \
    message = excluded.message, labels = excluded.labels, \
    last_notified_at = excluded.last_notified_at, notified = excluded.notified";
const OTHER_OPEN: &str = "SELECT id FROM alarm WHERE rule_id = ?1 AND device = ?2 \
    AND coalesce(sensor_id, 0) = ?3 AND closed = FALSE AND id <> ?4 LIMIT 1";
pub(super) const CANCEL_OF_ALARM: &str = "UPDATE notification SET state = 'cancelled', error = ?2 \
    WHERE alarm_id = ?1 AND state = 'waiting'";
pub(super) const CANCEL_BY_KEY: &str = "UPDATE notification SET state = 'cancelled', error = ?2 \
    WHERE \"key\" = ?1 AND state = 'waiting'";

impl Transaction<'_> {
    /// Writes an alarm as it stands, whether it is there or not. Its rule and originator never
    /// change. An alarm that closes is saved before the one that takes its place.
    ///
    /// # Errors
    /// As for [`super::Writer::transaction`], here and below; [`StoreError::Rejected`] when another
    /// alarm of that rule and originator is open.
    pub fn save_alarm(&mut self, alarm: &AlarmRow) -> Result<(), StoreError> {
        // An index sees to it elsewhere; nobody else writes meanwhile.
        if self.engine() == Engine::MariaDb && !alarm.closed {
            let sensor = alarm.sensor_id.map_or(0, |sensor| sensor.0);
            let of = binds![alarm.rule_id, &alarm.device, sensor, alarm.id];
            if self.query_one(OTHER_OPEN, &of, |row| row.int(0))?.is_some() {
                let why = "another alarm of that rule and originator is open";
                return Err(StoreError::Rejected(why.to_owned()));
            }
        }
        let values = binds![
            alarm.id,
            alarm.rule_id,
            alarm.rule_version,
            &alarm.rule_name,
            &alarm.device,
            alarm.sensor_id.map(|sensor| sensor.0),
            &alarm.sensor,
            alarm.severity,
            alarm.highest_severity,
            alarm.active,
            alarm.acknowledged,
            alarm.latched,
            alarm.shelved_until,
            alarm.suppressed,
            alarm.out_of_service,
            alarm.closed,
            alarm.raised_at,
            alarm.cleared_at,
            alarm.changed_at,
            alarm.arrival,
            alarm.acknowledged_at,
            &alarm.acknowledged_by,
            &alarm.note,
            alarm.value,
            alarm.event_time,
            alarm.peak,
            alarm.occurrences,
            &alarm.levels,
            &alarm.message,
            &alarm.labels,
            alarm.last_notified_at,
            alarm.notified
        ];
        self.execute(SAVE, &values).map(drop)
    }

    /// Adds to what happened to an alarm; returns the event's id. `event.id` is not looked at.
    ///
    /// # Errors
    /// As above.
    pub fn append_alarm_event(&mut self, event: &AlarmEventRow) -> Result<i64, StoreError> {
        let id = self.query_one(
            "INSERT INTO alarm_event (alarm_id, kind, at, arrival, severity, value, event_time, \
             actor, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
            &binds![
                event.alarm_id,
                &event.kind,
                event.at,
                event.arrival,
                event.severity,
                event.value,
                event.event_time,
                &event.actor,
                &event.note
            ],
            |row| row.int(0),
        )?;
        always(id)
    }

    /// Puts a notification into the outbox. `false`: one with that key is there already, and stays.
    ///
    /// # Errors
    /// As above.
    pub fn enqueue_notification(
        &mut self,
        notification: &NewNotification,
    ) -> Result<bool, StoreError> {
        self.insert_notification(notification, NotificationState::Waiting, None)
    }

    /// Keeps one that is told to nobody, and why. `false`: there is one with its key.
    ///
    /// # Errors
    /// As above.
    pub fn note_suppressed_notification(
        &mut self,
        notification: &NewNotification,
        why: &str,
    ) -> Result<bool, StoreError> {
        self.insert_notification(notification, NotificationState::Suppressed, Some(why))
    }

    fn insert_notification(
        &mut self,
        notification: &NewNotification,
        state: NotificationState,
        error: Option<&str>,
    ) -> Result<bool, StoreError> {
        // Told by its count, which an upsert's is not everywhere; nobody else writes meanwhile.
        let inserted = self.execute(
            "INSERT INTO notification (\"key\", alarm_id, event_id, target, channel, kind, \
             group_key, body, state, attempts, not_before, created_at, error) SELECT ?1, ?2, ?3, \
             ?4, ?5, ?6, ?7, ?8, ?11, 0, ?9, ?10, ?12 WHERE NOT EXISTS \
             (SELECT 1 FROM notification WHERE \"key\" = ?1)",
            &binds![
                &notification.key,
                notification.alarm_id,
                notification.event_id,
                &notification.target,
                &notification.channel,
                &notification.kind,
                &notification.group_key,
                &notification.body,
                notification.not_before,
                notification.created_at,
                state.as_str(),
                error
            ],
        )?;
        Ok(inserted == 1)
    }

    /// Cancels a notification that still waits. `false`: there is none such.
    ///
    /// # Errors
    /// As above.
    pub fn cancel_notification(&mut self, key: &str, why: &str) -> Result<bool, StoreError> {
        Ok(self.execute(CANCEL_BY_KEY, &binds![key, why])? == 1)
    }

    /// Cancels what of an alarm still waits to be told; returns how many.
    ///
    /// # Errors
    /// As above.
    pub fn cancel_notifications(&mut self, alarm: i64, why: &str) -> Result<usize, StoreError> {
        let cancelled = self.execute(CANCEL_OF_ALARM, &binds![alarm, why])?;
        Ok(usize::try_from(cancelled).unwrap_or(usize::MAX))
    }

    /// Notes that this run of the broker lived until then.
    ///
    /// # Errors
    /// As above.
    pub fn note_alive(&mut self, run: i64, until: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE broker_run SET alive_until = ?2 WHERE id = ?1 AND alive_until < ?2";
        self.execute(sql, &binds![run, until]).map(drop)
    }
}
