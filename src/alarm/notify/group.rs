//! What goes out together. Pure, and a function of the rows alone, so that a restart changes nothing.
//!
//! Rows that were never tried wait for others of their group; those that were tried go again as the
//! same message. What is told of one alarm is told in order: a row goes into no message that stands
//! before that of an earlier row of its alarm.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use sha2::{Digest, Sha256};

use super::{Notice, Target, Waiting};
use crate::telemetry::Timestamp;

/// The values of the target's `group_by`, in its order.
pub fn group_key(target: &Target, notice: &Notice) -> String {
    let values: serde_json::Map<_, _> = target
        .group_by
        .iter()
        .map(|name| (name.clone(), notice.label(name).unwrap_or_default().into()))
        .collect();
    serde_json::Value::Object(values).to_string()
}

/// The key of a row: `event` is what identifies the transition (and the repetition) for ever.
pub fn idempotency_key(event: &str, target: &str) -> String {
    let mut hash = Sha256::new();
    // Lengths before the parts, so that no two pairs read the same.
    for part in [event, target] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    short_hex(&hash.finalize())
}

/// The key of a message: the same as long as its rows are the same.
pub(super) fn message_key<'a>(rows: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for key in rows {
        hash.update(key);
        hash.update([b'\n']);
    }
    short_hex(&hash.finalize())
}

fn short_hex(hash: &[u8]) -> String {
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A row whose body could be read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) row: Waiting,
    pub(super) notice: Notice,
}

/// One message to be.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
}

impl Batch {
    pub(super) fn ids(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.row.id).collect()
    }

    fn alarms(&self) -> impl Iterator<Item = i64> {
        self.rows.iter().filter_map(|row| row.row.alarm_id)
    }
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// No two of them tell of the same alarm: they may go side by side.
    pub(super) ready: Vec<Batch>,
    /// When the next of the others is ready by itself; some only wait for those that are.
    pub(super) ready_at: Option<Timestamp>,
}

/// What keeps rows together.
#[derive(PartialEq, Eq, Hash)]
struct Together {
    group_key: String,
    /// With its time, where it was tried: those of one message fail together.
    tried: Option<(u32, Timestamp)>,
}

/// `rows` in the order of their ids. `is_page`: there may be more than these, so none waits.
pub(super) fn plan(rows: Vec<Row>, target: &Target, now: Timestamp, is_page: bool) -> Plan {
    let mut plan = Plan::default();
    // Alarms of the batches so far, whether these go or not.
    let mut told = HashSet::new();
    for batch in batches(rows, target.group_max) {
        let ready_at = ready_at(&batch, target, is_page);
        let alarms: Vec<i64> = batch.alarms().collect();
        if ready_at > now {
            plan.ready_at = Some(plan.ready_at.map_or(ready_at, |at| at.min(ready_at)));
        }
        let goes = ready_at <= now && alarms.iter().all(|alarm| !told.contains(alarm));
        told.extend(alarms);
        if goes {
            plan.ready.push(batch);
        }
    }
    plan
}

/// A row joins the last batch of its group, unless that is full or stands before that of an earlier
/// row of its alarm; then it opens another.
fn batches(rows: Vec<Row>, rows_max: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut open: HashMap<Together, usize> = HashMap::new();
    let mut last_of_alarm: HashMap<i64, usize> = HashMap::new();
    for row in rows {
        let (attempts, at) = (row.row.attempts, row.row.not_before);
        let together = Together {
            group_key: row.row.group_key.clone(),
            tried: (attempts > 0).then_some((attempts, at)),
        };
        let least = row.row.alarm_id.and_then(|alarm| last_of_alarm.get(&alarm).copied());
        let next = batches.len();
        let place = match open.entry(together) {
            Entry::Vacant(entry) => *entry.insert(next),
            Entry::Occupied(mut entry) => {
                let place = *entry.get();
                let is_full = batches.get(place).is_none_or(|batch| batch.rows.len() >= rows_max);
                if is_full || least.is_some_and(|least| place < least) {
                    entry.insert(next);
                }
                *entry.get()
            }
        };
        if let Some(alarm) = row.row.alarm_id {
            last_of_alarm.insert(alarm, place);
        }
        match batches.get_mut(place) {
            Some(batch) => batch.rows.push(row),
            None => batches.push(Batch { rows: vec![row] }),
        }
    }
    batches
}

fn ready_at(batch: &Batch, target: &Target, is_page: bool) -> Timestamp {
    let first = batch.rows.iter().map(|row| row.row.not_before).min();
    let first = first.unwrap_or(Timestamp::UNIX_EPOCH);
    let was_tried = batch.rows.iter().any(|row| row.row.attempts > 0);
    if was_tried || is_page || batch.rows.len() >= target.group_max {
        return first;
    }
    first.plus_micros(i64::try_from(target.wait().as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
