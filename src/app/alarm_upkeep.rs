//! What is done for alarms every so often: edits of targets and silences that could not be read at once
//! are brought into force, and alarms that are long over are deleted.

use std::time::Duration;

use super::tasks::Tasks;
use crate::{
    alarm::notify::Notifier,
    clock::Clock,
    store::{Store, StoreError},
    telemetry::Timestamp,
};

const EVERY_SECOND: Duration = Duration::from_secs(1);
const EVERY_HOUR: Duration = Duration::from_secs(3_600);
/// Alarms deleted in one go, so that ingest waits for moments only.
const TRIM_CHUNK: u64 = 200;
/// Events of one alarm that are kept: the first, and the newest.
const EVENTS_MAX: u64 = 1_000;
/// Events deleted in one go.
const EVENTS_CHUNK: u64 = 5_000;

#[derive(Clone)]
pub(super) struct AlarmUpkeep {
    pub(super) store: Store,
    pub(super) notifier: Notifier,
    pub(super) clock: Clock,
    /// `alarms.retention`.
    pub(super) retention: Duration,
}

impl AlarmUpkeep {
    pub(super) fn start(self, tasks: &mut Tasks) {
        let routing = self.clone();
        tasks.every("routing", EVERY_SECOND, move || {
            let upkeep = routing.clone();
            async move { upkeep.notifier.catch_up(&upkeep.store, upkeep.now()).await }
        });
        let (first, stop) = (self.clone(), tasks.stop_token());
        tasks.spawn("first alarm retention", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = first.trim() => {}
            }
        });
        tasks.every("alarm retention", EVERY_HOUR, move || {
            let upkeep = self.clone();
            async move { upkeep.trim().await }
        });
    }

    async fn trim(&self) {
        match self.try_trim_events().await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "events between an alarm's first and newest went"),
            Err(error) => tracing::warn!(%error, "old events of alarms can't be deleted"),
        }
        match self.try_trim().await {
            Ok(0) => {}
            Ok(alarms) => tracing::info!(alarms, "alarms that are long over were deleted"),
            Err(error) => tracing::warn!(%error, "old alarms can't be deleted"),
        }
    }

    async fn try_trim(&self) -> Result<u64, StoreError> {
        let age = i64::try_from(self.retention.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.clock.unix_micros().saturating_sub(age));
        let mut alarms = 0;
        loop {
            let deleted = self.store.trim_alarms(before, TRIM_CHUNK).await?;
            alarms += deleted;
            if deleted < TRIM_CHUNK {
                return Ok(alarms);
            }
        }
    }

    async fn try_trim_events(&self) -> Result<u64, StoreError> {
        let mut events = 0;
        loop {
            let deleted = self.store.trim_alarm_events(EVENTS_MAX, EVENTS_CHUNK).await?;
            events += deleted;
            if deleted == 0 {
                return Ok(events);
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }
}
