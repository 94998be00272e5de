//! Room on the disk: looks how much is free, so that ingest stops before there is none, and keeps the file
//! below `database.max_size`, by dropping the oldest raw readings.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};

use super::{retention, tasks::Tasks};
use crate::{
    clock::Clock,
    metrics::names,
    registry::Registry,
    store::{DiskSpace, Old, RoomSeen, Store, StoreError},
    telemetry::Timestamp,
};

const LOOK: Duration = Duration::from_secs(1);
/// Between two measures of the file.
const MEASURE: Duration = Duration::from_secs(60);
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

#[derive(Clone)]
pub(super) struct Allotment {
    pub(super) store: Store,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    /// Statistics by minute stay of what is dropped.
    pub(super) keeps_minutes: bool,
    /// Looked at the size so often, at least.
    pub(super) interval: Duration,
}

/// What was told of the file's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fullness {
    Roomy,
    /// Above nine tenths of what it may have.
    Nearly,
    /// Above all of it, and nothing is left to drop.
    Over,
}

impl Allotment {
    pub(super) fn start(self, tasks: &mut Tasks) {
        self.look();
        let look = self.clone();
        tasks.every("room on the disk", LOOK, move || {
            look.look();
            std::future::ready(())
        });
        let stop = tasks.stop_token();
        let interval = MEASURE.min(self.interval);
        tasks.spawn("size of the store", async move {
            let mut told = Fullness::Roomy;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    found = self.fit() => self.tell(&mut told, found),
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(interval) => {}
                }
            }
        });
    }

    fn look(&self) {
        let Some(seen) = self.store.look_at_room() else { return };
        let RoomSeen { disk: DiskSpace { free, .. }, is_short, is_news } = seen;
        gauge!(names::STORE_FREE_BYTES).set(free as f64);
        match (is_news, is_short) {
            (false, _) => {}
            (true, true) => tracing::warn!(
                free_bytes = free,
                "the disk has less than database.min_free_space free: nothing is taken until it has more"
            ),
            (true, false) => tracing::info!(free_bytes = free, "the disk has room again"),
        }
    }

    fn tell(&self, told: &mut Fullness, found: Result<Fullness, StoreError>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
                tracing::warn!(%error, "the size of the store could not be seen to");
                return;
            }
        };
        if found > *told {
            let bytes = self.store.size_max().unwrap_or_default();
            match found {
                Fullness::Roomy => {}
                Fullness::Nearly => tracing::warn!(
                    max_size_bytes = bytes,
                    "the database has nine tenths of database.max_size; above it the oldest readings go"
                ),
                Fullness::Over => tracing::warn!(
                    max_size_bytes = bytes,
                    "the database is above database.max_size, and has no readings that could go"
                ),
            }
        }
        *told = found;
    }

    /// Measures, and drops the oldest days while the file is above its size.
    async fn fit(&self) -> Result<Fullness, StoreError> {
        loop {
            let used = self.store.status().await?.used_bytes();
            gauge!(names::STORE_USED_BYTES).set(used as f64);
            let Some(max) = self.store.size_max() else { return Ok(Fullness::Roomy) };
            if used <= max {
                let is_nearly = used > max / 10 * 9;
                return Ok(if is_nearly { Fullness::Nearly } else { Fullness::Roomy });
            }
            let Some(before) = self.next_cut().await? else { return Ok(Fullness::Over) };
            let readings = self.drop_all(before).await?;
            tracing::info!(readings, %before, "the oldest readings are dropped for want of room");
            if readings == 0 {
                return Ok(Fullness::Over);
            }
        }
    }

    /// The end of the oldest day that has readings; of the present day, the end of an hour.
    async fn next_cut(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.unix_micros();
        let oldest = self.store.oldest_raw().await?;
        Ok(oldest.and_then(|oldest| next_cut(oldest.as_micros(), now)).map(Timestamp::from_micros))
    }

    async fn drop_all(&self, before: Timestamp) -> Result<u64, StoreError> {
        let old = Old::Raw { keeps_minutes: self.keeps_minutes };
        let mut readings = 0;
        for sensor in self.registry.all_sensors() {
            match retention::drop_all(&self.store, &sensor, old, before).await {
                Ok(0) => {}
                Ok(dropped) => {
                    readings += dropped;
                    retention::look_for_newest(&self.store, &sensor).await?;
                }
                Err(StoreError::Damaged(error)) => {
                    tracing::error!(error, sensor = sensor.id.0, "a sensor's old readings stay");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(readings)
    }
}

/// `None`: nothing is old enough.
fn next_cut(oldest: i64, now: i64) -> Option<i64> {
    let end = |unit: i64| oldest.saturating_sub(oldest.rem_euclid(unit)).saturating_add(unit);
    [end(DAY), end(HOUR)].into_iter().find(|cut| *cut <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_whole_and_the_present_one_by_hours() {
        let now = 10 * DAY + 5 * HOUR + 1;
        assert_eq!(next_cut(3 * DAY + 7, now), Some(4 * DAY));
        assert_eq!(next_cut(9 * DAY, now), Some(10 * DAY));
        assert_eq!(next_cut(10 * DAY, now), Some(10 * DAY + HOUR));
        assert_eq!(next_cut(10 * DAY + 4 * HOUR, now), Some(10 * DAY + 5 * HOUR));
        assert_eq!(next_cut(10 * DAY + 5 * HOUR, now), None);
        assert_eq!(next_cut(-1, now), Some(0));
        assert_eq!(next_cut(i64::MAX, now), None);
    }
}
