//! What ingest counts: metric handles looked up once, and the totals that REST and the log show.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{
    pulse::{Count, MessageRate, Pulse},
    rejection::RejectionReason,
    verdict::Verdict,
};
use crate::{metrics::names, routes::RouteTable, telemetry::Timestamp};

const OUTCOMES: [&str; 5] = ["stored", "partial", "held", "refused", "unavailable"];

pub struct Meters {
    /// By route, HTTP last, and by outcome.
    messages: Vec<[Counter; 5]>,
    readings_stored: Counter,
    readings_duplicate: Counter,
    readings_refused: Vec<(RejectionReason, Counter)>,
    queue: Gauge,
    batch: Histogram,
    commit: Histogram,
    acknowledge: Histogram,
    totals: Totals,
    pulse: Pulse,
}

/// Since the start.
#[derive(Debug, Default)]
struct Totals {
    messages: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    readings: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceTotals {
    pub messages: u64,
    /// Messages of which something was taken.
    pub accepted: u64,
    pub refused: u64,
    /// Readings stored.
    pub readings: u64,
}

impl Meters {
    pub(super) fn new(routes: &RouteTable) -> Self {
        let labels = routes.templates().iter().map(|route| route.text().to_owned());
        let by_outcome = |route: String| {
            OUTCOMES.map(|outcome| {
                counter!(names::INGEST_MESSAGES, "route" => route.clone(), "outcome" => outcome)
            })
        };
        let refused = |reason: &RejectionReason| {
            let label = reason.label();
            let labels = [("outcome", "refused"), ("reason", label)];
            (*reason, counter!(names::INGEST_READINGS, &labels))
        };
        let readings = |outcome: &'static str| counter!(names::INGEST_READINGS, "outcome" => outcome, "reason" => "");
        Self {
            messages: labels.chain(["http".to_owned()]).map(by_outcome).collect(),
            readings_stored: readings("stored"),
            readings_duplicate: readings("duplicate"),
            readings_refused: RejectionReason::ALL.iter().map(refused).collect(),
            queue: gauge!(names::INGEST_QUEUE),
            batch: histogram!(names::INGEST_BATCH),
            commit: histogram!(names::STORE_COMMIT),
            acknowledge: histogram!(names::INGEST_ACKNOWLEDGE),
            totals: Totals::default(),
            pulse: Pulse::default(),
        }
    }

    pub(super) fn batch(&self, messages: usize, commit: Duration, queued: usize) {
        self.batch.record(messages as f64);
        self.commit.record(commit.as_secs_f64());
        self.queue.set(queued as f64);
    }

    pub(super) fn message(&self, route: Option<usize>, verdict: &Verdict, took: Duration) {
        let at = route.unwrap_or(self.messages.len() - 1);
        let outcome = OUTCOMES.iter().position(|outcome| *outcome == verdict.label());
        if let Some(counter) = self.messages.get(at).zip(outcome).and_then(|(all, at)| all.get(at))
        {
            counter.increment(1);
        }
        self.acknowledge.record(took.as_secs_f64());
        for rejection in verdict.rejections() {
            let counted = self.readings_refused.iter().find(|(r, _)| *r == rejection.reason);
            counted.inspect(|(_, counter)| counter.increment(1));
        }
        if let Verdict::Stored { duplicates, .. } = verdict {
            self.readings_duplicate.increment(*duplicates as u64);
        }
        let is_refused = matches!(verdict, Verdict::Refused(_) | Verdict::Unavailable);
        let total = if is_refused { &self.totals.refused } else { &self.totals.accepted };
        total.fetch_add(1, Ordering::Relaxed);
        self.totals.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn readings_stored(&self, count: usize) {
        self.readings_stored.increment(count as u64);
        self.totals.readings.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// To be called every second, so that [`Self::rate`] knows what came when.
    pub fn beat(&self, now: Timestamp) {
        self.pulse.beat(now, self.count());
    }

    /// Messages of the last hour.
    pub fn rate(&self, now: Timestamp) -> MessageRate {
        self.pulse.rate(now, self.count())
    }

    fn count(&self) -> Count {
        let ServiceTotals { accepted, refused, .. } = self.totals();
        Count { accepted, refused }
    }

    pub fn totals(&self) -> ServiceTotals {
        ServiceTotals {
            messages: self.totals.messages.load(Ordering::Relaxed),
            accepted: self.totals.accepted.load(Ordering::Relaxed),
            refused: self.totals.refused.load(Ordering::Relaxed),
            readings: self.totals.readings.load(Ordering::Relaxed),
        }
    }
}
