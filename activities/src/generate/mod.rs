//! The activities that call the provider. `generate` buys a prediction, once, across retries and
//! resets; `find` searches for one that is in doubt; `collect` polls one until it has ended;
//! `cancel_generation` cancels one. The workflow waits in between.
//!
//! The provider has no idempotency keys, so an attempt at `generate` keeps a record around its one
//! paid call, which Temporal acknowledges:
//! [`GenerateRecord`](darkroom_workflows::contract::generate::GenerateRecord).
//!
//! In reading order:
//!
//! - `precedent`: decides by earlier records whether this attempt may buy
//! - `earlier_run`: the record of the runs before a reset; `restore`: the time that a restore has
//!   lost
//! - `submission`: the paid call, and the record around it
//! - `boot_time`: a clock that also counts time in suspend
//! - `throttle`: reports of rate limits; `access`: rejected tokens and missing credit;
//!   `refused_line`: the order of retries after a refusal
//! - `find`, `collect`, `cancel`: the other three activities

mod access;
mod boot_time;
mod cancel;
mod collect;
mod earlier_run;
mod find;
mod precedent;
mod refused_line;
mod restore;
mod submission;
mod throttle;

use std::{sync::Arc, time::Duration};

use darkroom_providers::{Provider, ProviderError};
use darkroom_storage::Storage;
use darkroom_temporal::recorder::Recorder;
use darkroom_workflows::{
    contract::generate::{ATTEMPT_LIMIT, GenerateInput, GenerateOutcome},
    failure::FailureType,
    job::{IfNotFound, Prediction, PredictionStatus},
};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::{
    access::Access,
    cancel::cancel_generation,
    collect::collect,
    find::find,
    refused_line::RefusedLine,
    restore::LostTime,
    throttle::{Refusals, Throttle},
};
use self::{precedent::Precedent, submission::Purchase};
use crate::failure::Failure;

/// Times of the polls after a submission: a quick prediction needs no further activity.
const POLLS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(6),
];

/// Policy for buying predictions.
#[derive(Clone, Copy, Debug)]
pub struct GenerationPolicy {
    /// Action if a submission was sent, its answer is lost and the provider never shows the
    /// prediction.
    pub submission_unknown: IfNotFound,
    /// The time that a restore of Temporal's database has lost.
    pub lost_time: Option<LostTime>,
    /// Time of searching for a submission whose answer is lost, in seconds.
    pub submission_search_seconds: u32,
    /// Time limit for a prediction of a job without a deadline.
    pub longest_generation: Duration,
}

/// Receivers of the provider's refusals, beyond the job that was refused.
#[derive(Clone, Debug)]
pub struct RefusalReceivers {
    /// Receives the delays that the provider asks for by its rate limit.
    pub throttle: Throttle,
    /// Is notified when the provider refuses this worker's token or credit.
    pub access: Access,
    /// Orders the retries of jobs that were refused together.
    pub line: RefusedLine,
}

impl RefusalReceivers {
    /// Notifies the receivers of a refusal, and sets the delay after which the job retries.
    async fn notify(&self, input: &GenerateInput, outcome: &mut GenerateOutcome) {
        let GenerateOutcome::Refused {
            error,
            retry_after_ms,
        } = outcome
        else {
            return;
        };
        match error.kind {
            FailureType::ProviderUnauthorized | FailureType::ProviderInsufficientCredit => {
                self.access.refuse();
            }
            _ => {}
        }
        if let Some(retry_after_ms) = retry_after_ms {
            self.throttle
                .refused(Duration::from_millis(*retry_after_ms));
            let later = self.line.join(input.since, &input.job_id).await;
            *retry_after_ms += u64::try_from(later.as_millis()).unwrap_or_default();
        }
    }
}

/// Buys a prediction, unless one was bought before, and polls it for some seconds.
pub async fn generate(
    provider: &dyn Provider,
    storage: &Storage,
    policy: GenerationPolicy,
    refusal_receivers: &RefusalReceivers,
    ctx: &ActivityContext,
    stopping: &CancellationToken,
    input: &GenerateInput,
) -> GenerateOutcome {
    let began = Instant::now();
    let purchase = Purchase {
        provider,
        storage,
        policy,
        recorder: Arc::new(Recorder::new(ctx)),
        ctx,
        input,
    };
    let outcome = match precedent::find(ctx, storage, policy.lost_time, input).await {
        Precedent::None => purchase.submit().await,
        Precedent::Bought(state) => {
            tracing::info!(job_id = %input.job_id, prediction_id = %state.prediction.id, "adopted a prediction");
            return GenerateOutcome::Submitted {
                state,
                is_slow: false,
            };
        }
        Precedent::Doubt(doubt) => return GenerateOutcome::InDoubt(doubt),
        Precedent::Ended(job) => return GenerateOutcome::Recorded(Box::new(job)),
        Precedent::Unclear(failure) => return submission::refused(failure),
    };
    match outcome {
        Ok(prediction) => {
            let deadline = began + ATTEMPT_LIMIT;
            poll_new(provider, stopping, prediction, deadline).await
        }
        Err(mut outcome) => {
            refusal_receivers.notify(input, &mut outcome).await;
            outcome
        }
    }
}

/// Polls a prediction that was just bought, until it has ended, the last of these polls is over, or
/// the attempt must return.
async fn poll_new(
    provider: &dyn Provider,
    stopping: &CancellationToken,
    mut prediction: Prediction,
    deadline: Instant,
) -> GenerateOutcome {
    let bought = Instant::now();
    let mut is_slow = false;
    for at in POLLS {
        if is_complete(&prediction) {
            return GenerateOutcome::Ended(prediction);
        }
        if bought + at >= deadline {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(bought + at) => {}
            () = stopping.cancelled() => break,
        }
        let polled = provider.fetch(&prediction.state.prediction);
        let Ok(polled) = tokio::time::timeout_at(deadline, polled).await else {
            break;
        };
        match polled {
            Ok(polled) => {
                is_slow = Some(&at) == POLLS.last() && !polled.state.status.is_terminal();
                prediction = polled;
            }
            // The provider's rate limit is exceeded: the workflow polls later.
            Err(ProviderError::RateLimited { .. }) => break,
            Err(error) => tracing::debug!(%error, "cannot poll a new prediction"),
        }
    }
    if is_complete(&prediction) {
        GenerateOutcome::Ended(prediction)
    } else {
        GenerateOutcome::Submitted {
            state: prediction.state,
            is_slow,
        }
    }
}

/// Returns true if a prediction has ended and nothing of it is missing.
fn is_complete(prediction: &Prediction) -> bool {
    prediction.state.status.is_terminal() && !is_missing_outputs(prediction)
}

/// Returns true if a prediction has succeeded and its outputs are missing: they may appear a moment
/// later.
fn is_missing_outputs(prediction: &Prediction) -> bool {
    prediction.state.status == PredictionStatus::Succeeded
        && prediction.outputs.is_empty()
        && !prediction.data_removed
}

/// Converts an error about a prediction that is already bought. If the provider refuses now, for
/// instance after a rotation of credentials, it may allow the call later, so the job waits.
pub(crate) fn retryable_after_purchase(error: ProviderError) -> Failure {
    match error {
        ProviderError::Rejected(_)
        | ProviderError::Unauthorized(_)
        | ProviderError::InsufficientCredit(_) => {
            Failure::new(FailureType::ProviderUnavailable, error.to_string())
        }
        error => error.into(),
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        let detail = error.to_string();
        match error {
            ProviderError::Rejected(_) => Self::new(FailureType::ProviderRejected, detail),
            ProviderError::Unauthorized(_) => Self::new(FailureType::ProviderUnauthorized, detail),
            ProviderError::InsufficientCredit(_) => {
                Self::new(FailureType::ProviderInsufficientCredit, detail)
            }
            ProviderError::RateLimited { retry_after } => {
                Self::retry_after(FailureType::ProviderRateLimited, detail, retry_after)
            }
            ProviderError::NotFound => Self::new(FailureType::PredictionNotFound, detail),
            ProviderError::Unavailable(_) => Self::new(FailureType::ProviderUnavailable, detail),
            ProviderError::Unreadable(_) | ProviderError::TooLarge(_) => {
                Self::new(FailureType::ProviderUnreadable, detail)
            }
            ProviderError::GateClosed(_) => Self::new(FailureType::Interrupted, detail),
        }
    }
}
