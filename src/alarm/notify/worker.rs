//! Keeps a lane for each enabled target, tells how the outbox stands, and trims it.
//!
//! A target that is edited gets a fresh lane; the rows of one that is gone or disabled are cancelled.
//! A lane that panics ends alone and is begun again with the next tick. Bound: `TARGETS_MAX` lanes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use metrics::{counter, gauge};
use parking_lot::Mutex;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{Channels, Notifier, Outbox, Retry, Target, lane::Lane, pace::Pace};
use crate::{clock::Clock, metrics::names, telemetry::Timestamp};

/// Targets that are served; of more, the first by place in [`super::Routing::targets`].
pub const TARGETS_MAX: usize = 100;
const TICK: Duration = Duration::from_secs(10);
/// Between two clearings of what was told long ago.
const TRIM_TICK: Duration = Duration::from_secs(3_600);
/// Rows deleted in one go, so that ingest waits for moments only.
const TRIM_CHUNK: usize = 500;

/// How much is kept of what was sent, cancelled or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// From the row's making.
    pub age: Duration,
    /// Rows, those that wait among them.
    pub rows: usize,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { age: Duration::from_secs(30 * 86_400), rows: 100_000 }
    }
}

pub struct Worker<O> {
    outbox: Arc<O>,
    channels: Arc<Channels>,
    notifier: Notifier,
    retry: Retry,
    keeping: Keeping,
    clock: Clock,
}

struct Running {
    target: Arc<Target>,
    task: Id,
    stop: CancellationToken,
}

#[derive(Default)]
struct Lanes {
    by_target: HashMap<String, Running>,
    tasks: JoinSet<()>,
}

impl Lanes {
    /// Stops the lanes of targets that are no longer as they were.
    fn retain(&mut self, wanted: &[Arc<Target>]) {
        self.by_target.retain(|_, running| {
            let stays = wanted.contains(&running.target);
            if !stays {
                running.stop.cancel();
            }
            stays
        });
    }

    fn note_end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => {
                counter!(names::TASK_PANICS).increment(1);
                tracing::error!(%error, "a notification target's lane did not end well");
                error.id()
            }
        };
        self.by_target.retain(|_, running| running.task != task);
    }
}

impl<O: Outbox> Worker<O> {
    pub fn new(
        outbox: Arc<O>,
        channels: Arc<Channels>,
        notifier: Notifier,
        (retry, keeping): (Retry, Keeping),
        clock: Clock,
    ) -> Self {
        Self { outbox, channels, notifier, retry, keeping, clock }
    }

    /// Runs until the stop, then until every lane has ended. What waits, waits.
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.notifier.changes();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trims = interval(TRIM_TICK);
        trims.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lanes = Lanes::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = changes.changed() => self.reconcile(&mut lanes, &stop),
                _ = ticks.tick() => {
                    self.reconcile(&mut lanes, &stop);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.look_after() => {}
                    }
                }
                _ = trims.tick() => tokio::select! {
                    () = stop.cancelled() => break,
                    () = self.trim() => {}
                },
                Some(ended) = lanes.tasks.join_next_with_id() => lanes.note_end(ended),
            }
        }
        while let Some(ended) = lanes.tasks.join_next_with_id().await {
            lanes.note_end(ended);
        }
    }

    fn wanted(&self) -> Vec<Arc<Target>> {
        let routing = self.notifier.routing();
        let mut names = HashSet::new();
        let enabled = routing.targets.iter().filter(|target| target.enabled);
        enabled
            .filter(|target| names.insert(target.name.clone()))
            .take(TARGETS_MAX)
            .cloned()
            .collect()
    }

    fn reconcile(&self, lanes: &mut Lanes, stop: &CancellationToken) {
        let wanted = self.wanted();
        lanes.retain(&wanted);
        for target in wanted {
            if lanes.by_target.contains_key(&target.name) {
                continue;
            }
            let lane = Lane {
                target: target.clone(),
                outbox: self.outbox.clone(),
                channels: self.channels.clone(),
                notifier: self.notifier.clone(),
                retry: self.retry,
                clock: self.clock.clone(),
                pace: Mutex::new(Pace::per_minute(target.rate_per_minute)),
            };
            let stop = stop.child_token();
            let task = lanes.tasks.spawn(lane.run(stop.clone())).id();
            lanes.by_target.insert(target.name.clone(), Running { target, task, stop });
        }
    }

    async fn trim(&self) {
        if let Err(error) = self.try_trim().await {
            tracing::warn!(%error, "the outbox can't be trimmed");
        }
    }

    async fn try_trim(&self) -> Result<(), O::Error> {
        let age = i64::try_from(self.keeping.age.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.clock.unix_micros().saturating_sub(age));
        while self.outbox.trim(before, self.keeping.rows, TRIM_CHUNK).await? > 0 {}
        Ok(())
    }

    /// Cancels what nobody will send, and measures what waits.
    async fn look_after(&self) {
        if let Err(error) = self.try_look_after().await {
            tracing::warn!(%error, "the outbox can't be used");
        }
    }

    async fn try_look_after(&self) -> Result<(), O::Error> {
        let summary = self.outbox.summary().await?;
        if summary.rows > 0 {
            let names: Vec<_> = self.wanted().iter().map(|target| target.name.clone()).collect();
            let cancelled = self.outbox.cancel_others(&names, "no such target is enabled").await?;
            if cancelled > 0 {
                counter!(names::NOTIFICATIONS, "channel" => "none", "outcome" => "cancelled")
                    .increment(cancelled);
            }
        }
        let now = self.clock.unix_micros();
        let age = summary.oldest.map_or(0, |oldest| now.saturating_sub(oldest.as_micros()));
        let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
        gauge!(names::OUTBOX_AGE).set(age);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        gauge!(names::OUTBOX_WAITING).set(summary.rows as f64);
        Ok(())
    }
}
