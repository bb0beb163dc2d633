//! What a process tells of itself, the same way for worker and api. What is counted is said where it is counted.
//!
//! - [`logs`]: structured logs on standard error
//! - [`metrics`]: counters for Prometheus
//! - [`traces`]: OpenTelemetry spans
//! - [`listener`]: where an orchestrator and Prometheus ask

pub mod listener;
pub mod logs;
pub mod metrics;
pub mod traces;

use anyhow::Result;
use tracing_subscriber::prelude::*;

/// Logs and traces of this process. Dropping it sends what has not been sent.
#[must_use = "dropped, it ends"]
pub struct Telemetry {
    traces: Option<traces::Exporter>,
}

impl Telemetry {
    /// Starts logging and, if `OTEL_*` says where to, tracing. `service` is what a trace calls this process unless
    /// `OTEL_SERVICE_NAME` does.
    ///
    /// # Errors
    /// If `RUST_LOG` or an `OTEL_*` variable is malformed, or the process has logs already.
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
