//! What an entry that begins, or begins again, is fed with: what the store and the registry know of
//! its originator, in the order of arrival.

use std::sync::Arc;

use super::{
    evaluation::Evaluation,
    facts::judged,
    index::{EntryId, Originator, Rule},
};
use crate::{
    alarm::lifecycle::{Input, Slot},
    registry::Sensor,
    store::{StoreError, StoredReading},
    telemetry::{SensorId, Timestamp},
};

/// Devices whose clocks go wrong by less than that lose nothing of their horizon.
pub(in crate::alarm) const SLACK: i64 = 300_000_000;
/// Of one sensor; a horizon that holds more is cut.
const READINGS_MAX: u32 = 1_000_000;

/// A time in which the broker did not hear anybody.
pub(in crate::alarm) type Down = (Timestamp, Timestamp);

enum Item {
    Reading(Slot, StoredReading),
    Sign,
    Presence(bool),
    Status(String),
    Down(Timestamp),
}

/// By arrival, and whose reading it is.
type TimedItem = (Timestamp, Option<SensorId>, Item);

impl Evaluation<'_, '_> {
    /// Feeds an entry with what is known of it; `at` for what bears no time.
    pub(super) fn feed_history(
        &mut self,
        id: EntryId,
        downs: &[Down],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let Some((rule, originator)) = self.subject(id) else { return Ok(()) };
        let mut items = Vec::new();
        for (slot, sensor) in looked_at(&rule, &originator) {
            for reading in self.known_readings(&rule, &sensor)? {
                items.push((reading.received_at, Some(sensor.id), Item::Reading(slot, reading)));
            }
        }
        add_signs(&mut items, &rule, &originator, at);
        let of_downs = items_of_downs(downs, &items);
        items.extend(of_downs);
        // What is of no sensor comes before the readings of its moment, as it does live.
        items.sort_by(|(at, sensor, _), (other_at, other, _)| {
            at.cmp(other_at).then_with(|| sensor.cmp(other))
        });
        self.feed_items(id, &items)
    }

    fn feed_items(&mut self, id: EntryId, items: &[TimedItem]) -> Result<(), StoreError> {
        let mut newest: Vec<(Slot, Timestamp)> = Vec::new();
        for (at, _, item) in items {
            let at = *at;
            let input = match item {
                Item::Reading(slot, reading) => {
                    let known = newest.iter_mut().find(|(known, _)| known == slot);
                    let before = known.as_ref().map(|(_, newest)| *newest);
                    let (mut judged, after) = judged(reading, before);
                    match known {
                        None => newest.push((*slot, after)),
                        Some((_, newest)) => *newest = after,
                    }
                    judged.sensor = *slot;
                    Input::Reading(judged)
                }
                Item::Sign => Input::Sign { at },
                Item::Presence(online) => Input::Presence { online: *online, at },
                Item::Status(text) => Input::Status { text, at },
                Item::Down(to) => Input::Down { from: at, to: *to },
            };
            self.feed(id, input)?;
        }
        Ok(())
    }

    /// The readings of one sensor that a rule's horizon reaches; at least the newest. Those that were
    /// not judged when they came are not judged later.
    fn known_readings(
        &self,
        rule: &Rule,
        sensor: &Sensor,
    ) -> Result<Vec<StoredReading>, StoreError> {
        let mut readings = self.stored_readings(rule, sensor)?;
        let unjudged = self.transaction.unjudged(&readings)?;
        readings.retain(|reading| !unjudged.contains(reading.received_at));
        Ok(readings)
    }

    fn stored_readings(
        &self,
        rule: &Rule,
        sensor: &Sensor,
    ) -> Result<Vec<StoredReading>, StoreError> {
        let horizon = rule.compiled.horizon();
        let Some(newest) = sensor.newest_stored() else { return Ok(Vec::new()) };
        if horizon.micros == 0 && horizon.readings == 0 {
            return Ok(vec![newest]);
        }
        let mut from = newest.event_time.plus_micros(-horizon.micros.saturating_add(SLACK));
        if horizon.readings > 0 {
            // Those without a usable value don't count.
            let count = horizon.readings.saturating_mul(2).saturating_add(8);
            let more = self.transaction.newest_readings(sensor.id, from, count)?;
            from = more.last().map_or(from, |oldest| oldest.event_time);
        }
        self.transaction.readings_since(sensor.id, from, READINGS_MAX)
    }
}

/// Stops of the broker. When one began is known to some seconds; what arrived later than it is known
/// to have lived tells more.
fn items_of_downs(downs: &[Down], items: &[TimedItem]) -> Vec<TimedItem> {
    let down = |(from, to): &Down| {
        let arrivals = items.iter().map(|(at, ..)| *at).filter(|at| at < to);
        let last = arrivals.max().map(|at| at.plus_micros(1));
        let from = last.map_or(*from, |last| last.max(*from));
        (from < *to).then_some((from, None, Item::Down(*to)))
    };
    downs.iter().filter_map(down).collect()
}

fn add_signs(items: &mut Vec<TimedItem>, rule: &Rule, originator: &Originator, at: Timestamp) {
    let compiled = &rule.compiled;
    if !(compiled.asks_signs() || compiled.asks_presence() || compiled.asks_status()) {
        return;
    }
    let device = originator.device.snapshot();
    let seen = device.last_seen.unwrap_or(at).min(at);
    if compiled.asks_presence() {
        items.push((seen, None, Item::Presence(device.online)));
    }
    if let (true, Some(status)) = (compiled.asks_status(), device.facts.status) {
        items.push((seen, None, Item::Status(status)));
    }
    if compiled.asks_signs() && device.last_seen.is_some() {
        items.push((seen, None, Item::Sign));
    }
}

/// The sensors that an entry looks at.
fn looked_at(rule: &Rule, originator: &Originator) -> Vec<(Slot, Arc<Sensor>)> {
    if let Some(sensor) = &originator.sensor {
        return vec![(Slot(0), sensor.clone())];
    }
    let named = rule.compiled.sensors().iter();
    let known =
        named.filter_map(|name| Some((rule.compiled.slot(name)?, originator.device.sensor(name)?)));
    known.collect()
}
