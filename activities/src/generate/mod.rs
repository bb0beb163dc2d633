//! What is asked of a provider: `generate` buys a prediction, once whatever happens; `find` looks for one that may have been
//! bought; `collect` reads how one ended; `cancel_generation` stops one. Waiting in between is the workflow's.
//!
//! The provider has no idempotency keys, so an attempt at `generate` keeps a record that Temporal acknowledges around its one
//! paid call: [`GenerateRecord`](darkroom_workflows::contract::generate::GenerateRecord).
//!
//! - `precedent`: whether somebody may have bought before, and what is to be done then
//! - `earlier_run`: what the runs before a reset tell of that; `restore`: what is known after a restore
//! - `submission`: the paid call, and the record around it
//! - `boot_time`: a clock that a suspended machine does not stop
//! - `throttle`, `access`: what a refusal means for the jobs after it; `refused_line`: who of them asks again first
//! - `find`, `collect`, `cancel`: the other three
//! - `ended`: a prediction that has ended, as far as a history takes it

mod access;
mod boot_time;
mod cancel;
mod collect;
mod earlier_run;
mod ended;
mod find;
mod precedent;
mod refused_line;
mod restore;
mod submission;
mod throttle;

use std::{str::FromStr, sync::Arc, time::Duration};

use darkroom_providers::{Prediction, Provider, ProviderError};
use darkroom_storage::Storage;
use darkroom_temporal::recorder::Recorder;
use darkroom_workflows::{
    contract::generate::{GenerateInput, GenerateOutcome},
    failure::FailureType,
    job::{IfNotFound, PredictionStatus},
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
use self::{ended::ended, precedent::Precedent, submission::Purchase};
use crate::failure::Failure;

/// When to look at a prediction that was just submitted: quick ones cost no further activity.
const LOOKS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(6),
];

/// How predictions are bought.
#[derive(Clone, Copy, Debug)]
pub struct GenerationPolicy {
    /// What to do when a submission was sent, its answer is lost and the provider never shows the prediction.
    pub submission_unknown: SubmissionPolicy,
    /// The time that a restore of Temporal's database has lost.
    pub lost_time: Option<LostTime>,
    /// For how long a submission is looked for whose answer is lost.
    pub submission_search_seconds: u32,
    /// The longest that a provider may work on a prediction of a job without a deadline.
    pub longest_generation: Duration,
}

/// What to do about a submission that nobody can account for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubmissionPolicy {
    /// End the job: a person decides whether to pay again.
    Fail,
    /// Submit once more, and perhaps pay twice.
    Resubmit,
}

impl FromStr for SubmissionPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fail" => Ok(Self::Fail),
            "resubmit" => Ok(Self::Resubmit),
            _ => Err("must be fail or resubmit"),
        }
    }
}

impl From<SubmissionPolicy> for IfNotFound {
    fn from(policy: SubmissionPolicy) -> Self {
        match policy {
            SubmissionPolicy::Fail => Self::Fail,
            SubmissionPolicy::Resubmit => Self::Resubmit,
        }
    }
}

/// What is to be known of a refusal beside the job that it is of.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// Who hears that the provider asks to slow down.
    pub throttle: Throttle,
    /// Who hears that it does not let us in.
    pub access: Access,
    /// Where those that were refused together line up.
    pub line: RefusedLine,
}

impl Listeners {
    /// Tells of a refusal, and when the job is to ask again.
    async fn hear(&self, input: &GenerateInput, outcome: &mut GenerateOutcome) {
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

/// Buys a prediction, unless one was bought before, and looks at it for some seconds.
pub async fn generate(
    provider: &dyn Provider,
    storage: &Storage,
    policy: GenerationPolicy,
    listeners: &Listeners,
    ctx: &ActivityContext,
    stopping: &CancellationToken,
    input: &GenerateInput,
) -> GenerateOutcome {
    let purchase = Purchase {
        provider,
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
        Ok(prediction) => look(provider, stopping, prediction).await,
        Err(mut outcome) => {
            listeners.hear(input, &mut outcome).await;
            outcome
        }
    }
}

/// Looks at a prediction that was just bought, until it has ended or is not as quick as that.
async fn look(
    provider: &dyn Provider,
    stopping: &CancellationToken,
    mut prediction: Prediction,
) -> GenerateOutcome {
    let bought = Instant::now();
    let mut is_slow = false;
    for at in LOOKS {
        if is_complete(&prediction) {
            return GenerateOutcome::Ended(ended(prediction));
        }
        tokio::select! {
            () = tokio::time::sleep_until(bought + at) => {}
            () = stopping.cancelled() => break,
        }
        match provider.fetch(&prediction.state.prediction).await {
            Ok(looked_at) => {
                is_slow = Some(&at) == LOOKS.last() && !looked_at.state.status.is_terminal();
                prediction = looked_at;
            }
            // It is asked too often.
            Err(ProviderError::RateLimited { .. }) => break,
            Err(error) => tracing::debug!(%error, "a look at a new prediction failed"),
        }
    }
    if is_complete(&prediction) {
        GenerateOutcome::Ended(ended(prediction))
    } else {
        GenerateOutcome::Submitted {
            state: prediction.state,
            is_slow,
        }
    }
}

/// Whether a prediction has ended, and says all that there is to say of it.
fn is_complete(prediction: &Prediction) -> bool {
    prediction.state.status.is_terminal() && !lacks_outputs(prediction)
}

/// Outputs may come a moment later than the word of success.
fn lacks_outputs(prediction: &Prediction) -> bool {
    prediction.state.status == PredictionStatus::Succeeded
        && prediction.outputs.is_empty()
        && !prediction.data_removed
}

/// An error about a prediction that is bought already. Whatever the provider refuses now, rotated credentials above all, it
/// may grant later, so the job waits.
pub(crate) fn watching(error: ProviderError) -> Failure {
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
