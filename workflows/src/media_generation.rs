//! The workflow of a job: have a provider make the outputs, persist each of them, finalize. It decides what becomes of a job and
//! keeps its [`JobState`]; whatever touches the world is an activity.
//!
//! - `generation`: buying a prediction and waiting for its end
//! - `doubt`: a submission whose answer is lost
//! - `stop`: what ends a job before it is done
//! - `persisting`: moving the outputs into the store
//! - `ending`: how a job ends, and what is left of it
//! - `progress`: changing the state, and telling whoever looks at the Temporal UI

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

mod doubt;
mod ending;
mod generation;
mod persisting;
mod progress;
mod stop;

use std::{collections::BTreeMap, pin::pin};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult,
};

use crate::job::{JobState, PredictionId, ProviderState, SubmissionId, timestamp};

/// How many reports and settled submissions are remembered: a job has one of each, and seldom more.
const MAX_REMEMBERED: usize = 32;

/// What starts a job. The workflow's id is the job's id.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MediaGenerationInput {
    /// The job as it was accepted, or as it ended.
    pub job: JobState,
    /// What is to be done.
    pub start: Start,
    /// Whether the provider's reports reach us.
    #[serde(default)]
    pub expects_reports: bool,
}

/// What a run of a job is to do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Nothing was bought: submit.
    New,
    /// A prediction was bought: wait for it, and store what is not stored. Never submits.
    Resume,
    /// A submission is in doubt: look for it. Never submits.
    Settle,
    /// Have the outputs made again, and pay for them again, unless what is in doubt shows up.
    Regenerate,
}

impl MediaGenerationInput {
    /// The state in which a run begins that starts at this time.
    #[must_use]
    pub fn begin(self, at: Timestamp) -> JobState {
        if self.job.status.is_terminal() {
            self.job.retried(at, self.start == Start::Regenerate)
        } else {
            JobState {
                created_at: at,
                updated_at: at,
                ..self.job
            }
        }
    }
}

/// The provider's word that a prediction has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PredictionReport {
    /// Which submission it is of.
    pub submission_id: SubmissionId,
    /// The provider's id of the prediction.
    pub prediction_id: PredictionId,
}

/// What an attempt at `generate` that was declared timed out has to tell of its submission.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SubmissionSettled {
    /// Which submission.
    pub submission_id: SubmissionId,
    /// What came of it.
    pub outcome: SubmissionOutcome,
}

/// What came of a submission.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionOutcome {
    /// The provider took it.
    Bought(ProviderState),
    /// The provider did not take it, or was never sent it.
    NotBought,
}

/// One job from request to manifest.
#[workflow]
pub struct MediaGeneration {
    state: JobState,
    start: Start,
    expects_reports: bool,
    /// The provider's reports that nobody has looked at.
    reports: BTreeMap<PredictionId, PredictionReport>,
    /// What earlier attempts had to tell that nobody has looked at.
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

    /// Ends as `Completed` with the final state if anything was stored, `Failed` or `Canceled` with it in the details
    /// otherwise: Temporal's status tells the truth, and the state outlives the workers.
    ///
    /// # Errors
    /// The job failed or was canceled.
    #[run(name = "MediaGeneration")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<JobState> {
        progress::begin(ctx);
        let mut stop = pin!(stop::requested(ctx));
        let ending = match generation::obtain(ctx, stop.as_mut()).await {
            Ok(made) => persisting::persist_all(ctx, stop.as_mut(), made).await,
            Err(ending) => ending,
        };
        stop::cancel_strays(ctx).await;
        let ended = ending::finalize(ctx, ending).await;
        ending::notify(ctx, &ended).await;
        ending::expire(ctx, &ended).await;
        // While the store was away, an attempt may have told of more.
        stop::cancel_strays(ctx).await;
        ending::close(ctx, ended)
    }

    /// The provider reports that a prediction has ended. It may say so many times, and late.
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

    /// An attempt at `generate` that was declared timed out tells what came of its submission.
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

    /// The job as it stands.
    #[query(name = "state")]
    #[must_use]
    pub fn state(&self, _context: &WorkflowContextView) -> JobState {
        self.state.clone()
    }
}
