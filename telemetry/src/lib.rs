//! Telemetry of a process, the same for worker and api: logs, metrics, traces, and the listener
//! that serves them. Each metric is described in the code that counts it.
//!
//! - [`logs`]: structured logs on standard error
//! - [`metrics`]: counters for Prometheus
//! - [`traces`]: OpenTelemetry spans
//! - [`listener`]: HTTP listener for Prometheus and for an orchestrator's probes

pub mod listener;
pub mod logs;
pub mod metrics;
pub mod traces;

use anyhow::Result;
use tracing_subscriber::prelude::*;

/// Logs and traces of this process. Dropping it exports the remaining spans.
#[must_use = "keep it until the process ends: dropping it exports the last spans"]
pub struct Telemetry {
    traces: Option<traces::Exporter>,
}

impl Telemetry {
    /// Starts logging and, if `OTEL_*` configures an exporter, tracing. `service` is the process's
    /// name in traces, unless `OTEL_SERVICE_NAME` is set.
    ///
    /// # Errors
    /// If `RUST_LOG` or an `OTEL_*` variable is malformed, or if the process has a subscriber
    /// already.
    pub fn start(service: &'static str) -> Result<Self> {
        let traces = traces::Exporter::from_env(service)?;
        let layers = vec![logs::layer()?];
        let layers = layers
            .into_iter()
            .chain(traces.as_ref().map(traces::Exporter::layer))
            .collect::<Vec<_>>();
        tracing_subscriber::registry().with(layers).try_init()?;
        Ok(Self { traces })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces {
            traces.flush();
        }
    }
}
