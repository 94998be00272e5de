//! The first and the last value of a range.

use std::ops::ControlFlow;

use super::{ChunkError, Order, Reader, rollup::HOUR, statistics::dropped};
use crate::telemetry::{SensorId, Timestamp};

impl Reader<'_> {
    /// The value at an end of the readings with event times from the first on, before the second: the
    /// first of those in `order` that have one. Of dropped readings the hour's, by its start.
    ///
    /// # Errors
    /// When the database does not answer or what it has is damaged.
    pub fn edge(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        order: Order,
    ) -> Result<Option<(Timestamp, f64)>, ChunkError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let view = self.view(sensor, (from, to), None)?;
        let raw_from = view.series.raw_from.unwrap_or(i64::MIN).clamp(from, to.max(from));
        let of_raw = || {
            let mut found = None;
            view.visit((raw_from, to), order, |sample| {
                found = sample.value.map(|value| (sample.event_time, value));
                if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok::<_, ChunkError>(found)
        };
        let of_dropped = || {
            if from >= raw_from {
                return Ok(None);
            }
            let mut rollups = dropped(&view, (from, raw_from), false)?;
            rollups.retain(|rollup| rollup.valued > 0);
            Ok(match order {
                Order::Ascending => rollups.first().map(|rollup| (rollup.start, rollup.first)),
                Order::Descending => rollups.last().map(|rollup| {
                    let end = rollup.start.plus_micros(HOUR - 1);
                    (end.min(Timestamp::from_micros(raw_from - 1)), rollup.last)
                }),
            })
        };
        match order {
            Order::Ascending => of_dropped()?.map_or_else(of_raw, |edge| Ok(Some(edge))),
            Order::Descending => of_raw()?.map_or_else(of_dropped, |edge| Ok(Some(edge))),
        }
    }
}
