//! `cancel_generation`: cancels a prediction. The provider is asked to only if the prediction still
//! runs, so that it is asked once.

use std::time::Duration;

use darkroom_providers::{Provider, ProviderError};
use darkroom_workflows::{
    contract::cancel::CancelGenerationInput,
    job::{CancelOutcome, Prediction, PredictionRef, PredictionStatus, ProviderState},
};
use tokio::time::Instant;

use super::retryable_after_purchase;
use crate::failure::Failure;

/// Timeout of waiting for a canceled prediction to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval between two polls meanwhile.
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs the contract's `cancel_generation`.
///
/// # Errors
/// If the provider refuses or cannot be reached.
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
        // A prediction that cannot be read may still run.
        Err(
            ProviderError::NotFound | ProviderError::Unreadable(_) | ProviderError::TooLarge(_),
        ) => {
            return match provider.cancel(prediction).await {
                Ok(seen) => Ok(outcome(seen)),
                // The provider has answered, and the answer shows no state.
                Err(
                    ProviderError::NotFound
                    | ProviderError::Unreadable(_)
                    | ProviderError::TooLarge(_)
                    | ProviderError::Rejected(_),
                ) => Ok(unknown(prediction)),
                Err(error) => Err(retryable_after_purchase(error)),
            };
        }
        Err(error) => return Err(retryable_after_purchase(error)),
    };
    match provider.cancel(prediction).await {
        Ok(seen) if seen.state.status.is_terminal() => Ok(outcome(seen)),
        Ok(_) => Ok(until_stopped(provider, running).await),
        Err(error) => Err(retryable_after_purchase(error)),
    }
}

/// Polls a prediction until it has stopped. Returns the state that was seen last, also after the
/// timeout.
async fn until_stopped(provider: &dyn Provider, mut seen: Prediction) -> ProviderState {
    let began = Instant::now();
    let mut is_gone = false;
    while began.elapsed() < STOP_TIMEOUT {
        match provider.fetch(&seen.state.prediction).await {
            Ok(prediction) if prediction.state.status.is_terminal() => return outcome(prediction),
            Ok(prediction) => (seen, is_gone) = (prediction, false),
            Err(error) => is_gone = matches!(error, ProviderError::NotFound),
        }
        tokio::time::sleep(INTERVAL).await;
    }
    if is_gone {
        // It ran, and was canceled since. A read that merely lags would have shown it by now.
        seen.state.status = PredictionStatus::Canceled;
    }
    outcome(seen)
}

fn outcome(prediction: Prediction) -> ProviderState {
    ProviderState {
        cancel_outcome: Some(CancelOutcome::of(prediction.state.status)),
        ..prediction.state
    }
}

fn unknown(prediction: &PredictionRef) -> ProviderState {
    ProviderState {
        cancel_outcome: Some(CancelOutcome::Unknown),
        ..ProviderState::new(prediction.clone(), PredictionStatus::Processing)
    }
}
