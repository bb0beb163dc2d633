//! `cancel_generation`: stops a prediction. The provider is asked only if it still runs, so that it is asked once.

use std::time::Duration;

use darkroom_providers::{Prediction, Provider, ProviderError, provider::Canceling};
use darkroom_workflows::{
    contract::cancel::CancelGenerationInput,
    job::{CancelOutcome, PredictionRef, PredictionStatus, ProviderState},
};
use tokio::time::Instant;

use super::watching;
use crate::failure::Failure;

/// How long to wait for a prediction to stop that was asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often to look meanwhile.
const INTERVAL: Duration = Duration::from_millis(500);

/// See the contract's `cancel_generation`.
///
/// # Errors
/// If the provider cannot be asked.
pub async fn cancel_generation(
    provider: &dyn Provider,
    input: &CancelGenerationInput,
) -> Result<ProviderState, Failure> {
    cancel(provider, &input.prediction).await
}

/// Cancels a prediction unless it has ended.
pub(super) async fn cancel(
    provider: &dyn Provider,
    prediction: &PredictionRef,
) -> Result<ProviderState, Failure> {
    let running = match provider.fetch(prediction).await {
        Ok(seen) if seen.state.status.is_terminal() => return Ok(outcome(seen)),
        Ok(seen) => seen,
        // That it is not shown is no proof that it does not run.
        Err(
            ProviderError::NotFound | ProviderError::Unreadable(_) | ProviderError::TooLarge(_),
        ) => {
            let asked = provider.cancel(prediction).await;
            return Ok(match asked {
                Ok(Canceling::Answered(seen)) => outcome(seen),
                _ => unknown(prediction),
            });
        }
        Err(error) => return Err(watching(error)),
    };
    match provider.cancel(prediction).await {
        Ok(Canceling::Answered(seen)) if seen.state.status.is_terminal() => Ok(outcome(seen)),
        Ok(Canceling::Answered(_) | Canceling::Requested) => {
            Ok(until_stopped(provider, running).await)
        }
        Ok(Canceling::Unsupported) => Ok(outcome(running)),
        Err(error) => Err(watching(error)),
    }
}

/// Waits for a prediction to stop. Out of time, what was seen last is what we know.
async fn until_stopped(provider: &dyn Provider, mut seen: Prediction) -> ProviderState {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match provider.fetch(&seen.state.prediction).await {
            Ok(prediction) if prediction.state.status.is_terminal() => return outcome(prediction),
            Ok(prediction) => seen = prediction,
            // It ran a moment ago and was asked to stop.
            Err(ProviderError::NotFound) => {
                seen.state.status = PredictionStatus::Canceled;
                return outcome(seen);
            }
            Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
    outcome(seen)
}

fn outcome(prediction: Prediction) -> ProviderState {
    let cancel_outcome = match prediction.state.status {
        PredictionStatus::Canceled | PredictionStatus::Aborted => CancelOutcome::Canceled,
        PredictionStatus::Succeeded | PredictionStatus::Failed => CancelOutcome::TooLate,
        PredictionStatus::Starting | PredictionStatus::Processing => CancelOutcome::Unknown,
    };
    ProviderState {
        cancel_outcome: Some(cancel_outcome),
        ..prediction.state
    }
}

fn unknown(prediction: &PredictionRef) -> ProviderState {
    ProviderState {
        cancel_outcome: Some(CancelOutcome::Unknown),
        ..ProviderState::new(prediction.clone(), PredictionStatus::Processing)
    }
}
