//! Reading the state of a job: from its workflow while it runs, from what the workflow left when it has ended, from the
//! manifest when Temporal has forgotten it. That no worker is there to answer never makes a read fail.

use std::time::Duration;

use darkroom_storage::StorageError;
use darkroom_workflows::{
    MediaGeneration,
    contract::{generate::GenerateRecord, persist::PersistProgress},
    failure::{FailureType, JobError},
    job::{JobId, JobState, JobStatus, MANIFEST_LIMIT, Stage, timestamp},
};
use temporalio_client::{
    Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle,
    errors::{WorkflowInteractionError, WorkflowQueryError},
};

use super::reconstruct::{has_started, pending, reconstruct, recorded};
use crate::{
    context::Context,
    problem::Problem,
    temporal::{self, Ending, history},
};

/// How long the store may take to answer while a caller waits.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(3);

type Handle = WorkflowHandle<Client, MediaGeneration>;

/// A job's state, and whether it may be behind the truth.
pub(super) struct Snapshot {
    pub(super) state: JobState,
    pub(super) stale: bool,
    /// How far outputs that are on their way have come.
    pub(super) progress: Vec<PersistProgress>,
}

impl Snapshot {
    pub(super) fn fresh(state: JobState) -> Self {
        Self {
            state,
            stale: false,
            progress: Vec::new(),
        }
    }
}

/// Reads a job.
pub(super) async fn load(context: &Context, job_id: &JobId) -> Result<Snapshot, Problem> {
    match Box::pin(load_once(context, job_id)).await? {
        Some(snapshot) => Ok(snapshot),
        // It was taken up again just then.
        None => Box::pin(load_once(context, job_id))
            .await?
            .ok_or_else(temporal::away),
    }
}

/// Reads a job, unless it changes from one run to the next meanwhile.
async fn load_once(context: &Context, job_id: &JobId) -> Result<Option<Snapshot>, Problem> {
    let handle: Handle = context
        .temporal
        .client()?
        .get_workflow_handle(job_id.as_str());
    match handle
        .query(MediaGeneration::state, (), temporal::query_options())
        .await
    {
        // A worker knows the end a moment before Temporal does, and until then a job can be neither retried nor left alone.
        Ok(state) if state.status.is_terminal() => closed(context, &handle, job_id).await,
        // The workflow waits for an activity, and what that one does it hears at its end.
        Ok(state) if state.stage == Some(Stage::Queued) => {
            let state = match handle.describe(temporal::describe_options()).await {
                Ok(description) => submitting(&handle, &description, state).await,
                Err(_) => state,
            };
            Ok(Some(Snapshot::fresh(state)))
        }
        Ok(state) if state.stage == Some(Stage::Persisting) => {
            // The bytes of an output are known to its activity alone. A job is no less readable without them.
            let progress = match handle.describe(temporal::describe_options()).await {
                Ok(description) => progress(&handle, &description).await,
                Err(_) => Vec::new(),
            };
            Ok(Some(Snapshot {
                progress,
                ..Snapshot::fresh(state)
            }))
        }
        Ok(state) => Ok(Some(Snapshot::fresh(state))),
        // A paused workflow is not open to queries either.
        Err(WorkflowQueryError::Rejected {
            status: Some(WorkflowExecutionStatus::Paused),
            ..
        }) => Box::pin(unanswered(context, &handle, job_id)).await,
        Err(WorkflowQueryError::Rejected { .. }) => closed(context, &handle, job_id).await,
        Err(WorkflowQueryError::NotFound(_)) => manifest(context, job_id)
            .await
            .map(Snapshot::fresh)
            .map(Some),
        // No worker, a workflow that has not begun, or one whose tasks fail.
        Err(error) => {
            tracing::debug!(%job_id, %error, "a query was not answered");
            Box::pin(unanswered(context, &handle, job_id)).await
        }
    }
}

/// The state of a job whose workflow does not answer.
async fn unanswered(
    context: &Context,
    handle: &Handle,
    job_id: &JobId,
) -> Result<Option<Snapshot>, Problem> {
    let description = match handle.describe(temporal::describe_options()).await {
        Ok(description) => description,
        Err(WorkflowInteractionError::NotFound(_)) => {
            return manifest(context, job_id)
                .await
                .map(Snapshot::fresh)
                .map(Some);
        }
        Err(error) => return Err(temporal::interaction_problem(error)),
    };
    match description.status() {
        WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused => {
            let progress = progress(handle, &description).await;
            Ok(Some(Snapshot {
                state: reconstruct(handle, &description).await?,
                stale: true,
                progress,
            }))
        }
        _ => closed(context, handle, job_id).await,
    }
}

/// What a closed workflow recorded: its result, or the details of its failure or cancellation.
/// `None` if it is not closed after all.
async fn closed(
    context: &Context,
    handle: &Handle,
    job_id: &JobId,
) -> Result<Option<Snapshot>, Problem> {
    let state = match temporal::ending(handle.get_result(temporal::result_options())).await? {
        Ending::Recorded(state) => state,
        Ending::Unrecorded => ended_from_outside(handle).await?,
        Ending::Forgotten => manifest(context, job_id).await?,
        Ending::Open => return Ok(None),
    };
    Ok(Some(Snapshot::fresh(state)))
}

/// The state of a job whose workflow was terminated or timed out: it could not record anything itself.
async fn ended_from_outside(handle: &Handle) -> Result<JobState, Problem> {
    let description = handle
        .describe(temporal::describe_options())
        .await
        .map_err(temporal::interaction_problem)?;
    let mut state = reconstruct(handle, &description).await?;
    state.status = JobStatus::Failed;
    state.stage = None;
    let how = format!(
        "the workflow ended from outside: {:?}",
        description.status()
    );
    state.error = Some(JobError::new(FailureType::Internal, how));
    state.completed_at = description.close_time().map(timestamp);
    state.updated_at = state.completed_at.unwrap_or(state.updated_at);
    Ok(state)
}

/// The state of a job that is queued, unless an attempt at `generate` has begun by now.
async fn submitting(
    handle: &Handle,
    description: &WorkflowExecutionDescription,
    mut state: JobState,
) -> JobState {
    let Some(generate) = pending(description, "generate").filter(|generate| has_started(generate))
    else {
        return state;
    };
    state.status = JobStatus::Processing;
    state.stage = Some(Stage::Generating);
    if let Some(GenerateRecord::Submitted(provider)) = recorded(handle.client(), generate).await {
        state.bought(provider);
    }
    state
}

/// What the outputs on their way have told with their heartbeats.
async fn progress(
    handle: &Handle,
    description: &WorkflowExecutionDescription,
) -> Vec<PersistProgress> {
    let mut progress = Vec::new();
    for activity in &description.raw().pending_activities {
        let is_persist = activity
            .activity_type
            .as_ref()
            .is_some_and(|kind| kind.name == "persist");
        if let Some(details) = activity.heartbeat_details.clone().filter(|_| is_persist) {
            progress.extend(
                history::read::<PersistProgress>(handle.client(), Some(details))
                    .await
                    .ok(),
            );
        }
    }
    progress
}

/// The record of a job that Temporal no longer knows.
pub(super) async fn manifest(context: &Context, job_id: &JobId) -> Result<JobState, Problem> {
    let key = job_id.manifest_key();
    let read = context.storage.read(&key, MANIFEST_LIMIT);
    let bytes = match tokio::time::timeout(MANIFEST_TIMEOUT, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(StorageError::NotFound)) => return Err(Problem::not_found("job")),
        Ok(Err(error)) => {
            tracing::error!(%job_id, %error, "cannot read a manifest");
            return Err(Problem::storage_unavailable());
        }
        Err(_) => return Err(Problem::storage_unavailable()),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        tracing::error!(%job_id, %error, "a manifest makes no sense");
        Problem::internal()
    })
}
