//! Owns every task outside the connections: each has a name, hears when to stop, and is seen to end.

use std::time::Duration;

use metrics::counter;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::metrics::names;

#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Tasks {
    /// Cancelled when the tasks are to stop.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    /// Runs `work` every `period` until the stop.
    pub(super) fn every<F>(
        &mut self,
        name: &'static str,
        period: Duration,
        mut work: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let stop = self.stop_token();
        self.spawn(name, async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => work().await,
                }
            }
        });
    }

    /// Tells all tasks to stop and waits for them; those that don't are cut at the deadline.
    pub(super) async fn stop(&mut self, deadline: Instant) {
        self.stop.cancel();
        loop {
            match timeout_at(deadline, self.set.join_next()).await {
                Ok(None) => return,
                Ok(Some(Ok(name))) => tracing::debug!(task = name, "ended"),
                Ok(Some(Err(error))) => {
                    counter!(names::TASK_PANICS).increment(1);
                    tracing::error!(%error, "a task did not end well");
                }
                Err(_) => {
                    tracing::warn!(tasks = self.set.len(), "tasks cut at the stop's deadline");
                    return self.set.shutdown().await;
                }
            }
        }
    }
}
