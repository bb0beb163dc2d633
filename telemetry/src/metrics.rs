//! Export of metrics to Prometheus. Other crates record them through the `metrics` crate.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio_util::sync::CancellationToken;

/// Histogram buckets for durations, in seconds: from answers out of memory and calls to Temporal up
/// to long polls and activities.
const BUCKETS: [f64; 14] = [
    0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0, 300.0, 1800.0,
];

/// Histogram buckets for [`MARGIN`], in seconds, up to an hour.
const MARGIN_BUCKETS: [f64; 8] = [60.0, 300.0, 600.0, 1200.0, 1800.0, 2400.0, 3000.0, 3600.0];

/// Name of the metric for the time that is left before a source expires.
pub const MARGIN: &str = "darkroom_source_margin_seconds";

/// Interval of the exporter's upkeep, which puts recorded values into their buckets. It keeps
/// memory bounded while nothing scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Limit of distinct values of a label that callers choose. Further values become `other`.
const MAX_LABELS: usize = 100;

/// The recorded metrics.
#[derive(Clone)]
pub struct Metrics {
    counted: PrometheusHandle,
    process: Collector,
}

impl Metrics {
    /// Installs the recorder. Call it within a tokio runtime, and before anything is recorded.
    ///
    /// # Errors
    /// If the process has a recorder already.
    pub fn install(shutdown: CancellationToken) -> Result<Self> {
        let builder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .context("cannot set up metrics")?;
        let builder =
            builder.set_buckets_for_metric(Matcher::Full(MARGIN.to_owned()), &MARGIN_BUCKETS)?;
        let handle = builder
            .install_recorder()
            .context("cannot set up metrics")?;
        let upkept = handle.clone();
        tokio::spawn(async move {
            while shutdown
                .run_until_cancelled(tokio::time::sleep(UPKEEP))
                .await
                .is_some()
            {
                upkept.run_upkeep();
            }
        });
        let process = Collector::default();
        process.describe();
        Ok(Self {
            counted: handle,
            process,
        })
    }

    /// Renders all metrics in the text format of Prometheus, with the current resource usage of the
    /// process.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.counted.render()
    }
}

/// Limiter of the values of a label that callers choose, which could be any number. The first
/// hundred are kept apart.
#[derive(Default)]
pub struct LabelLimiter(Mutex<Option<HashSet<String>>>);

impl LabelLimiter {
    /// Creates an empty limiter.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the value of the label: the name itself, or `other` beyond the limit.
    pub fn label(&self, name: &str) -> String {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.get_or_insert_default();
        if names.contains(name) || (names.len() < MAX_LABELS && names.insert(name.to_owned())) {
            name.to_owned()
        } else {
            "other".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_labels_is_limited() {
        let names = LabelLimiter::new();
        let labels: HashSet<String> = (0..1000)
            .map(|number| names.label(&format!("acme/{number}")))
            .collect();
        assert_eq!(labels.len(), MAX_LABELS + 1);
        assert_eq!(names.label("acme/0"), "acme/0");
        assert_eq!(names.label("acme/999"), "other");
    }
}
