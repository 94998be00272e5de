//! Alarms and what happened to them, read back: at start by the engine, by pages for people.
//! Written by [`super::Transaction::save_alarm`]; here they only go, with their device.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, Select,
};

use super::{AlarmEventRow, AlarmRow, Engine, Store, StoreError};
use crate::telemetry::{SensorId, Timestamp};
use entity::{
    alarm::{self, Column},
    alarm_event,
};

/// A key in the order of pages: (raised, id).
pub type AlarmPosition = (Timestamp, i64);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlarmQuery {
    pub active: Option<bool>,
    pub acknowledged: Option<bool>,
    pub closed: Option<bool>,
    /// This severity or a higher one.
    pub severity_min: Option<u8>,
    pub device: Option<String>,
    pub rule: Option<i64>,
    /// Raised in the range.
    pub from: Option<Timestamp>,
    /// Not included.
    pub to: Option<Timestamp>,
    /// The last position of the page before.
    pub after: Option<AlarmPosition>,
    pub limit: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlarmPage {
    /// Newest first.
    pub alarms: Vec<AlarmRow>,
    pub has_more: bool,
}

/// Alarms deleted in one go with their events, so that ingest waits for moments only.
const DELETE_CHUNK: u64 = 200;
const OF_DEVICE: &str = "(SELECT id FROM (SELECT id FROM alarm WHERE device = ?1 AND \
    (?2 IS NULL OR sensor_id = ?2) ORDER BY id LIMIT ?3) AS found)";

impl Store {
    /// The highest number that an alarm has; 0 where there is none.
    ///
    /// # Errors
    /// When the database does not answer; here and below.
    pub async fn max_alarm_id(&self) -> Result<i64, StoreError> {
        let highest: Option<Option<i64>> = alarm::Entity::find()
            .select_only()
            .column_as(Column::Id.max(), "id")
            .into_tuple()
            .one(&self.readers)
            .await?;
        Ok(highest.flatten().unwrap_or(0))
    }

    /// Every alarm that is not closed.
    ///
    /// # Errors
    /// As above.
    pub async fn open_alarms(&self) -> Result<Vec<AlarmRow>, StoreError> {
        let open = alarm::Entity::find().filter(Column::Closed.eq(false));
        let rows = open.order_by_asc(Column::Id).all(&self.readers).await?;
        Ok(rows.into_iter().map(alarm).collect())
    }

    /// Of each rule and originator the newest alarm: all that are open, and those closed ones that
    /// changed at `since` or later. In the order of their ids.
    ///
    /// # Errors
    /// As above.
    pub async fn newest_alarms(&self, since: Timestamp) -> Result<Vec<AlarmRow>, StoreError> {
        // Two equalities, so that the index over both columns serves.
        let mut newest: HashMap<(i64, String, Option<i64>), alarm::Model> = HashMap::new();
        for closed in [true, false] {
            let since = if closed { since } else { Timestamp::MIN };
            for row in changed(closed, since).all(&self.readers).await? {
                let key = (row.rule_id, row.device.clone(), row.sensor_id);
                match newest.get(&key) {
                    Some(known) if known.id > row.id => {}
                    _ => {
                        newest.insert(key, row);
                    }
                }
            }
        }
        let mut alarms: Vec<AlarmRow> = newest.into_values().map(alarm).collect();
        alarms.sort_by_key(|alarm| alarm.id);
        Ok(alarms)
    }

    /// # Errors
    /// As above.
    pub async fn alarms(&self, query: &AlarmQuery) -> Result<AlarmPage, StoreError> {
        let mut rows = page(query).all(&self.readers).await?;
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok(AlarmPage { alarms: rows.into_iter().map(alarm).collect(), has_more })
    }

    /// # Errors
    /// As above.
    pub async fn alarm(&self, id: i64) -> Result<Option<AlarmRow>, StoreError> {
        Ok(alarm::Entity::find_by_id(id).one(&self.readers).await?.map(alarm))
    }

    /// Those of these that there are.
    ///
    /// # Errors
    /// As above.
    pub async fn known_alarms(&self, ids: &[i64]) -> Result<HashSet<i64>, StoreError> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let known = alarm::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Id.is_in(ids.iter().copied()))
            .into_tuple();
        Ok(known.all(&self.readers).await?.into_iter().collect())
    }

    /// What happened to an alarm, in its order; `after` is the last event of the page before.
    ///
    /// # Errors
    /// As above.
    pub async fn alarm_events(
        &self,
        alarm: i64,
        after: Option<i64>,
        limit: u64,
    ) -> Result<Vec<AlarmEventRow>, StoreError> {
        let rows = events(alarm, after, limit).all(&self.readers).await?;
        Ok(rows.into_iter().map(event).collect())
    }

    /// The number of the last thing that happened to any alarm; 0 where there is none.
    ///
    /// # Errors
    /// As above.
    pub async fn last_alarm_event(&self) -> Result<i64, StoreError> {
        let highest: Option<Option<i64>> = alarm_event::Entity::find()
            .select_only()
            .column_as(alarm_event::Column::Id.max(), "id")
            .into_tuple()
            .one(&self.readers)
            .await?;
        Ok(highest.flatten().unwrap_or(0))
    }

    /// Deletes the alarms of a device or of one of its sensors with their events, in steps that ingest
    /// can get between. What of them waits to be told is cancelled, but for their ends. Nobody may
    /// follow them any more.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_alarms(
        &self,
        device: &str,
        sensor: Option<SensorId>,
    ) -> Result<(), StoreError> {
        loop {
            let write = self.begin().await?;
            let (transaction, of) = (&write.transaction, (device, sensor));
            let deleted = delete_some(transaction, self.engine, of, DELETE_CHUNK).await?;
            write.commit().await?;
            if deleted < DELETE_CHUNK {
                return Ok(());
            }
        }
    }
}

/// Deletes up to `limit` alarms of a device; returns how many.
pub(super) async fn delete_some(
    transaction: &DatabaseTransaction,
    engine: Engine,
    (device, sensor): (&str, Option<SensorId>),
    limit: u64,
) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for sql in [
        format!(
            "UPDATE notification SET state = 'cancelled', error = 'its cause was deleted' \
             WHERE state = 'waiting' AND kind <> 'cleared' AND alarm_id IN {OF_DEVICE}"
        ),
        format!("DELETE FROM alarm_event WHERE alarm_id IN {OF_DEVICE}"),
        format!("DELETE FROM alarm WHERE id IN {OF_DEVICE}"),
    ] {
        let values = [device.into(), sensor.map(|sensor| sensor.0).into(), limit.into()];
        let statement = engine.statement(&sql, values);
        deleted = transaction.execute_raw(statement).await?.rows_affected();
    }
    Ok(deleted)
}

pub(super) fn changed(closed: bool, since: Timestamp) -> Select<alarm::Entity> {
    alarm::Entity::find()
        .filter(Column::Closed.eq(closed))
        .filter(Column::ChangedAt.gte(since.as_micros()))
}

pub(super) fn page(query: &AlarmQuery) -> Select<alarm::Entity> {
    let mut condition = Condition::all();
    if let Some(active) = query.active {
        condition = condition.add(Column::Active.eq(active));
    }
    // What is active is open; said, it lets the index of open alarms serve.
    let closed = query.closed.or((query.active == Some(true)).then_some(false));
    if let Some(closed) = closed {
        condition = condition.add(Column::Closed.eq(closed));
    }
    if let Some(acknowledged) = query.acknowledged {
        condition = condition.add(Column::Acknowledged.eq(acknowledged));
    }
    if let Some(severity) = query.severity_min {
        condition = condition.add(Column::Severity.gte(i16::from(severity)));
    }
    if let Some(device) = &query.device {
        condition = condition.add(Column::Device.eq(device.as_str()));
    }
    if let Some(rule) = query.rule {
        condition = condition.add(Column::RuleId.eq(rule));
    }
    if let Some(from) = query.from {
        condition = condition.add(Column::RaisedAt.gte(from.as_micros()));
    }
    if let Some(to) = query.to {
        condition = condition.add(Column::RaisedAt.lt(to.as_micros()));
    }
    if let Some((raised_at, id)) = query.after {
        let raised_at = raised_at.as_micros();
        let same_time = Condition::all().add(Column::RaisedAt.eq(raised_at)).add(Column::Id.lt(id));
        condition = condition
            .add(Column::RaisedAt.lte(raised_at))
            .add(Condition::any().add(Column::RaisedAt.lt(raised_at)).add(same_time));
    }
    alarm::Entity::find()
        .filter(condition)
        .order_by_desc(Column::RaisedAt)
        .order_by_desc(Column::Id)
        .limit(query.limit.saturating_add(1))
}

pub(super) fn events(alarm: i64, after: Option<i64>, limit: u64) -> Select<alarm_event::Entity> {
    let mut select = alarm_event::Entity::find().filter(alarm_event::Column::AlarmId.eq(alarm));
    if let Some(after) = after {
        select = select.filter(alarm_event::Column::Id.gt(after));
    }
    select.order_by_asc(alarm_event::Column::Id).limit(limit)
}

fn severity(number: i16) -> u8 {
    u8::try_from(number).unwrap_or(0)
}

pub(super) fn alarm(row: alarm::Model) -> AlarmRow {
    AlarmRow {
        id: row.id,
        rule_id: row.rule_id,
        rule_version: row.rule_version,
        rule_name: row.rule_name,
        device: row.device,
        sensor_id: row.sensor_id.map(SensorId),
        sensor: row.sensor,
        severity: severity(row.severity),
        highest_severity: severity(row.highest_severity),
        active: row.active,
        acknowledged: row.acknowledged,
        latched: row.latched,
        shelved_until: row.shelved_until.map(Timestamp::from_micros),
        suppressed: row.suppressed,
        out_of_service: row.out_of_service,
        closed: row.closed,
        raised_at: Timestamp::from_micros(row.raised_at),
        cleared_at: row.cleared_at.map(Timestamp::from_micros),
        changed_at: Timestamp::from_micros(row.changed_at),
        arrival: Timestamp::from_micros(row.arrival),
        acknowledged_at: row.acknowledged_at.map(Timestamp::from_micros),
        acknowledged_by: row.acknowledged_by,
        note: row.note,
        value: row.value,
        event_time: row.event_time.map(Timestamp::from_micros),
        peak: row.peak,
        occurrences: row.occurrences,
        levels: row.levels,
        message: row.message,
        labels: row.labels,
        last_notified_at: row.last_notified_at.map(Timestamp::from_micros),
        notified: row.notified,
    }
}

pub(super) fn event(row: alarm_event::Model) -> AlarmEventRow {
    AlarmEventRow {
        id: row.id,
        alarm_id: row.alarm_id,
        kind: row.kind,
        at: Timestamp::from_micros(row.at),
        arrival: Timestamp::from_micros(row.arrival),
        severity: severity(row.severity),
        value: row.value,
        event_time: row.event_time.map(Timestamp::from_micros),
        actor: row.actor,
        note: row.note,
    }
}
