//! How far a job is: kept in memory, written about once a second, when it is looked, too, whether
//! somebody has called it off.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{JobError, Jobs};
use crate::store::{CANCELLING, JobProgress, JobRow};

/// Between two writes of it.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Progress {
    job: i64,
    pub(super) done: i64,
    pub(super) total: i64,
    /// Where to go on after a restart.
    pub(super) checkpoint: Map<String, Value>,
    pub(super) result: Map<String, Value>,
    saved_at: Duration,
}

impl Progress {
    pub(super) fn of(row: &JobRow, now: Duration) -> Self {
        let object = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            job: row.id,
            done: row.done,
            total: row.total,
            checkpoint: object(&row.checkpoint),
            result: object(&row.result),
            saved_at: now,
        }
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        self.result.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    pub(super) fn add(&mut self, name: &str, count: u64) {
        let sum = self.count(name) + count;
        self.result.insert(name.to_owned(), sum.into());
    }

    pub(super) fn saved(&self) -> JobProgress {
        JobProgress {
            done: self.done,
            total: self.total,
            checkpoint: Value::Object(self.checkpoint.clone()).to_string(),
            result: Value::Object(self.result.clone()).to_string(),
        }
    }
}

impl Jobs {
    /// Writes how far a job is, where it is time.
    ///
    /// # Errors
    /// [`JobError::Cancelled`] when somebody has called it off.
    pub(super) async fn note(&self, progress: &mut Progress) -> Result<(), JobError> {
        let now = self.clock.monotonic();
        if now.saturating_sub(progress.saved_at) < INTERVAL {
            return Ok(());
        }
        progress.saved_at = now;
        self.store.save_job(progress.job, &progress.saved()).await?;
        match self.store.job(progress.job).await? {
            Some(row) if row.state != CANCELLING => Ok(()),
            _ => Err(JobError::Cancelled),
        }
    }
}
