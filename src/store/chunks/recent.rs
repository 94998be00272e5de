//! A sensor's last readings by when they arrived: for alarm rules that begin.

use std::{cmp::Reverse, collections::BinaryHeap, ops::ControlFlow};

use super::{ChunkError, Order, Reader, Sample};
use crate::telemetry::{SensorId, Timestamp};

/// No reading is stamped further ahead of its arrival, microseconds.
const AHEAD: i64 = 360 * 1_000_000;

impl Reader<'_> {
    /// Of the readings with event times from `from` on, the `count` that arrived last, in the order in
    /// which they arrived.
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged; here and below.
    pub fn arrived_last(
        &self,
        sensor: SensorId,
        from: Timestamp,
        count: usize,
    ) -> Result<Vec<Sample>, ChunkError> {
        let range = (from.as_micros(), i64::MAX);
        let view = self.view(sensor, range, None)?;
        let mut last: BinaryHeap<Reverse<(Timestamp, Timestamp)>> = BinaryHeap::new();
        let key = |sample: &Sample| (sample.received_at, sample.event_time);
        // Keys first: samples have no order, and most are not wanted.
        view.visit(range, Order::Ascending, |sample| {
            last.push(Reverse(key(sample)));
            if last.len() > count {
                last.pop();
            }
            ControlFlow::Continue(())
        })?;
        let Some(Reverse(least)) = last.peek().copied() else { return Ok(Vec::new()) };
        let mut found = Vec::with_capacity(last.len());
        view.visit(range, Order::Ascending, |sample| {
            if key(sample) >= least {
                found.push(*sample);
            }
            ControlFlow::Continue(())
        })?;
        found.sort_by_key(key);
        Ok(found)
    }

    /// Of the readings that arrived before `before`, the `count` with the newest event times, in the
    /// order in which they arrived.
    ///
    /// # Errors
    /// As above.
    pub fn newest_arrived(
        &self,
        sensor: SensorId,
        before: Timestamp,
        count: usize,
    ) -> Result<Vec<Sample>, ChunkError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let range = (i64::MIN, before.as_micros().saturating_add(AHEAD));
        let view = self.view(sensor, range, None)?;
        let mut found = Vec::new();
        view.visit(range, Order::Descending, |sample| {
            if sample.received_at < before {
                found.push(*sample);
            }
            if found.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        found.sort_by_key(|sample| (sample.received_at, sample.event_time));
        Ok(found)
    }
}
