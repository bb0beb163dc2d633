//! Waiting for Temporal: a worker may start before its servers, or while they are away.

use std::time::Duration;

use darkroom_config::temporal::TemporalConfig;
use temporalio_client::Client;
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(1);

/// Tries until it succeeds; `None` if told to stop first.
pub(crate) async fn until_connected(
    temporal: &TemporalConfig,
    shutdown: &CancellationToken,
) -> Option<Client> {
    loop {
        match temporal.connect().await {
            Ok(client) => return Some(client),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "waiting for Temporal"),
        }
        pause(shutdown).await?;
    }
}

async fn pause(shutdown: &CancellationToken) -> Option<()> {
    tokio::select! {
        () = tokio::time::sleep(INTERVAL) => Some(()),
        () = shutdown.cancelled() => None,
    }
}
