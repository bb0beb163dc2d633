//! Logs: structured, to standard error; JSON unless a person looks on. `RUST_LOG` filters. Prompts are in none of them unless it
//! asks for [`PROMPTS`]; inputs of models are in none at all.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// The target of lines that tell what was asked for: `RUST_LOG=info,darkroom_prompts=trace`.
pub const PROMPTS: &str = "darkroom_prompts";

/// What passes if nothing is said.
pub const DEFAULT: &str = "info,temporalio_sdk_core=warn";

/// Logs of all that `RUST_LOG` lets pass. The spans that a line is within, with job and request, are part of it.
pub(crate) fn layer() -> Result<Box<dyn Layer<Registry> + Send + Sync>> {
    let said = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|filter| !filter.is_empty());
    let filter = said.as_deref().unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("RUST_LOG: {filter:?} is no filter; set it like {DEFAULT}"))?;
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
