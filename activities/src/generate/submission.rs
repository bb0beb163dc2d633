//! The paid call and the record around it, in this order: `Submitting` is acknowledged, the request
//! is sent, its outcome is acknowledged. An attempt that was declared timed out meanwhile signals
//! the outcome to the workflow.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use darkroom_providers::{
    Provider, ProviderError,
    provider::{Gate, GateClosed, Submission, SubmitError},
};
use darkroom_storage::Storage;
use darkroom_temporal::recorder::{Answer, Recorder, Superseded};
use darkroom_workflows::{
    MediaGeneration,
    contract::generate::{GenerateInput, GenerateOutcome, GenerateRecord},
    job::{Doubt, DoubtCause, IfNotFound, Prediction, PredictionRef, SubmissionId, timestamp},
    media_generation::{SubmissionOutcome, SubmissionSettled},
};
use jiff::{SignedDuration, Timestamp};
use temporalio_client::{WorkflowSignalOptions, errors::WorkflowInteractionError};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;
use uuid::Uuid;

use super::{GenerationPolicy, boot_time::BootTime, cancel};
use crate::{failure::Failure, manifest, metrics};

/// Maximum age of the acknowledgement when the request is sent.
const MAX_ACK_AGE: Duration = Duration::from_secs(2);

/// Time that the provider may work beyond the job's deadline. The workflow cancels at the deadline;
/// this limit of the provider's own is for when no worker can.
const CANCEL_MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// Time for which an attempt that was declared timed out tries to signal the workflow.
const SIGNAL_TIMEOUT: Duration = Duration::from_mins(10);

/// Interval between two tries.
const SIGNAL_INTERVAL: Duration = Duration::from_secs(1);

/// Purchase of a prediction.
pub(super) struct Purchase<'a> {
    pub(super) provider: &'a dyn Provider,
    pub(super) storage: &'a Storage,
    pub(super) policy: GenerationPolicy,
    pub(super) recorder: Arc<Recorder>,
    pub(super) ctx: &'a ActivityContext,
    pub(super) input: &'a GenerateInput,
}

impl Purchase<'_> {
    /// Submits once.
    ///
    /// # Errors
    /// If it yields no prediction: the outcome, a refusal or a doubt.
    pub(super) async fn submit(&self) -> Result<Prediction, GenerateOutcome> {
        let submission_id = SubmissionId::from(Uuid::now_v7().into_bytes());
        let gate = Arc::new(RecordGate {
            recorder: Arc::clone(&self.recorder),
            submission_id: submission_id.clone(),
            clock_skew_ms: self
                .provider
                .clock_skew()
                .and_then(|skew| i64::try_from(skew.as_millis()).ok()),
            search_seconds: self.policy.submission_search_seconds,
            if_not_found: self.policy.submission_unknown,
            state: Mutex::default(),
        });
        let submission = Submission {
            job_id: &self.input.job_id,
            submission_id: &submission_id,
            request: &self.input.request,
            cancel_after: self.cancel_after(timestamp(SystemTime::now())),
        };
        let submitted = self
            .provider
            .submit(&submission, Arc::clone(&gate) as Arc<dyn Gate>)
            .await;
        let (recorded, is_superseded) = {
            let state = gate.state();
            (state.recorded.clone(), state.is_superseded)
        };
        match (submitted, recorded) {
            (Ok(prediction), _) => {
                let record = GenerateRecord::Submitted(prediction.state.clone());
                if self.recorder.record(&record).await == Err(Superseded) {
                    self.signal_outcome(
                        submission_id,
                        SubmissionOutcome::Bought(prediction.state.clone()),
                    )
                    .await;
                }
                Ok(prediction)
            }
            (Err(SubmitError::Refused(error)), recorded) => {
                // Without this record, a later attempt would find `Submitting` and treat a refused
                // submission as in doubt.
                let is_superseded = is_superseded
                    || recorded.is_some()
                        && self.recorder.record(&GenerateRecord::Refused).await == Err(Superseded);
                if is_superseded && recorded.is_some() {
                    self.signal_outcome(submission_id, SubmissionOutcome::NotBought)
                        .await;
                }
                Err(refused(error))
            }
            (Err(SubmitError::ProviderFailed(error)), Some(doubt)) => {
                let doubt = Doubt {
                    cause: DoubtCause::ProviderFailed,
                    if_not_found: IfNotFound::Resubmit,
                    ..doubt
                };
                Err(self.in_doubt(doubt, &error).await)
            }
            (Err(SubmitError::Unanswered(error)), Some(doubt)) => {
                let doubt = Doubt {
                    cause: DoubtCause::Unanswered,
                    ..doubt
                };
                Err(self.in_doubt(doubt, &error).await)
            }
            // Nothing is sent before it is recorded.
            (Err(SubmitError::ProviderFailed(error) | SubmitError::Unanswered(error)), None) => {
                Err(refused(error))
            }
        }
    }

    async fn in_doubt(&self, doubt: Doubt, error: &ProviderError) -> GenerateOutcome {
        tracing::warn!(job_id = %self.input.job_id, %error, "a submission is in doubt");
        // The record repeats the result of this attempt, in case the result is lost.
        let _ = self
            .recorder
            .try_record(&GenerateRecord::Submitting(doubt.clone()))
            .await;
        GenerateOutcome::InDoubt(doubt)
    }

    /// Returns the time limit for the provider: until the job's deadline, and a margin.
    fn cancel_after(&self, now: Timestamp) -> Duration {
        match self.input.deadline {
            Some(deadline) => {
                let left = deadline.duration_since(now) + CANCEL_MARGIN;
                Duration::try_from(left).unwrap_or_default()
            }
            None => self.policy.longest_generation,
        }
    }

    /// Signals the outcome to the workflow, as the server no longer takes this attempt's result. If
    /// the workflow has closed without this prediction, it is canceled.
    async fn signal_outcome(&self, submission_id: SubmissionId, outcome: SubmissionOutcome) {
        let job_id = &self.input.job_id;
        let bought = match &outcome {
            SubmissionOutcome::Bought(state) => Some(state.prediction.clone()),
            SubmissionOutcome::NotBought => None,
        };
        tracing::warn!(%job_id, prediction_id = bought.as_ref().map(|prediction| prediction.id.as_str()), "an attempt that was declared timed out signals its outcome");
        let client = self.ctx.client();
        let handle = client.get_workflow_handle::<MediaGeneration>(job_id.to_string());
        let settled = SubmissionSettled {
            submission_id,
            outcome,
        };
        let began = Instant::now();
        while began.elapsed() < SIGNAL_TIMEOUT {
            let options = WorkflowSignalOptions::builder()
                .request_id(settled.submission_id.to_string())
                .build();
            let signal = MediaGeneration::submission_settled;
            match handle.signal(signal, settled.clone(), options).await {
                Ok(()) => return,
                Err(WorkflowInteractionError::NotFound(_)) => {
                    if let Some(prediction) = bought
                        && !self.is_used(&prediction).await
                    {
                        self.cancel_orphan(&prediction).await;
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%job_id, %error, "cannot signal the workflow; retrying");
                    tokio::time::sleep(SIGNAL_INTERVAL).await;
                }
            }
        }
        // The workflow searches for what was bought, and a report of the provider may come.
        let submission_id = &settled.submission_id;
        tracing::error!(%job_id, %submission_id, "could not signal the outcome to the workflow");
    }

    /// Returns true if the job, which has ended, has this prediction: it may have been found
    /// meanwhile.
    async fn is_used(&self, prediction: &PredictionRef) -> bool {
        let ended = manifest::read(self.storage, &self.input.job_id).await;
        ended
            .ok()
            .flatten()
            .and_then(|job| job.provider)
            .is_some_and(|provider| provider.prediction == *prediction)
    }

    async fn cancel_orphan(&self, prediction: &PredictionRef) {
        metrics::orphaned();
        let canceled = cancel::cancel(self.provider, prediction).await;
        let outcome = canceled.ok().and_then(|state| state.cancel_outcome);
        tracing::error!(job_id = %self.input.job_id, prediction_id = %prediction.id, ?outcome, "bought for a job that has ended");
    }
}

/// Returns the outcome of a submission that bought nothing, with the reason.
pub(super) fn refused(failure: impl Into<Failure>) -> GenerateOutcome {
    let failure = failure.into();
    let retry_after = match &failure {
        Failure::Failed { retry_after, .. } => *retry_after,
        Failure::Canceled => None,
    };
    GenerateOutcome::Refused {
        error: failure.into_error(),
        retry_after_ms: retry_after
            .and_then(|retry_after| u64::try_from(retry_after.as_millis()).ok()),
    }
}

/// Gate that opens once the submission was recorded a moment ago.
struct RecordGate {
    recorder: Arc<Recorder>,
    submission_id: SubmissionId,
    clock_skew_ms: Option<i64>,
    search_seconds: u32,
    if_not_found: IfNotFound,
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    /// Record that was sent last, acknowledged or not.
    recorded: Option<Doubt>,
    is_superseded: bool,
}

impl RecordGate {
    fn state(&self) -> std::sync::MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Gate for RecordGate {
    async fn open(&self) -> Result<(), GateClosed> {
        loop {
            let (began, at) = (BootTime::now(), timestamp(SystemTime::now()));
            let doubt = Doubt {
                submission_id: Some(self.submission_id.clone()),
                since: at,
                until: at,
                clock_skew_ms: self.clock_skew_ms,
                cause: DoubtCause::Interrupted,
                search_seconds: self.search_seconds,
                if_not_found: self.if_not_found,
            };
            self.state().recorded = Some(doubt.clone());
            match self
                .recorder
                .try_record(&GenerateRecord::Submitting(doubt))
                .await
            {
                // If the process was stopped in between, another attempt may run by now.
                Ok(Some(Answer::Continue)) if began.elapsed() <= MAX_ACK_AGE => return Ok(()),
                Ok(Some(Answer::Continue) | None) => {}
                Ok(Some(Answer::Stop)) => return Err(GateClosed),
                Err(Superseded) => {
                    self.state().is_superseded = true;
                    return Err(GateClosed);
                }
            }
        }
    }
}
