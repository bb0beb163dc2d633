//! Structured logs on standard error: JSON, unless it is a terminal. `RUST_LOG` is the filter.
//! Prompts are logged only if it enables [`PROMPTS`]; inputs of models are never logged.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// Target of log lines that contain prompts: `RUST_LOG=info,darkroom_prompts=trace`.
pub const PROMPTS: &str = "darkroom_prompts";

/// Filter if `RUST_LOG` is absent.
pub const DEFAULT: &str = "info,temporalio_sdk_core=warn";

/// Builds the layer that logs what `RUST_LOG` enables. A line contains its spans, with job and
/// request.
pub(crate) fn layer() -> Result<Box<dyn Layer<Registry> + Send + Sync>> {
    let said = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|filter| !filter.is_empty());
    let filter = said.as_deref().unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("RUST_LOG: {filter:?} is not a filter; set it like {DEFAULT}"))?;
    Ok(if std::io::stderr().is_terminal() {
        fmt::layer()
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed()
    } else {
        let json = fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false);
        json.with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed()
    })
}
