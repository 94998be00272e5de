//! Rolls readings up on a server, hour by hour, and again what has changed since; half of the time is
//! ingest's. At the first start with an older database all that it has is rolled up by and by.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::{
    clock::Clock,
    metrics::names,
    registry::Registry,
    store::{Store, StoreError},
    telemetry::{SensorId, Timestamp},
};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// After an hour's end: what comes in time has come.
const GRACE: i64 = 600_000_000;
const HOUR: i64 = 3_600_000_000;
/// The longest pause between two steps.
const PAUSE_MAX: Duration = Duration::from_millis(100);

pub(super) struct RollUps {
    pub(super) store: Store,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
}

impl RollUps {
    pub(super) fn start(self, tasks: &mut Tasks) {
        let stop = tasks.stop_token();
        tasks.spawn("roll-ups", async move {
            // Up to where all sensors were looked at.
            let mut done = i64::MIN;
            while self.look(&mut done, &stop).await {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
    }

    /// `false`: there is nothing to look after.
    async fn look(&self, done: &mut i64, stop: &CancellationToken) -> bool {
        let ended = tokio::select! {
            () = stop.cancelled() => return false,
            ended = self.round(done) => ended,
        };
        ended.unwrap_or_else(|error| {
            counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
            tracing::warn!(%error, "readings are rolled up with the next look");
            true
        })
    }

    async fn round(&self, done: &mut i64) -> Result<bool, StoreError> {
        let finished = (self.clock.unix_micros() - GRACE).div_euclid(HOUR) * HOUR;
        let sensors: Vec<SensorId> = match finished > *done {
            true => {
                let devices = self.registry.all();
                devices.iter().flat_map(|device| device.sensors()).map(|sensor| sensor.id).collect()
            }
            false => Vec::new(),
        };
        let upto = Timestamp::from_micros(finished);
        let Some(mut round) = self.store.begin_roll_up(upto, &sensors).await? else {
            return Ok(false);
        };
        while round.has_more() {
            let began = tokio::time::Instant::now();
            let step = self.store.roll_up_some(&mut round).await?;
            gauge!(names::ROLLUP_WAITING).set(round.waiting() as f64);
            counter!(names::ROLLUP_HOURS).increment(step.hours);
            if step.has_more {
                tokio::time::sleep(began.elapsed().min(PAUSE_MAX)).await;
            }
        }
        *done = finished;
        if let Some(stale) = self.store.stale_hours().await? {
            gauge!(names::ROLLUP_STALE).set(stale as f64);
        }
        Ok(true)
    }
}
