//! Whether the store takes what the committer writes: counted, told once when it begins and once when
//! it ends. While it lasts nothing is acknowledged, and silence is not held against devices.

use std::sync::atomic::Ordering;

use metrics::counter;

use super::committer::Work;
use crate::{metrics::names, store::StoreError};

impl Work {
    pub(super) fn has_given_up(&self) -> bool {
        self.orders.give_up.load(Ordering::Relaxed)
    }

    pub(super) fn note_failure(&mut self, error: &StoreError) {
        counter!(names::STORE_ERRORS, "kind" => error.label()).increment(1);
        if self.failing_since.is_none() {
            self.failing_since = Some(self.clock.monotonic());
            self.orders.is_failing.store(true, Ordering::Relaxed);
            tracing::error!(%error, "the store does not take readings; nothing is acknowledged");
        }
    }

    pub(super) fn note_recovery(&mut self) {
        if let Some(since) = self.failing_since.take() {
            self.orders.is_failing.store(false, Ordering::Relaxed);
            let seconds = self.clock.monotonic().saturating_sub(since).as_secs_f64();
            tracing::info!(seconds, "the store takes readings again");
            let failed = self.clock.monotonic().saturating_sub(since);
            let failed = i64::try_from(failed.as_micros()).unwrap_or(i64::MAX);
            self.forgive_silence(self.now().plus_micros(-failed));
        }
    }
}
