//! Cancellation of predictions: none is to keep running at the provider without a job that waits
//! for it.

use temporalio_workflow::WorkflowContext;

use super::{MediaGeneration, SubmissionOutcome, progress::update};
use crate::{
    contract::{self, Activities, cancel::CancelGenerationInput},
    job::{CancelOutcome, PredictionRef, ProviderState},
};

/// Cancels the job's prediction unless it has ended, and records the outcome.
pub(super) async fn cancel(ctx: &WorkflowContext<MediaGeneration>, prediction: &PredictionRef) {
    let canceled = execute_cancel(ctx, prediction).await;
    update(ctx, |job| match canceled {
        Some(state) => job.record_purchase(state),
        None => {
            if let Some(provider) = &mut job.provider {
                provider.cancel_outcome = Some(CancelOutcome::Unknown);
            }
        }
    });
}

/// Cancels orphaned predictions, bought besides the job's own: an earlier attempt reported its
/// purchase after another one had been made.
pub(super) async fn cancel_all_orphaned(ctx: &WorkflowContext<MediaGeneration>) {
    let orphaned = ctx.state_mut(|workflow| {
        let ours = workflow
            .state
            .provider
            .as_ref()
            .map(|state| state.prediction.id.clone());
        let settled = std::mem::take(&mut workflow.settled);
        let orphaned = settled
            .into_iter()
            .filter_map(|settled| match settled.outcome {
                SubmissionOutcome::Bought(state) if Some(&state.prediction.id) != ours.as_ref() => {
                    Some(state.prediction)
                }
                _ => None,
            });
        orphaned.collect::<Vec<_>>()
    });
    for prediction in orphaned {
        cancel_orphaned(ctx, &prediction).await;
    }
}

/// Cancels a prediction that was bought besides the job's own.
pub(super) async fn cancel_orphaned(
    ctx: &WorkflowContext<MediaGeneration>,
    prediction: &PredictionRef,
) {
    // No retry follows.
    let _ = execute_cancel(ctx, prediction).await;
}

async fn execute_cancel(
    ctx: &WorkflowContext<MediaGeneration>,
    prediction: &PredictionRef,
) -> Option<ProviderState> {
    let input = CancelGenerationInput {
        prediction: prediction.clone(),
    };
    let options = contract::cancel::options(&input);
    ctx.execute_activity(Activities::cancel_generation, input, options)
        .await
        .ok()
}
