//! The workflow of a job: it has a provider make the outputs, persists each of them and finalizes
//! the job. It decides the outcome of a job and keeps its [`JobState`]; everything with side
//! effects is an activity.
//!
//! - `generation`: buys a prediction and waits for its end
//! - `doubt`: settles a submission in doubt
//! - `stop`: ends a job early, by cancellation or deadline; `cancellation`: cancels predictions
//! - `persisting`: moves the outputs into the store
//! - `ending`: finalizes a job, starts its webhook and expiry, closes the workflow
//! - `progress`: changes the state and shows it in the Temporal UI

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

mod cancellation;
mod doubt;
mod ending;
mod generation;
mod persisting;
mod progress;
mod stop;

use std::{collections::BTreeMap, pin::pin};

use futures::future::FusedFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult,
};

use crate::job::{JobState, PredictionId, ProviderName, ProviderState, SubmissionId, timestamp};

/// The only provider.
const PROVIDER: ProviderName = ProviderName::Replicate;

/// Limit of reports and settled submissions that are kept: a job has one of each, and seldom more.
const MAX_REMEMBERED: usize = 32;

/// Input of the workflow. The workflow id is the job id.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MediaGenerationInput {
    /// The job as it was accepted or, for a retry, as it ended.
    pub job: JobState,
    /// Task of this run.
    pub start: Start,
    /// True if the provider's reports reach us.
    #[serde(default)]
    pub expects_reports: bool,
}

/// Task of a run of a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Submission, as nothing was bought, unless one in doubt shows up.
    New,
    /// Wait for the end of a prediction that was bought, and storage of what is not stored. Never
    /// submits.
    Resume,
    /// Search for a submission in doubt. Never submits.
    Settle,
    /// Submission that makes and pays for the outputs again, unless one in doubt shows up.
    Regenerate,
}

impl MediaGenerationInput {
    /// Returns the initial state of a run that starts at this time.
    #[must_use]
    pub fn begin(self, at: Timestamp) -> JobState {
        if self.job.status.is_terminal() {
            self.job.for_retry(at, self.start == Start::Regenerate)
        } else {
            JobState {
                created_at: at,
                updated_at: at,
                ..self.job
            }
        }
    }
}

/// Report of the provider that a prediction has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PredictionReport {
    /// Submission that the report is of.
    pub submission_id: SubmissionId,
    /// The provider's id of the prediction.
    pub prediction_id: PredictionId,
}

/// Outcome of a submission, sent by an attempt at `generate` that was declared timed out.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SubmissionSettled {
    /// The submission.
    pub submission_id: SubmissionId,
    /// Outcome of the submission.
    pub outcome: SubmissionOutcome,
}

/// Outcome of a submission.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionOutcome {
    /// Submission that the provider accepted.
    Bought(ProviderState),
    /// Submission that the provider did not accept, or that was never sent.
    NotBought,
}

/// One job, from request to manifest.
#[workflow]
pub struct MediaGeneration {
    state: JobState,
    start: Start,
    expects_reports: bool,
    /// Reports of the provider that are not processed yet.
    reports: BTreeMap<PredictionId, PredictionReport>,
    /// Outcomes that earlier attempts sent and that are not processed yet.
    settled: Vec<SubmissionSettled>,
}

#[workflow_methods]
impl MediaGeneration {
    #[init]
    fn new(context: &WorkflowContextView, input: MediaGenerationInput) -> Self {
        let now = context.start_time().map(timestamp).unwrap_or_default();
        Self {
            start: input.start,
            expects_reports: input.expects_reports,
            state: input.begin(now),
            reports: BTreeMap::new(),
            settled: Vec::new(),
        }
    }

    /// Closes as `Completed` with the final state if the job is completed or partial, otherwise as
    /// `Failed` or `Canceled` with the state in the details. Temporal's own status is therefore
    /// correct, and the state outlives the workers.
    ///
    /// # Errors
    /// If the job failed or was canceled.
    #[run(name = "MediaGeneration")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<JobState> {
        progress::begin(ctx);
        if ctx.workflow_id() != ctx.state(|workflow| workflow.state.job_id.to_string()) {
            return Err(ending::of_another_job(ctx));
        }
        let mut stop = pin!(stop::requested(ctx));
        let mut made = generation::obtain(ctx, stop.as_mut()).await;
        let ended = loop {
            let ending = match made {
                Ok(made) => persisting::persist_all(ctx, stop.as_mut(), made).await,
                Err(ending) => ending,
            };
            cancellation::cancel_all_orphaned(ctx).await;
            let ended = ending::finalize(ctx, ending).await;
            // While the store was down, the submission in doubt may have shown up.
            match doubt::bought_since(ctx, ended.unsettled_doubt()) {
                Some(state) => {
                    // A stop that has ended the job would not be seen again.
                    if stop.is_terminated() {
                        stop.set(stop::requested(ctx));
                    }
                    made = generation::resume(ctx, stop.as_mut(), state).await;
                }
                None => break ended,
            }
        };
        ending::notify(ctx, &ended).await;
        ending::expire(ctx, &ended).await;
        // While the store was down, an earlier attempt may have reported another purchase.
        cancellation::cancel_all_orphaned(ctx).await;
        ending::close(ctx, ended)
    }

    /// Signal: the provider reports that a prediction has ended. Reports may be repeated, and late.
    #[signal(name = "prediction_reported")]
    pub fn prediction_reported(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        report: PredictionReport,
    ) {
        if self.reports.len() < MAX_REMEMBERED {
            self.reports.insert(report.prediction_id.clone(), report);
        }
    }

    /// Signal: an attempt at `generate` that was declared timed out sends the outcome of its
    /// submission.
    #[signal(name = "submission_settled")]
    pub fn submission_settled(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        settled: SubmissionSettled,
    ) {
        if !self.settled.contains(&settled) && self.settled.len() < MAX_REMEMBERED {
            self.settled.push(settled);
        }
    }

    /// Query: returns the current state of the job.
    #[query(name = "state")]
    #[must_use]
    pub fn state(&self, _context: &WorkflowContextView) -> JobState {
        self.state.clone()
    }
}
