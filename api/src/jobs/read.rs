//! Reading the state of a job: from its workflow while it runs, from what the workflow left when it has ended, from the
//! manifest when Temporal has forgotten it. That no worker is there to answer never makes a read fail.

use aws_sdk_s3::error::ProvideErrorMetadata;
use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput,
    activities::PersistProgress,
    failure::{FailureType, JobError},
    job::{JobId, JobState, JobStatus, Stage, timestamp},
};
use futures::StreamExt;
use temporalio_client::{
    Client, QueryRejectCondition, WorkflowDescribeOptions, WorkflowExecutionDescription, WorkflowExecutionStatus,
    WorkflowFetchHistoryOptions, WorkflowGetResultOptions, WorkflowHandle, WorkflowQueryOptions,
    errors::{WorkflowGetResultError, WorkflowInteractionError, WorkflowQueryError},
};
use temporalio_common::{
    data_converters::{SerializationContextData, WorkflowSerializationContext},
    error::IncomingError,
    protos::temporal::api::history::v1::history_event::Attributes,
};

use crate::{
    Context,
    problem::{Kind, Problem},
    temporal,
};

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
        Self { state, stale: false, progress: Vec::new() }
    }
}

/// Reads a job.
pub(super) async fn read(context: &Context, job_id: &JobId) -> Result<Snapshot, Problem> {
    let handle: Handle = context.temporal.client()?.get_workflow_handle(job_id.as_str());
    let options = WorkflowQueryOptions::builder()
        .reject_condition(QueryRejectCondition::NotOpen)
        .rpc_options(temporal::query_options())
        .build();
    match handle.query(MediaGeneration::state, (), options).await {
        // A worker knows the end a moment before Temporal does, and until then a job can be neither retried nor left alone.
        Ok(state) if state.status.is_terminal() => closed(context, &handle, job_id).await.map(Snapshot::fresh),
        Ok(state) if state.stage == Some(Stage::Persisting) => {
            // The bytes of an output are known to its activity alone. A job is no less readable without them.
            let progress = match handle.describe(describe_options()).await {
                Ok(description) => progress(&handle, &description).await,
                Err(_) => Vec::new(),
            };
            Ok(Snapshot { progress, ..Snapshot::fresh(state) })
        }
        Ok(state) => Ok(Snapshot::fresh(state)),
        // A paused workflow is not open to queries either.
        Err(WorkflowQueryError::Rejected { status: Some(WorkflowExecutionStatus::Paused), .. }) => {
            unanswered(context, &handle, job_id).await
        }
        Err(WorkflowQueryError::Rejected { .. }) => closed(context, &handle, job_id).await.map(Snapshot::fresh),
        Err(WorkflowQueryError::NotFound(_)) => manifest(context, job_id).await.map(Snapshot::fresh),
        // No worker, a workflow that has not begun, or one whose tasks fail.
        Err(error) => {
            tracing::debug!(%job_id, %error, "a query was not answered");
            unanswered(context, &handle, job_id).await
        }
    }
}

/// The state of a job whose workflow does not answer.
async fn unanswered(context: &Context, handle: &Handle, job_id: &JobId) -> Result<Snapshot, Problem> {
    let description = match handle.describe(describe_options()).await {
        Ok(description) => description,
        Err(WorkflowInteractionError::NotFound(_)) => return manifest(context, job_id).await.map(Snapshot::fresh),
        Err(error) => return Err(temporal::interaction_problem(error)),
    };
    match description.status() {
        WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused => {
            let progress = progress(handle, &description).await;
            Ok(Snapshot { state: reconstruct(handle, &description).await?, stale: true, progress })
        }
        _ => closed(context, handle, job_id).await.map(Snapshot::fresh),
    }
}

/// What a closed workflow recorded: its result, or the details of its failure or cancellation.
async fn closed(context: &Context, handle: &Handle, job_id: &JobId) -> Result<JobState, Problem> {
    let options = WorkflowGetResultOptions::builder().rpc_options(temporal::rpc_options()).build();
    let recorded = match temporal::closing(handle.get_result(options)).await? {
        Ok(state) => Some(state),
        Err(WorkflowGetResultError::Failed(failure)) => match *failure {
            IncomingError::Application(failure) => failure.details::<JobState>().ok().flatten(),
            _ => None,
        },
        Err(WorkflowGetResultError::Cancelled { details }) => details.deserialize::<JobState>().ok(),
        Err(WorkflowGetResultError::NotFound(_)) => return manifest(context, job_id).await,
        Err(WorkflowGetResultError::Rpc(status)) => return Err(temporal::problem(&status)),
        Err(_) => None,
    };
    match recorded {
        Some(state) => Ok(state),
        None => ended_from_outside(handle).await,
    }
}

/// The state of a job whose workflow was terminated or timed out: it could not record anything itself.
async fn ended_from_outside(handle: &Handle) -> Result<JobState, Problem> {
    let description = handle.describe(describe_options()).await.map_err(temporal::interaction_problem)?;
    let mut state = reconstruct(handle, &description).await?;
    state.status = JobStatus::Failed;
    state.stage = None;
    let how = format!("the workflow ended from outside: {:?}", description.status());
    state.error = Some(JobError::new(FailureType::Internal, how));
    state.completed_at = description.close_time().map(timestamp);
    state.updated_at = state.completed_at.unwrap_or(state.updated_at);
    Ok(state)
}

/// What can be told of a job without its workflow: what was asked, and what it waits for.
async fn reconstruct(handle: &Handle, description: &WorkflowExecutionDescription) -> Result<JobState, Problem> {
    let input = input(handle).await?;
    let created_at = description.start_time().map(timestamp).unwrap_or_default();
    let mut state = match input.retry {
        Some(retry) => retry.ended.retried(created_at),
        None => JobState::accepted(input.job_id, input.tenant, input.request, created_at),
    };
    let waits_for = |name: &str| {
        let pending = &description.raw().pending_activities;
        pending.iter().any(|activity| activity.activity_type.as_ref().is_some_and(|kind| kind.name == name))
    };
    let stage = match () {
        () if waits_for("persist") => Some(Stage::Persisting),
        () if waits_for("generate") => Some(Stage::Generating),
        () if waits_for("finalize") => Some(Stage::Finalizing),
        () => None,
    };
    if let Some(stage) = stage {
        state.status = JobStatus::Processing;
        state.stage = Some(stage);
    }
    Ok(state)
}

/// What the outputs on their way have told with their heartbeats.
async fn progress(handle: &Handle, description: &WorkflowExecutionDescription) -> Vec<PersistProgress> {
    let converter = &handle.client().options().data_converter;
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let mut progress = Vec::new();
    for activity in &description.raw().pending_activities {
        let is_persist = activity.activity_type.as_ref().is_some_and(|kind| kind.name == "persist");
        if let Some(details) = activity.heartbeat_details.clone().filter(|_| is_persist) {
            progress.extend(converter.from_payloads::<PersistProgress>(&context, details.payloads).await.ok());
        }
    }
    progress
}

fn describe_options() -> WorkflowDescribeOptions {
    WorkflowDescribeOptions::builder().rpc_options(temporal::rpc_options()).build()
}

/// What the workflow was started with: the first event of its history.
async fn input(handle: &Handle) -> Result<MediaGenerationInput, Problem> {
    let options = WorkflowFetchHistoryOptions::builder().rpc_options(temporal::rpc_options()).build();
    let first = handle.fetch_history(options).next().await;
    let event = first.ok_or_else(Problem::internal)?.map_err(temporal::interaction_problem)?;
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = event.attributes else {
        return Err(Problem::internal());
    };
    let payloads = started.input.map(|input| input.payloads).unwrap_or_default();
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let converter = &handle.client().options().data_converter;
    converter.from_payloads(&context, payloads).await.map_err(|error| {
        tracing::error!(%error, "cannot read a workflow's input");
        Problem::internal()
    })
}

/// The record of a job that Temporal no longer knows.
pub(super) async fn manifest(context: &Context, job_id: &JobId) -> Result<JobState, Problem> {
    let storage = &context.storage;
    let key = storage.full_key(&job_id.manifest_key());
    let unavailable = || Problem::new(Kind::StorageUnavailable, "the store cannot be read; try again").retry_after(2);
    let object = match storage.client.get_object().bucket(&storage.bucket).key(key).send().await {
        Ok(object) => object,
        Err(error) if error.code() == Some("NoSuchKey") => return Err(Problem::not_found("job")),
        Err(error) => {
            tracing::error!(%job_id, error = %aws_sdk_s3::error::DisplayErrorContext(&error), "cannot read a manifest");
            return Err(unavailable());
        }
    };
    let bytes = object.body.collect().await.map_err(|_| unavailable())?;
    serde_json::from_slice(&bytes.into_bytes()).map_err(|error| {
        tracing::error!(%job_id, %error, "a manifest makes no sense");
        Problem::internal()
    })
}
