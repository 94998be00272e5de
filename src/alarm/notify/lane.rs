//! One target's way out. What hangs here delays nobody else.
//!
//! Each round reads what is due, cancels what is silenced, and sends what is ready, up to
//! `CONCURRENT_MAX` messages side by side. It holds `ROWS_MAX` rows at most, and nothing from one
//! round to the next but the pace.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use metrics::{counter, histogram};
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    ChannelKind, Channels, Failure, Message, Notifier, Outbox, Retry, Target, Waiting,
    group::{self, Batch, Row},
    pace::Pace,
};
use crate::{clock::Clock, metrics::names, telemetry::Timestamp};

/// Rows read at a time.
const ROWS_MAX: usize = 500;
/// Messages under way to one target.
const CONCURRENT_MAX: usize = 4;
/// Between two readings of the store, however often the bell rings.
const READ_PAUSE: Duration = Duration::from_millis(50);
/// After the store has failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// The longest sleep: the clock may be set.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// From the order to stop to the end of what is under way.
const GRACE: Duration = Duration::from_secs(1);
/// Characters of an error in the store.
const ERROR_MAX: usize = 500;

pub(super) struct Lane<O> {
    pub(super) target: Arc<Target>,
    pub(super) outbox: Arc<O>,
    pub(super) channels: Arc<Channels>,
    pub(super) notifier: Notifier,
    pub(super) retry: Retry,
    pub(super) clock: Clock,
    pub(super) pace: Mutex<Pace>,
}

impl<O: Outbox> Lane<O> {
    /// Runs until the stop. A message that is under way then gets a moment; the rows of one that is
    /// cut are waiting as begun.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut rings = self.notifier.rings();
        loop {
            rings.mark_unchanged();
            let pause = tokio::select! {
                () = after_grace(&stop) => return,
                pause = self.round(&stop) => pause,
            };
            if stop.is_cancelled() {
                return;
            }
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(READ_PAUSE) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                _ = rings.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn round(&self, stop: &CancellationToken) -> Duration {
        match self.try_round(stop).await {
            Ok(pause) => pause,
            Err(error) => {
                let name = self.target.name.as_str();
                tracing::warn!(target_name = name, %error, "the outbox can't be used");
                STORE_PAUSE
            }
        }
    }

    /// How long until there may be something to do.
    async fn try_round(&self, stop: &CancellationToken) -> Result<Duration, O::Error> {
        let now = self.now();
        let due = self.outbox.due(&self.target.name, now, ROWS_MAX).await?;
        let is_page = due.rows.len() >= ROWS_MAX;
        let rows = self.wanted(due.rows, now).await?;
        let plan = group::plan(rows, &self.target, now, is_page);
        let (going, wait) = self.paced(plan.ready);
        let any_going = !going.is_empty();
        // Boxed, for what is sent borrows the lane and lives as long as the round only.
        let sending = going.into_iter().map(|batch| Box::pin(self.deliver(batch, stop)));
        let outcomes: Vec<_> =
            stream::iter(sending).buffer_unordered(CONCURRENT_MAX).collect().await;
        outcomes.into_iter().collect::<Result<(), _>>()?;
        if let Some(wait) = wait {
            return Ok(wait.min(SLEEP_MAX));
        }
        if any_going {
            // What failed is due again at a time that the store has, and more may be ready.
            return Ok(Duration::ZERO);
        }
        let next = [plan.ready_at, due.next].into_iter().flatten().min();
        let pause = next.map_or(SLEEP_MAX, |next| self.until(next));
        Ok(pause.clamp(Duration::from_millis(1), SLEEP_MAX))
    }

    /// Those that may go at this pace, and how long the others wait.
    fn paced(&self, ready: Vec<Batch>) -> (Vec<Batch>, Option<Duration>) {
        let mut pace = self.pace.lock();
        let mut going = Vec::new();
        for batch in ready {
            match pace.take(self.clock.monotonic()) {
                Ok(()) => going.push(batch),
                Err(wait) => return (going, Some(wait)),
            }
        }
        (going, None)
    }

    /// The rows that are to be told: not those that are silenced, nor those that can't be read.
    async fn wanted(&self, rows: Vec<Waiting>, now: Timestamp) -> Result<Vec<Row>, O::Error> {
        let routing = self.notifier.routing();
        let mut wanted = Vec::with_capacity(rows.len());
        for row in rows {
            let notice: super::Notice = match serde_json::from_str(&row.body) {
                Ok(notice) => notice,
                Err(error) => {
                    self.outbox.dead(&[row.id], &format!("the body: {error}")).await?;
                    self.count("dead", 1);
                    continue;
                }
            };
            // Who watches a topic must see its end, or the alarm is retained for ever.
            let must_be_told = self.target.kind() == ChannelKind::Mqtt && notice.is_clear();
            match routing.silenced_by(&notice, now).filter(|_| !must_be_told) {
                Some(silence) => {
                    self.outbox.cancel(&[row.id], &format!("silence {}", silence.id)).await?;
                    self.count("silenced", 1);
                }
                None => wanted.push(Row { row, notice }),
            }
        }
        Ok(wanted)
    }

    async fn deliver(&self, batch: Batch, stop: &CancellationToken) -> Result<(), O::Error> {
        if stop.is_cancelled() {
            return Ok(());
        }
        let rows = batch.rows.iter().map(|row| &row.row);
        let attempt = rows.clone().map(|row| row.attempts).max().unwrap_or(0).saturating_add(1);
        let created_at = rows.clone().map(|row| row.created_at).min();
        let key = group::message_key(rows.map(|row| row.key.as_str()));
        let ids = batch.ids();
        let pause = self.retry.pause(&key, attempt);
        let lost_after = self.target.channel.timeout() + pause;
        self.outbox.begin(&ids, later(self.now(), lost_after)).await?;

        let group_key = batch.rows.first().map(|row| row.row.group_key.clone());
        let message = Message {
            key,
            target: self.target.name.clone(),
            group_key: group_key.unwrap_or_default(),
            notices: batch.rows.into_iter().map(|row| row.notice).collect(),
        };
        let began = self.clock.monotonic();
        let sent = self.channels.send(&self.target, &message).await;
        let took = self.clock.monotonic().saturating_sub(began);
        let channel = self.target.kind().label();
        histogram!(names::NOTIFICATION_SECONDS, "channel" => channel).record(took);

        let now = self.now();
        let (why, after) = match sent {
            Ok(()) => {
                self.count("sent", ids.len());
                return self.outbox.sent(&ids, now).await;
            }
            Err(Failure::Permanent { why }) => (why, None),
            Err(Failure::Temporary { why, after }) => (why, Some(after.unwrap_or_default())),
        };
        let goes_on = self.retry.goes_on(attempt, created_at.unwrap_or(now), now);
        self.settle_failure(&ids, &why, after.filter(|_| goes_on), (attempt, pause, now)).await
    }

    /// `after`: to be tried again, not before the other side's wish.
    async fn settle_failure(
        &self,
        ids: &[i64],
        why: &str,
        after: Option<Duration>,
        (attempt, pause, now): (u32, Duration, Timestamp),
    ) -> Result<(), O::Error> {
        let why: String = why.chars().take(ERROR_MAX).collect();
        let (name, notices) = (self.target.name.as_str(), ids.len());
        match after {
            Some(after) => {
                let pause = pause.max(after.min(self.retry.longest));
                tracing::info!(target_name = name, notices, attempt, why, ?pause, "not delivered");
                self.count("failed", ids.len());
                self.outbox.failed(ids, &why, later(now, pause)).await
            }
            None => {
                tracing::warn!(target_name = name, notices, attempt, why, "given up");
                self.count("dead", ids.len());
                self.outbox.dead(ids, &why).await
            }
        }
    }

    fn count(&self, outcome: &'static str, notices: usize) {
        let channel = self.target.kind().label();
        let notices = u64::try_from(notices).unwrap_or(u64::MAX);
        counter!(names::NOTIFICATIONS, "channel" => channel, "outcome" => outcome)
            .increment(notices);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.unix_micros())
    }

    fn until(&self, time: Timestamp) -> Duration {
        let micros = time.micros_since(self.now());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

async fn after_grace(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(GRACE).await;
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.plus_micros(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}
