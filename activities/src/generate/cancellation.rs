//! Stopping a prediction: by the attempt that waits for it, or by the workflow where that attempt is gone. The provider is
//! asked only if the prediction still runs, so that it is asked once.

use std::time::Duration;

use darkroom_providers::provider::{Prediction, Provider, ProviderError, Search};
use darkroom_workflows::{
    MediaGeneration,
    contract::{CancelGenerationInput, CanceledGeneration, GenerateCheckpoint},
    failure::FailureType,
    job::{CancelOutcome, PredictionStatus},
};
use temporalio_client::WorkflowDescribeOptions;
use temporalio_common::data_converters::{ActivitySerializationContext, SerializationContextData};
use temporalio_sdk::activities::ActivityContext;

use super::{poll_intervals, watching};
use crate::failure::Failure;

/// How long an attempt that is asked to stop may take over it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a prediction is looked for whose submission may still be under way, and how long in between.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Cancels a prediction unless it has ended. `None` if the provider could not be asked in time.
pub(super) async fn cancel(provider: &dyn Provider, id: &str) -> Option<CanceledGeneration> {
    let mut seen = None;
    // Out of time, what was seen last is what we know.
    let _ = tokio::time::timeout(PATIENCE, async {
        for interval in poll_intervals() {
            let result = match &seen {
                None => ask(provider, id).await,
                Some(_) => provider.fetch(id).await,
            };
            match result {
                Ok(prediction) => {
                    let ended = prediction.status.is_terminal();
                    seen = Some(prediction);
                    if ended {
                        return;
                    }
                }
                Err(ProviderError::Unavailable(_) | ProviderError::RateLimited { .. }) => {}
                Err(_) => return,
            }
            tokio::time::sleep(interval).await;
        }
    })
    .await;
    seen.map(|prediction| outcome(provider, prediction))
}

/// See the contract's `cancel_generation`.
///
/// # Errors
/// If the provider cannot be asked.
pub async fn cancel_generation(
    provider: &dyn Provider,
    input: CancelGenerationInput,
) -> Result<Option<CanceledGeneration>, Failure> {
    let id = match &input.checkpoint {
        GenerateCheckpoint::Submitted { prediction_id, .. } => Some(prediction_id.clone()),
        GenerateCheckpoint::Refused => None,
        GenerateCheckpoint::Submitting | GenerateCheckpoint::Doubtful => {
            find(provider, &input).await?
        }
    };
    let Some(id) = id else { return Ok(None) };
    match cancel(provider, &id).await {
        Some(canceled) => Ok(Some(canceled)),
        None => Err(Failure::new(
            FailureType::ProviderUnavailable,
            "the provider cannot be asked to cancel",
        )),
    }
}

/// See the contract's `inspect`.
///
/// # Errors
/// If Temporal does not answer.
pub async fn inspect(ctx: &ActivityContext) -> Result<Option<GenerateCheckpoint>, Failure> {
    let unreadable = |error: String| {
        Failure::new(
            FailureType::Interrupted,
            format!("cannot read generate's record: {error}"),
        )
    };
    let workflow = ctx
        .workflow_handle::<MediaGeneration>()
        .ok_or_else(|| unreadable("no workflow".to_owned()))?;
    let description = workflow.describe(WorkflowDescribeOptions::default()).await;
    let description = description.map_err(|error| unreadable(error.to_string()))?;
    let mut pending = description.raw().pending_activities.iter();
    let generate = pending.find(|pending| {
        pending
            .activity_type
            .as_ref()
            .is_some_and(|kind| kind.name == "generate")
    });
    let Some(details) = generate.and_then(|pending| pending.heartbeat_details.clone()) else {
        return Ok(None);
    };
    let context = SerializationContextData::Activity(ActivitySerializationContext::new());
    let converter = ctx.client().options().data_converter.clone();
    let checkpoint = converter.from_payloads(&context, details.payloads).await;
    checkpoint
        .map(Some)
        .map_err(|error| unreadable(error.to_string()))
}

async fn find(
    provider: &dyn Provider,
    input: &CancelGenerationInput,
) -> Result<Option<String>, Failure> {
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        match provider
            .find(&input.job_id, input.since)
            .await
            .map_err(watching)?
        {
            Search::Found(prediction) => return Ok(Some(prediction.id)),
            Search::NotShown => {}
            Search::CannotTell => break,
        }
    }
    Ok(None)
}

/// Asks the provider to stop a prediction that has not ended.
async fn ask(provider: &dyn Provider, id: &str) -> Result<Prediction, ProviderError> {
    let prediction = provider.fetch(id).await?;
    if prediction.status.is_terminal() {
        Ok(prediction)
    } else {
        provider.cancel(id).await
    }
}

fn outcome(provider: &dyn Provider, prediction: Prediction) -> CanceledGeneration {
    let Prediction { id, status, .. } = prediction;
    let cancel_outcome = match status {
        PredictionStatus::Canceled | PredictionStatus::Aborted => CancelOutcome::Canceled,
        PredictionStatus::Succeeded | PredictionStatus::Failed => CancelOutcome::TooLate,
        PredictionStatus::Starting | PredictionStatus::Processing => CancelOutcome::Unknown,
    };
    CanceledGeneration {
        provider: provider.name().to_owned(),
        prediction_id: id,
        status,
        cancel_outcome,
    }
}
