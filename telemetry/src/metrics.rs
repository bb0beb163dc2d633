//! Metrics for Prometheus. Whoever counts uses the `metrics` crate; here is what becomes of it.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio_util::sync::CancellationToken;

/// The upper bounds of durations, in seconds: answers from memory, from Temporal, those that wait,
/// work.
const BUCKETS: [f64; 14] = [
    0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0, 300.0, 1800.0,
];

/// The same for the time that is left of an hour.
const MARGIN_BUCKETS: [f64; 8] = [60.0, 300.0, 600.0, 1200.0, 1800.0, 2400.0, 3000.0, 3600.0];

/// What is recorded with those.
pub const MARGIN: &str = "darkroom_source_margin_seconds";

/// How often what was recorded is put into its buckets, so that memory stays bounded when nobody
/// scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// How many values a label takes that callers choose; the others are one.
const MOST_NAMES: usize = 100;

/// What was counted.
#[derive(Clone)]
pub struct Metrics {
    counted: PrometheusHandle,
    process: Collector,
}

impl Metrics {
    /// Begins to count. To be called before anything is counted, within a runtime.
    ///
    /// # Errors
    /// If the process counts already.
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

    /// All of it, as Prometheus reads it, with what the process takes of its machine right now.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.counted.render()
    }
}

/// The values of a label that callers choose. There may be any number of them; only the first
/// hundred are told apart.
#[derive(Default)]
pub struct Names(Mutex<Option<HashSet<String>>>);

impl Names {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The value itself, or `other`.
    pub fn label(&self, name: &str) -> String {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.get_or_insert_default();
        if names.contains(name) || (names.len() < MOST_NAMES && names.insert(name.to_owned())) {
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
    fn callers_cannot_make_up_labels_without_end() {
        let names = Names::new();
        let labels: HashSet<String> = (0..1000)
            .map(|number| names.label(&format!("acme/{number}")))
            .collect();
        assert_eq!(labels.len(), MOST_NAMES + 1);
        assert_eq!(names.label("acme/0"), "acme/0");
        assert_eq!(names.label("acme/999"), "other");
    }
}
