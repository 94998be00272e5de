//! The Prometheus side: names, the recorder, and the text that `/metrics` serves.
//!
//! Rooms take handles by `metrics::counter!(names::…)`, hot ones once and for all.

pub mod names;

use metrics::gauge;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_000.0, 5_000.0];

/// Renders what the process has measured.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    process: Collector,
}

impl Exporter {
    /// Installs the recorder for the whole process.
    ///
    /// # Errors
    /// When one is installed already.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
            .set_buckets_for_metric(Matcher::Suffix("_batch_messages".to_owned()), SIZES)?
            .install_recorder()?;
        names::describe();
        let process = Collector::default();
        process.describe();
        gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { handle, process })
    }

    /// The exposition format, process metrics included.
    pub fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// Moves recorded samples into their buckets; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}
