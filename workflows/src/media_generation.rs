//! The workflow of a job: generate, persist every output at once, finalize. It decides what becomes of a job and keeps
//! its [`JobState`]; whatever touches the world is an activity.
//!
//! - `generating`: getting outputs out of the provider, or stopping it
//! - `persisting`: moving them into the store
//! - `stop`: what ends a job before it is done

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

mod generating;
mod persisting;
mod stop;

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ChildWorkflowCancellationType, ChildWorkflowOptions, ParentClosePolicy, SyncWorkflowContext,
    WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination, common::error::ApplicationFailure,
};

use self::{persisting::Work, stop::Stop};
use crate::{
    contract::{self, Activities},
    failure::JobError,
    job::{JobId, JobState, JobStatus, MediaStatus, PredictionStatus, Stage, timestamp},
    request::JobRequest,
    search_attributes::JOB_STATUS,
    tenant::Tenant,
    webhook_delivery::{self, WebhookDelivery, WebhookDeliveryInput},
};

/// What starts a job. The workflow's id is the job's id.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MediaGenerationInput {
    /// The job.
    pub job_id: JobId,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// What the caller asked for.
    pub request: JobRequest,
    /// What an earlier run left to be done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// A job to take up again.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Retry {
    /// How the job ended.
    pub ended: JobState,
    /// Whether to have the outputs made again, and pay for them again.
    pub regenerate: bool,
}

/// The provider's word that a prediction has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PredictionReport {
    /// The provider's id of the prediction.
    pub prediction_id: String,
    /// How it ended.
    pub status: PredictionStatus,
}

/// One job from request to manifest.
#[workflow]
pub struct MediaGeneration {
    state: JobState,
    /// Whether outputs must be had from the provider first.
    generates: bool,
    /// Whether outputs replace those of an earlier generation.
    replaces: bool,
    /// The provider's last report that nobody has looked at.
    report: Option<PredictionReport>,
}

#[workflow_methods]
impl MediaGeneration {
    #[init]
    fn new(context: &WorkflowContextView, input: MediaGenerationInput) -> Self {
        let now = context.start_time().map(timestamp).unwrap_or_default();
        match input.retry {
            None => Self {
                state: JobState::accepted(input.job_id, input.tenant, input.request, now),
                generates: true,
                replaces: false,
                report: None,
            },
            Some(Retry { ended, regenerate }) => Self {
                generates: regenerate || ended.media.is_empty(),
                replaces: regenerate,
                state: ended.retried(now),
                report: None,
            },
        }
    }

    /// Ends as `Completed` with the final state if anything was stored, `Failed` or `Canceled` with it in the details
    /// otherwise: Temporal's status tells the truth, and the state outlives the workers.
    ///
    /// # Errors
    /// The job failed or was canceled.
    #[run(name = "MediaGeneration")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<JobState> {
        let ending = make(ctx).await;
        let state = finalize(ctx, ending).await;
        match (state.status, &state.error) {
            (JobStatus::Failed, Some(error)) => Err(failed(error.clone(), state)),
            (JobStatus::Canceled, _) => Err(WorkflowTermination::cancelled_with_details(state)),
            _ => Ok(state),
        }
    }

    /// The provider reports that a prediction has ended. It may say so many times, and late.
    #[signal(name = "prediction_reported")]
    pub fn prediction_reported(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        report: PredictionReport,
    ) {
        if report.status.is_terminal() {
            self.report = Some(report);
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

impl From<Stop> for Ending {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Canceled => Self::Canceled,
            Stop::DeadlineExceeded => Self::Failed(stop::deadline_exceeded()),
        }
    }
}

/// Everything up to the manifest.
async fn make(ctx: &WorkflowContext<MediaGeneration>) -> Ending {
    update(ctx, |state| {
        state.status = JobStatus::Processing;
        state.started_at = Some(state.updated_at);
    });
    let mut stopped = std::pin::pin!(stop::stopped(ctx));
    let work = if ctx.state(|workflow| workflow.generates) {
        match generating::generate(ctx, stopped.as_mut()).await {
            Ok(generation) => Work::of(ctx, generation),
            Err(ending) => return ending,
        }
    } else {
        Work::left(ctx)
    };
    persisting::persist_all(ctx, stopped.as_mut(), work).await
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

    let written = ctx
        .execute_local_activity(
            Activities::finalize,
            ended.clone(),
            contract::finalize_options(),
        )
        .await;
    if written.is_err() {
        let options = contract::finalize_later_options();
        // Nothing is left to try after this; the state is in the workflow's result all the same.
        let _ = ctx
            .execute_activity(Activities::finalize, ended.clone(), options)
            .await;
    }

    tell(ctx, &ended).await;
    ctx.upsert_search_attributes([JOB_STATUS.value_set(status.to_string())]);
    update(ctx, |state| {
        state.clone_from(&ended);
        ended
    })
}

/// Has the caller told, if it asked for that, by a workflow that goes on when this one has ended, and however it ended.
async fn tell(ctx: &WorkflowContext<MediaGeneration>, ended: &JobState) {
    let Some(input) = WebhookDeliveryInput::of(ended) else {
        return;
    };
    let options = ChildWorkflowOptions::builder()
        .workflow_id(webhook_delivery::workflow_id(
            &ended.job_id,
            ended.retry_count,
        ))
        .parent_close_policy(ParentClosePolicy::Abandon)
        .cancel_type(ChildWorkflowCancellationType::Abandon)
        .cancellation_token(WorkflowCancellationToken::new())
        .static_summary(format!("{} of {}", input.message.event, ended.job_id))
        .build();
    // It must have started before this workflow ends. If it has before, as after a reset, it is under way.
    let _ = ctx
        .start_child_workflow(WebhookDelivery::run, input, options)
        .await;
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
    let stored = format!(
        "{stage}: {} of {} outputs stored",
        state.count(MediaStatus::Completed),
        state.media.len()
    );
    match state.count(MediaStatus::Failed) {
        0 => stored,
        failed => format!("{stored}, {failed} failed"),
    }
}
