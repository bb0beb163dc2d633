//! Waiting for what the worker stands on: it may start before its servers, or while they are away. A store that answers
//! and refuses is another matter: every output would fail, so the worker does not start.

use std::time::Duration;

use anyhow::Result;
use darkroom_config::temporal::TemporalConfig;
use darkroom_storage::bucket::{Storage, StorageCheck};
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

/// Waits until the store lets us in; `None` if told to stop first.
pub(crate) async fn until_store_answers(
    storage: &Storage,
    shutdown: &CancellationToken,
) -> Result<Option<()>> {
    loop {
        match storage.check().await {
            Ok(()) => return Ok(Some(())),
            Err(StorageCheck::Away(error)) => tracing::warn!(error, "waiting for the store"),
            Err(refused @ StorageCheck::Refused { .. }) => return Err(refused.into()),
        }
        if pause(shutdown).await.is_none() {
            return Ok(None);
        }
    }
}

async fn pause(shutdown: &CancellationToken) -> Option<()> {
    tokio::select! {
        () = tokio::time::sleep(INTERVAL) => Some(()),
        () = shutdown.cancelled() => None,
    }
}
