//! The workflow of a job: generate, persist every output at once, finalize. It decides what becomes of a job and keeps
//! its [`JobState`]; whatever touches the world is an activity.
#![expect(missing_docs, reason = "the macros make constants that cannot carry documentation")]

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ActivityExecutionError, WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination,
    common::error::ApplicationFailure, join_all,
};

use crate::{
    activities::{self, Activities, CanceledGeneration, GenerateInput, GenerateOutcome, Generation, PersistInput},
    failure::{FailureType, JobError, read_activity_failure},
    job::{
        JobId, JobState, JobStatus, Media, MediaOutcome, MediaStatus, PredictionStatus, ProviderState, Stage, timestamp,
    },
    request::JobRequest,
    search_attributes::JOB_STATUS,
};

/// What starts a job. The workflow's id is the job's id.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MediaGenerationInput {
    /// The job.
    pub job_id: JobId,
    /// What the caller asked for.
    pub request: JobRequest,
}

/// One job from request to manifest.
#[workflow]
pub struct MediaGeneration {
    state: JobState,
}

#[workflow_methods]
impl MediaGeneration {
    #[init]
    fn new(context: &WorkflowContextView, input: MediaGenerationInput) -> Self {
        let created_at = context.start_time().map(timestamp).unwrap_or_default();
        Self { state: JobState::accepted(input.job_id, input.request, created_at) }
    }

    /// Ends as `Completed` with the final state if anything was stored, `Failed` or `Canceled` with it in the details
    /// otherwise: Temporal's status tells the truth, and the state outlives the workers.
    ///
    /// # Errors
    /// The job failed or was canceled.
    #[run(name = "MediaGeneration")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<JobState> {
        let ending = match generate(ctx).await {
            Ok(generation) => {
                persist_all(ctx, generation).await;
                ctx.state(|workflow| judge(&workflow.state.media))
            }
            Err(ending) => ending,
        };
        let state = finalize(ctx, ending).await;
        match (state.status, &state.error) {
            (JobStatus::Failed, Some(error)) => Err(failed(error.clone(), state)),
            (JobStatus::Canceled, _) => Err(WorkflowTermination::cancelled_with_details(state)),
            _ => Ok(state),
        }
    }

    /// The job as it stands.
    #[query(name = "state")]
    #[must_use]
    pub fn state(&self, _context: &WorkflowContextView) -> JobState {
        self.state.clone()
    }
}

/// How a job ends.
enum Ending {
    Completed,
    Partial(JobError),
    Failed(JobError),
    Canceled,
}

impl Ending {
    fn into_status(self) -> (JobStatus, Option<JobError>) {
        match self {
            Self::Completed => (JobStatus::Completed, None),
            Self::Partial(error) => (JobStatus::Partial, Some(error)),
            Self::Failed(error) => (JobStatus::Failed, Some(error)),
            Self::Canceled => (JobStatus::Canceled, None),
        }
    }
}

async fn generate(ctx: &WorkflowContext<MediaGeneration>) -> Result<Generation, Ending> {
    let input = update(ctx, |state| {
        state.status = JobStatus::Processing;
        state.stage = Some(Stage::Generating);
        state.started_at = Some(state.updated_at);
        GenerateInput { job_id: state.job_id.clone(), request: state.request.clone() }
    });
    let options = activities::generate_options(&input.request);
    match ctx.execute_activity(Activities::generate, input, options).await {
        Ok(GenerateOutcome::Generated(generation)) => Ok(generation),
        Ok(GenerateOutcome::Canceled(canceled)) => {
            let CanceledGeneration { provider, prediction_id, status, cancel_outcome } = canceled;
            update(ctx, |state| {
                let provider = ProviderState::new(provider, prediction_id, status);
                state.provider = Some(ProviderState { cancel_outcome: Some(cancel_outcome), ..provider });
            });
            Err(Ending::Canceled)
        }
        Err(ActivityExecutionError::Cancelled(_)) => Err(Ending::Canceled),
        Err(failure) => Err(Ending::Failed(read_activity_failure(&failure).0)),
    }
}

/// Persists all outputs at the same time and returns when each has settled: a failure never takes the others with it.
async fn persist_all(ctx: &WorkflowContext<MediaGeneration>, generation: Generation) {
    let Generation { provider, prediction_id, outputs, expires_at, metrics } = generation;
    let count = outputs.len();
    let inputs = update(ctx, |state| {
        state.stage = Some(Stage::Persisting);
        let (job_id, id) = (&state.job_id, &prediction_id);
        let inputs: Vec<PersistInput> = (0..)
            .zip(outputs)
            .map(|(index, source)| PersistInput { job_id: job_id.clone(), prediction_id: id.clone(), index, source })
            .collect();
        let provider = ProviderState::new(provider, prediction_id, PredictionStatus::Succeeded);
        state.provider = Some(ProviderState { expires_at, metrics, ..provider });
        state.media = inputs.iter().map(|input| Media { index: input.index, outcome: MediaOutcome::Pending }).collect();
        inputs
    });
    join_all(inputs.into_iter().enumerate().map(|(position, input)| async move {
        let now = ctx.workflow_time().map(timestamp);
        let options = activities::persist_options(&input, count, now, expires_at);
        let result = ctx.execute_activity(Activities::persist, input, options).await;
        let outcome = match result {
            Ok(stored) => MediaOutcome::Completed(stored),
            Err(ActivityExecutionError::Cancelled(_)) => MediaOutcome::Canceled,
            Err(failure) => {
                let (error, attempts) = read_activity_failure(&failure);
                MediaOutcome::Failed { error, attempts }
            }
        };
        update(ctx, |state| state.media[position].outcome = outcome);
    }))
    .await;
}

fn judge(media: &[Media]) -> Ending {
    let count = |status| media.iter().filter(|media| media.status() == status).count();
    let failed = count(MediaStatus::Failed);
    if count(MediaStatus::Canceled) > 0 {
        return Ending::Canceled;
    }
    if failed == 0 {
        return Ending::Completed;
    }
    let first = media.iter().find_map(|media| match &media.outcome {
        MediaOutcome::Failed { error, .. } => Some(format!("output {}: {}: {}", media.index, error.kind, error.detail)),
        _ => None,
    });
    let detail = format!("{failed} of {} outputs could not be stored; {}", media.len(), first.unwrap_or_default());
    let error = JobError::new(FailureType::OutputsFailed, detail);
    if failed == media.len() { Ending::Failed(error) } else { Ending::Partial(error) }
}

/// Records the manifest, then the ending: while the manifest is not written, the job has not ended. A store that stays
/// away delays the ending for days, but never prevents it.
async fn finalize(ctx: &WorkflowContext<MediaGeneration>, ending: Ending) -> JobState {
    update(ctx, |state| state.stage = Some(Stage::Finalizing));
    let (status, error) = ending.into_status();
    let mut ended = ctx.state(|workflow| workflow.state.clone());
    ended.status = status;
    ended.error = error;
    ended.stage = None;
    ended.completed_at = Some(ended.updated_at);

    let written = ctx.execute_local_activity(Activities::finalize, ended.clone(), activities::finalize_options()).await;
    if written.is_err() {
        let options = activities::finalize_later_options();
        // Nothing is left to try after this; the state is in the workflow's result all the same.
        let _ = ctx.execute_activity(Activities::finalize, ended.clone(), options).await;
    }

    ctx.upsert_search_attributes([JOB_STATUS.value_set(status.to_string())]);
    update(ctx, |state| {
        state.clone_from(&ended);
        ended
    })
}

fn failed(error: JobError, state: JobState) -> WorkflowTermination {
    let failure = ApplicationFailure::builder(error.detail)
        .type_name(error.kind.to_string())
        .non_retryable(true)
        .details(state)
        .build();
    WorkflowTermination::failed_application(failure)
}

/// Changes the state, notes when, and tells whoever looks at the Temporal UI.
fn update<R>(ctx: &WorkflowContext<MediaGeneration>, change: impl FnOnce(&mut JobState) -> R) -> R {
    let now = ctx.workflow_time().map(timestamp);
    let (result, details) = ctx.state_mut(|workflow| {
        let state = &mut workflow.state;
        state.updated_at = now.unwrap_or(state.updated_at);
        let result = change(state);
        (result, describe(state))
    });
    ctx.set_current_details(details);
    result
}

fn describe(state: &JobState) -> String {
    let stage = match state.stage {
        Some(Stage::Queued) => "waiting for a worker".to_owned(),
        Some(Stage::Generating) => format!("**generating** with `{}`", state.request.model),
        Some(Stage::Persisting) => "**persisting**".to_owned(),
        Some(Stage::Finalizing) => "**writing the manifest**".to_owned(),
        None => format!("**{}**", state.status),
    };
    if state.media.is_empty() {
        return stage;
    }
    let stored = format!("{stage}: {} of {} outputs stored", state.count(MediaStatus::Completed), state.media.len());
    match state.count(MediaStatus::Failed) {
        0 => stored,
        failed => format!("{stored}, {failed} failed"),
    }
}
