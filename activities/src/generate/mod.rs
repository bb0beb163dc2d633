//! `generate`: has a provider make the outputs, waits until it has, and pays for them once whatever happens in between.
//!
//! The provider has no idempotency keys, so the activity keeps its own record: a [`GenerateCheckpoint`](darkroom_workflows::contract::GenerateCheckpoint) that the server
//! acknowledges before and after the one paid call. An attempt that finds `Submitted` resumes; one that finds itself in
//! doubt looks for the prediction at the provider, and pays again only where nothing can be there.
//!
//! - `submission`: getting hold of the job's one prediction
//! - `cancellation`: stopping it

mod cancellation;
mod submission;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use darkroom_providers::{Prediction, Provider, ProviderError};
use darkroom_workflows::{
    contract::{CollectInput, GenerateInput, GenerateOutcome, Generation, OutputSource},
    failure::FailureType,
    job::PredictionStatus,
};
use temporalio_sdk::activities::ActivityContext;

use self::submission::Submission;
pub use self::{
    cancellation::{cancel_generation, inspect},
    submission::SubmissionPolicy,
};
use crate::{
    failure::Failure,
    heartbeat::{Handover, Heartbeat, Interruption},
};

/// The most outputs that a job carries: each is an activity and a few events in one workflow's history.
const MAX_OUTPUTS: usize = 500;

/// The longest URL that goes into a history; what is longer is read from the prediction when it is needed.
const MAX_URL: usize = 2048;

/// Has the provider make the outputs.
///
/// # Errors
/// If the provider refuses or fails, or cannot be reached for now.
pub async fn generate(
    provider: &dyn Provider,
    policy: SubmissionPolicy,
    ctx: &ActivityContext,
    handover: Handover,
    input: GenerateInput,
) -> Result<GenerateOutcome, Failure> {
    let heartbeat = Heartbeat::start(ctx, handover);
    let result = obtain(provider, policy, ctx, &input, &heartbeat).await;
    heartbeat.end(result).await
}

async fn obtain(
    provider: &dyn Provider,
    policy: SubmissionPolicy,
    ctx: &ActivityContext,
    input: &GenerateInput,
    heartbeat: &Heartbeat,
) -> Result<GenerateOutcome, Failure> {
    let submission = Submission {
        provider,
        policy,
        heartbeat,
        input,
    };
    let mut prediction = submission.obtain(ctx).await?;

    for interval in poll_intervals() {
        if prediction.status.is_terminal() {
            break;
        }
        let interruption = tokio::select! {
            () = tokio::time::sleep(interval) => None,
            interruption = heartbeat.interrupted() => Some(interruption),
        };
        match interruption {
            None => prediction = provider.fetch(&prediction.id).await.map_err(watching)?,
            Some(Interruption::CancelRequested) => return stop(provider, prediction).await,
            Some(interruption) => return Err(interruption.into()),
        }
    }
    conclude(provider, prediction).map(GenerateOutcome::Generated)
}

/// From a tenth of a second to five, in growing, jittered steps, for as long as it takes.
fn poll_intervals() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_factor(1.3)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Reads a prediction that is said to have ended.
///
/// # Errors
/// As [`generate`].
pub async fn collect(provider: &dyn Provider, input: CollectInput) -> Result<Generation, Failure> {
    conclude(
        provider,
        provider
            .fetch(&input.prediction_id)
            .await
            .map_err(watching)?,
    )
}

/// The job no longer wants the prediction. One that has ended is not canceled any more.
async fn stop(provider: &dyn Provider, prediction: Prediction) -> Result<GenerateOutcome, Failure> {
    match cancellation::cancel(provider, &prediction.id).await {
        Some(canceled) => Ok(GenerateOutcome::Canceled(canceled)),
        // The workflow sees to it, for longer than an attempt that is asked to stop may take.
        None => Err(Failure::Canceled),
    }
}

fn conclude(provider: &dyn Provider, prediction: Prediction) -> Result<Generation, Failure> {
    let Prediction {
        id,
        status,
        outputs,
        error,
        data_removed,
        expires_at,
        metrics,
    } = prediction;
    let said = error.unwrap_or_else(|| "the provider gives no reason".to_owned());
    match status {
        PredictionStatus::Succeeded => {}
        PredictionStatus::Failed => return Err(Failure::new(FailureType::GenerationFailed, said)),
        PredictionStatus::Canceled | PredictionStatus::Aborted => {
            return Err(Failure::new(
                FailureType::GenerationCanceled,
                "the prediction was canceled at the provider",
            ));
        }
        PredictionStatus::Starting | PredictionStatus::Processing => {
            return Err(Failure::new(
                FailureType::ProviderUnavailable,
                "the prediction is not done",
            ));
        }
    }
    match outputs.len() {
        0 if data_removed => Err(Failure::new(
            FailureType::SourceExpired,
            format!("the provider has removed the outputs of {id}"),
        )),
        0 => Err(Failure::new(
            FailureType::NoOutputs,
            format!("prediction {id} succeeded without a file"),
        )),
        1..=MAX_OUTPUTS => Ok(Generation {
            provider: provider.name().to_owned(),
            prediction_id: id,
            outputs: outputs.into_iter().map(source).collect(),
            expires_at,
            metrics,
        }),
        count => {
            let detail =
                format!("prediction {id} made {count} files; a job carries {MAX_OUTPUTS} at most");
            Err(Failure::new(FailureType::TooManyOutputs, detail))
        }
    }
}

fn source(url: String) -> OutputSource {
    if url.starts_with("data:") || url.len() > MAX_URL {
        OutputSource::Prediction
    } else {
        OutputSource::Url(url)
    }
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
            ProviderError::NotFound => Self::new(FailureType::SourceExpired, detail),
            ProviderError::Unavailable(_) => Self::new(FailureType::ProviderUnavailable, detail),
        }
    }
}
