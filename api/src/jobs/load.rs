//! Reading the state of a job: from its workflow while it runs, from what the workflow left when it has ended, from the
//! manifest when Temporal has forgotten it. That no worker is there to answer never makes a read fail.

use std::time::Duration;

use darkroom_storage::StorageError;
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
    temporal::{self, Ending},
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
    /// What the workflow said: the state but for what its activities alone know, and when it said so.
    pub(super) recorded: Option<Recorded>,
}

/// A state that a workflow told, which is true for as long as its history does not grow.
#[derive(Clone)]
pub(super) struct Recorded {
    state: JobState,
    place: Place,
}

impl Recorded {
    pub(crate) fn run_id(&self) -> &str {
        &self.place.run_id
    }

    /// How many events the history had at least when the state was told.
    pub(crate) fn history_length(&self) -> i64 {
        i64::try_from(self.place.history_length).unwrap_or(i64::MAX)
    }
}

/// A place in the history of a workflow.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    run_id: String,
    history_length: usize,
    status: WorkflowExecutionStatus,
}

impl Place {
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

    /// What a workflow told, when it was at this place or further.
    fn told(state: JobState, place: Place) -> Self {
        let recorded = Some(Recorded {
            state: state.clone(),
            place,
        });
        Self {
            recorded,
            ..Self::fresh(state)
        }
    }
}

/// Reads a job of which this was known.
///
/// A description is asked of the server alone; a query costs a worker's time, and money: it is made if the history has grown.
pub(super) async fn load(
    context: &Context,
    job_id: &JobId,
    known: Option<&Recorded>,
) -> Result<Snapshot, Problem> {
    match Box::pin(load_once(context, job_id, known)).await? {
        Some(snapshot) => Ok(snapshot),
        // It was taken up again just then.
        None => Box::pin(load_once(context, job_id, None))
            .await?
            .ok_or_else(temporal::away),
    }
}

/// Reads a job, unless it changes from one run to the next meanwhile.
async fn load_once(
    context: &Context,
    job_id: &JobId,
    known: Option<&Recorded>,
) -> Result<Option<Snapshot>, Problem> {
    let handle: Handle = context
        .temporal
        .client()?
        .get_workflow_handle(job_id.as_str());
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
    let place = Place::of(&description);
    let known = known.filter(|known| known.place == place);
    let snapshot = match description.status() {
        _ if let Some(known) = known => Snapshot::told(known.state.clone(), place),
        WorkflowExecutionStatus::Running => {
            let options = temporal::query_options();
            match handle.query(MediaGeneration::state, (), options).await {
                // A worker knows the end a moment before Temporal does, and until then a job can be neither retried nor left alone.
                Ok(state) if state.status.is_terminal() => {
                    return closed(context, &handle, job_id).await;
                }
                Ok(state) => Snapshot::told(state, place),
                Err(WorkflowQueryError::Rejected { .. }) => {
                    return closed(context, &handle, job_id).await;
                }
                // No worker, a workflow that has not begun, or one whose tasks fail.
                Err(error) => {
                    tracing::debug!(%job_id, %error, "a query was not answered");
                    return unanswered(&handle, &description).await.map(Some);
                }
            }
        }
        // A paused workflow is not open to queries.
        WorkflowExecutionStatus::Paused => {
            return unanswered(&handle, &description).await.map(Some);
        }
        _ => {
            let closed = closed(context, &handle, job_id).await?;
            return Ok(closed.map(|snapshot| Snapshot::told(snapshot.state, place)));
        }
    };
    Ok(Some(with_activities(&handle, &description, snapshot).await))
}

/// A state with what the workflow hears of at the end of its activities only: an attempt that submits, bytes on their way.
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

/// The state of a job whose workflow does not answer.
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
    let mut generate = pending_activities(description, "generate");
    let Some(generate) = generate.find(PendingActivity::has_started) else {
        return state;
    };
    state.status = JobStatus::Processing;
    state.stage = Some(Stage::Generating);
    if let Some(GenerateRecord::Submitted(provider)) = recorded(handle.client(), &generate).await {
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
    for persist in pending_activities(description, "persist") {
        if let Some(details) = persist.heartbeat_details() {
            let details = details.decode::<PersistProgress>(handle.client());
            progress.extend(details.await.ok());
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
