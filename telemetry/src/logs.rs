//! Logs: structured, to standard error; JSON unless a person looks on. `RUST_LOG` filters. Prompts are in none of them unless it
//! asks for [`PROMPTS`]; inputs of models are in none at all.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// The target of lines that tell what was asked for: `RUST_LOG=info,darkroom_prompts=trace`.
pub const PROMPTS: &str = "darkroom_prompts";

/// Logs of all that `RUST_LOG` lets pass. The spans that a line is within, with job and request, are part of it.
pub(crate) fn layer() -> Box<dyn Layer<Registry> + Send + Sync> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,temporalio_sdk_core=warn"));
    if std::io::stderr().is_terminal() {
        fmt::layer().with_writer(std::io::stderr).with_filter(filter).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        json.with_writer(std::io::stderr).with_filter(filter).boxed()
    }
}
