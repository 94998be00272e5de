//! What has happened so far: counters, and latencies in log-linear buckets (6% wide).

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;

const STEPS: usize = 16;
const BUCKETS: usize = 64 * STEPS;

#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) connected: AtomicU64,
    pub(crate) failed_connects: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) acks: Histogram,
    pub(crate) deliveries: Histogram,
    pub(crate) connects: Histogram,
    /// When the last connection was accepted, in milliseconds after the start.
    pub(crate) last_connect_ms: AtomicU64,
    /// What each subscriber got, once it has ended.
    pub(crate) of_each_subscriber: Mutex<Vec<u64>>,
}

pub(crate) struct Histogram(Box<[AtomicU64]>);

impl Default for Histogram {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let micros = (time.as_nanos() / 100).max(1) as u64;
        let exponent = 63 - micros.leading_zeros() as usize;
        let step = if exponent >= 4 { (micros >> (exponent - 4)) as usize & 15 } else { 0 };
        if let Some(bucket) = self.0.get(exponent * STEPS + step) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Milliseconds below which `share` of the values lie.
    fn quantile(&self, share: f64) -> Option<f64> {
        let counts: Vec<u64> = self.0.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let wanted = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = counts.iter().position(|count| {
            seen += count;
            total > 0 && seen >= wanted
        })?;
        let (exponent, step) = (at / STEPS, at % STEPS);
        Some((1u64 << exponent) as f64 * (1.0 + step as f64 / STEPS as f64) / 10_000.0)
    }

    fn json(&self) -> serde_json::Value {
        json!({"p50": self.quantile(0.5), "p99": self.quantile(0.99),
               "p999": self.quantile(0.999), "max": self.quantile(1.0)})
    }
}

pub(crate) struct Totals {
    sent: u64,
    acked: u64,
    delivered: u64,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            sent: read(&self.sent),
            acked: read(&self.acked),
            delivered: read(&self.delivered),
        }
    }

    pub(crate) fn summary(&self, seconds: f64) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let each = self.of_each_subscriber.lock().map(|each| each.clone()).unwrap_or_default();
        let connects = self.connects.count();
        let connecting = read(&self.last_connect_ms).max(1) as f64 / 1_000.0;
        let per_second = |count: u64| (count as f64 / seconds).round();
        let summary = json!({
            "seconds": (seconds * 100.0).round() / 100.0,
            "connected": read(&self.connected),
            "failed_connects": read(&self.failed_connects),
            "sent": read(&self.sent),
            "acked": read(&self.acked),
            "refused": read(&self.refused),
            "errors": read(&self.errors),
            "delivered": read(&self.delivered),
            "bytes": read(&self.bytes),
            "sent_per_second": per_second(read(&self.sent)),
            "acked_per_second": per_second(read(&self.acked)),
            "delivered_per_second": per_second(read(&self.delivered)),
            "delivered_to_the_least": each.iter().min(),
            "connects": connects,
            "connects_per_second": (connects as f64 / connecting).round(),
            "ack_ms": self.acks.json(),
            "delivery_ms": self.deliveries.json(),
            "connect_ms": self.connects.json(),
        });
        serde_json::to_string(&summary).unwrap_or_default()
    }
}

impl Totals {
    pub(crate) fn line_since(&self, before: &Self, stats: &Stats) -> String {
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
        format!(
            "{:>8} msgs/s sent  {:>8} acked/s  {:>8} delivered/s  ack ms p50 {} p99 {}  connected {}",
            self.sent - before.sent,
            self.acked - before.acked,
            self.delivered - before.delivered,
            shown(stats.acks.quantile(0.5)),
            shown(stats.acks.quantile(0.99)),
            stats.connected.load(Ordering::Relaxed),
        )
    }
}
