//! Reads of the state of a job: by a query while its workflow runs, from the result of the workflow
//! after it has closed, from the manifest beyond Temporal's retention. A missing worker never makes
//! a read fail.

use darkroom_temporal::runs::{PendingActivity, pending_activities};
use darkroom_workflows::{
    MediaGeneration,
    contract::{generate::GenerateRecord, persist::PersistProgress},
    failure::{FailureType, JobError},
    job::{JobId, JobState, JobStatus, MANIFEST_LIMIT, Stage, timestamp},
};
use temporalio_client::{
    Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle,
    errors::WorkflowQueryError,
};

use super::reconstruct::{reconstruct, recorded};
use crate::{
    context::Context,
    problem::{Kind, Problem},
    store,
    temporal::{self, Ending},
};

type Handle = WorkflowHandle<Client, MediaGeneration>;

/// State of a job, and whether it may be stale.
pub(super) struct Snapshot {
    pub(super) state: JobState,
    pub(super) stale: bool,
    /// Progress of the outputs that are being stored.
    pub(super) progress: Vec<PersistProgress>,
    /// State as the workflow returned it, without what only its activities know.
    pub(super) recorded: Option<Recorded>,
}

/// State that a workflow returned. It is valid for as long as the history does not grow.
#[derive(Clone)]
pub(super) struct Recorded {
    state: JobState,
    position: HistoryPosition,
}

impl Recorded {
    pub(crate) fn run_id(&self) -> &str {
        &self.position.run_id
    }

    /// Returns a lower bound of the length of the history at the time of the state.
    pub(crate) fn history_length(&self) -> i64 {
        i64::try_from(self.position.history_length).unwrap_or(i64::MAX)
    }
}

/// Position in the history of a workflow.
#[derive(Clone, Debug, Eq, PartialEq)]
struct HistoryPosition {
    run_id: String,
    history_length: usize,
    status: WorkflowExecutionStatus,
}

impl HistoryPosition {
    fn of(description: &WorkflowExecutionDescription) -> Self {
        Self {
            run_id: description.run_id().to_owned(),
            history_length: description.history_length(),
            status: description.status(),
        }
    }
}

impl Snapshot {
    pub(super) fn fresh(state: JobState) -> Self {
        Self {
            state,
            stale: false,
            progress: Vec::new(),
            recorded: None,
        }
    }

    /// Creates the snapshot of a state that the workflow returned at this position, or later.
    fn answered(state: JobState, position: HistoryPosition) -> Self {
        let recorded = Some(Recorded {
            state: state.clone(),
            position,
        });
        Self {
            recorded,
            ..Self::fresh(state)
        }
    }
}

/// Reads a job, given what was known of it.
///
/// A description is served by the Temporal server alone. A query costs a worker's time, and money,
/// so it is made only if the history has grown.
pub(super) async fn load(
    context: &Context,
    job_id: &JobId,
    known: Option<&Recorded>,
) -> Result<Snapshot, Problem> {
    match Box::pin(load_once(context, job_id, known)).await? {
        Some(snapshot) => Ok(snapshot),
        // The job was retried in between.
        None => Box::pin(load_once(context, job_id, None))
            .await?
            .ok_or_else(temporal::unavailable),
    }
}

/// Reads a job; `None` if one of its runs closes and another starts meanwhile.
async fn load_once(
    context: &Context,
    job_id: &JobId,
    known: Option<&Recorded>,
) -> Result<Option<Snapshot>, Problem> {
    let handle: Handle = context
        .temporal
        .client()?
        .get_workflow_handle(job_id.to_string());
    let description = match handle.describe(temporal::describe_options()).await {
        Ok(description) => description,
        Err(error) => {
            let problem = temporal::interaction_problem(error);
            if problem.kind() != Kind::NotFound {
                return Err(problem);
            }
            let state = manifest(context, job_id).await?;
            return Ok(Some(Snapshot::fresh(state)));
        }
    };
    let position = HistoryPosition::of(&description);
    let known = known.filter(|known| known.position == position);
    let snapshot = match description.status() {
        _ if let Some(known) = known => Snapshot::answered(known.state.clone(), position),
        WorkflowExecutionStatus::Running => {
            let options = temporal::query_options();
            match handle.query(MediaGeneration::state, (), options).await {
                // A worker knows of the end a moment before Temporal does. Until then, the job can
                // be neither retried nor treated as closed.
                Ok(state) if state.status.is_terminal() => {
                    return closed(context, &handle, job_id).await;
                }
                Ok(state) => Snapshot::answered(state, position),
                Err(WorkflowQueryError::Rejected { .. }) => {
                    return closed(context, &handle, job_id).await;
                }
                // No worker, a workflow that has not started, or one whose workflow tasks fail.
                Err(error) => {
                    tracing::debug!(%job_id, %error, "a job did not answer a query");
                    return unanswered(&handle, &description).await.map(Some);
                }
            }
        }
        // A paused workflow does not answer queries.
        WorkflowExecutionStatus::Paused => {
            return unanswered(&handle, &description).await.map(Some);
        }
        _ => {
            let closed = closed(context, &handle, job_id).await?;
            return Ok(closed.map(|snapshot| Snapshot::answered(snapshot.state, position)));
        }
    };
    Ok(Some(with_activities(&handle, &description, snapshot).await))
}

/// Adds what the workflow learns only when its activities end: an attempt that is submitting, the
/// progress of outputs.
async fn with_activities(
    handle: &Handle,
    description: &WorkflowExecutionDescription,
    mut snapshot: Snapshot,
) -> Snapshot {
    match snapshot.state.stage {
        Some(Stage::Queued) => {
            snapshot.state = submitting(handle, description, snapshot.state).await;
        }
        Some(Stage::Persisting) => snapshot.progress = progress(handle, description).await,
        Some(Stage::Generating | Stage::Reconciling | Stage::Finalizing) | None => {}
    }
    snapshot
}

/// Returns the state of a job whose workflow does not answer, reconstructed from its history.
async fn unanswered(
    handle: &Handle,
    description: &WorkflowExecutionDescription,
) -> Result<Snapshot, Problem> {
    let progress = progress(handle, description).await;
    Ok(Snapshot {
        state: reconstruct(handle, description).await?,
        stale: true,
        progress,
        recorded: None,
    })
}

/// Returns what a closed workflow recorded: its result, or the details of its failure or
/// cancellation. `None` if it is not closed after all.
async fn closed(
    context: &Context,
    handle: &Handle,
    job_id: &JobId,
) -> Result<Option<Snapshot>, Problem> {
    let state = match temporal::ending(handle.get_result(temporal::result_options())).await? {
        Ending::Recorded(state) => state,
        Ending::Terminated => ended_from_outside(handle).await?,
        Ending::Unknown => manifest(context, job_id).await?,
        Ending::Open => return Ok(None),
    };
    Ok(Some(Snapshot::fresh(state)))
}

/// Returns the state of a job whose workflow was terminated or timed out, and so could not record
/// it.
async fn ended_from_outside(handle: &Handle) -> Result<JobState, Problem> {
    let description = handle
        .describe(temporal::describe_options())
        .await
        .map_err(temporal::interaction_problem)?;
    let mut state = reconstruct(handle, &description).await?;
    state.status = JobStatus::Failed;
    state.stage = None;
    let how = format!(
        "the workflow was terminated or timed out: {:?}",
        description.status()
    );
    state.error = Some(JobError::new(FailureType::Internal, how));
    state.completed_at = description.close_time().map(timestamp);
    state.updated_at = state.completed_at.unwrap_or(state.updated_at);
    Ok(state)
}

/// Returns the state of a queued job, updated if an attempt of `generate` has started.
async fn submitting(
    handle: &Handle,
    description: &WorkflowExecutionDescription,
    mut state: JobState,
) -> JobState {
    let mut generate = pending_activities(description, "generate");
    let Some(generate) = generate.find(PendingActivity::has_started) else {
        return state;
    };
    state.status = JobStatus::Processing;
    state.stage = Some(Stage::Generating);
    if let Some(GenerateRecord::Submitted(provider)) = recorded(handle.client(), &generate).await {
        state.record_purchase(provider);
    }
    state
}

/// Returns the progress that the heartbeats of `persist` activities report.
async fn progress(
    handle: &Handle,
    description: &WorkflowExecutionDescription,
) -> Vec<PersistProgress> {
    let mut progress = Vec::new();
    for persist in pending_activities(description, "persist") {
        if let Some(details) = persist.heartbeat_details() {
            let details = details.decode::<PersistProgress>(handle.client());
            progress.extend(details.await.ok());
        }
    }
    progress
}

/// Returns the manifest of a job beyond Temporal's retention.
///
/// # Errors
/// If there is none, or the store cannot be read.
pub(super) async fn manifest(context: &Context, job_id: &JobId) -> Result<JobState, Problem> {
    let key = job_id.manifest_key();
    let read = context.storage.read(&key, MANIFEST_LIMIT);
    let bytes = store::answer(&key, read).await?;
    let bytes = bytes.ok_or_else(|| Problem::not_found("job"))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        tracing::error!(%job_id, %error, "a manifest cannot be parsed");
        Problem::internal()
    })
}
