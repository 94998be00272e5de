//! The time, injected: the only file that asks the operating system for it.
//!
//! Two scales: wall time, which may jump when the system's clock is set, and monotonic time, which
//! does not. A manual clock stands still until a test moves it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual { started: i64, micros: Arc<AtomicI64> },
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clocks")]
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock that shows `unix_micros` until it is moved by [`Clock::advance`].
    pub fn manual(unix_micros: i64) -> Self {
        let micros = Arc::new(AtomicI64::new(unix_micros));
        Self(Source::Manual { started: unix_micros, micros })
    }

    /// Moves a manual clock; the system's clocks are left alone.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { micros, .. } = &self.0 {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z; may go backwards when the clock is set.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clocks")]
    pub fn unix_micros(&self) -> i64 {
        match &self.0 {
            Source::System { .. } => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            Source::Manual { micros, .. } => micros.load(Ordering::Relaxed),
        }
    }

    /// Time since the clock was made; never goes backwards.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual { started, micros } => {
                let passed = micros.load(Ordering::Relaxed).saturating_sub(*started);
                Duration::from_micros(u64::try_from(passed).unwrap_or(0))
            }
        }
    }
}
