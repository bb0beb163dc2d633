//! Histories of workflows: fetched from a server, and replayed by this build. Open jobs would be
//! stuck on a build that cannot replay their histories.

use anyhow::{Context, Result, anyhow, ensure};
use darkroom_temporal::TemporalConfig;
use darkroom_workflows::MediaGeneration;
use futures::{FutureExt, future::LocalBoxFuture};
use temporalio_client::{Client, WorkflowFetchHistoryOptions, WorkflowHistory};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};

use crate::registration::register_workflows;

/// Fetches the history of a workflow's latest run as JSON, from the server that the environment
/// configures.
///
/// # Errors
/// If Temporal cannot be reached or knows no such workflow.
pub async fn fetch(workflow_id: &str) -> Result<String> {
    fetch_from(&TemporalConfig::from_env()?.connect().await?, workflow_id).await
}

/// Fetches the history of a workflow's latest run as JSON, from the server of `client`.
///
/// # Errors
/// As for [`fetch`].
pub async fn fetch_from(client: &Client, workflow_id: &str) -> Result<String> {
    let handle = client.get_workflow_handle::<MediaGeneration>(workflow_id);
    let fetched = handle
        .fetch_history(WorkflowFetchHistoryOptions::default())
        .to_json()
        .await;
    let history = fetched.with_context(|| format!("cannot read the history of {workflow_id}"))?;
    let pretty: serde_json::Value = serde_json::from_slice(&history)?;
    Ok(format!("{pretty:#}\n"))
}

/// Replays a history that was fetched as JSON.
///
/// # Errors
/// If it is not a history, or the workflow code of this build makes other commands than recorded.
#[must_use]
pub fn replay(json: &[u8]) -> LocalBoxFuture<'_, Result<()>> {
    // Boxed here: a future is compiled where it is polled.
    replay_here(json).boxed_local()
}

async fn replay_here(json: &[u8]) -> Result<()> {
    let value: serde_json::Value = serde_json::from_slice(json).context("is not JSON")?;
    // The SDK's replayer hangs on an empty history.
    ensure!(
        value["events"]
            .as_array()
            .is_some_and(|events| !events.is_empty()),
        "is not a history: it has no events"
    );
    let history = WorkflowHistory::from_json(json).context("is not a history")?;
    let options = register_workflows!(WorkflowReplayerOptions::new());
    WorkflowReplayer::new(options.build())?
        .replay_workflow(history)
        .await
        .map_err(|error| anyhow!("does not replay: {error}"))
}
