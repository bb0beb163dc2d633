//! Early ends of a job, by a request to cancel it or by its deadline, and the cleanup they need: no
//! prediction is to keep running at the provider without a job that waits for it.

use std::time::Duration;

use futures::{FutureExt, future::FusedFuture};
use jiff::Timestamp;
use temporalio_workflow::{TimerOptions, TimerResult, WorkflowContext, select};

use super::{
    MediaGeneration, SubmissionOutcome, doubt,
    ending::Ending,
    progress::{time_until, update},
};
use crate::{
    contract::{self, Activities, cancel::CancelGenerationInput, generate::GenerateOutcome},
    job::{CancelOutcome, PredictionRef, PredictionStatus, ProviderState},
};

/// Shortest timer, one millisecond.
const MIN_TIMER: Duration = Duration::from_millis(1);

/// Reason that a job ends early.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    Canceled,
    DeadlineExceeded,
}

/// Resolves when the job is to end early.
pub(super) fn requested(
    ctx: &WorkflowContext<MediaGeneration>,
) -> impl FusedFuture<Output = Stop> + '_ {
    async move {
        let Some(deadline) = deadline(ctx) else {
            ctx.cancelled().await;
            return Stop::Canceled;
        };
        let left = time_until(ctx, deadline).max(MIN_TIMER);
        let mut passed = ctx.timer(
            TimerOptions::builder(left)
                .summary("deadline".to_owned())
                .build(),
        );
        let mut canceled = std::pin::pin!(ctx.cancelled());
        select! {
            _ = canceled => Stop::Canceled,
            result = passed => match result {
                TimerResult::Fired => Stop::DeadlineExceeded,
                TimerResult::Cancelled => Stop::Canceled,
            },
        }
    }
    .fuse()
}

/// Returns the deadline of the job, if it has one. A retry gets as much time as the first run.
pub(super) fn deadline(ctx: &WorkflowContext<MediaGeneration>) -> Option<Timestamp> {
    ctx.state(|workflow| {
        let state = &workflow.state;
        let accepted = if state.retry_count == 0 {
            Some(state.created_at)
        } else {
            state.started_at
        };
        accepted?
            .checked_add(state.request.deadline_seconds?.duration())
            .ok()
    })
}

/// Ends a job that is to stop during its submission, as the outcome of the submission requires.
pub(super) async fn stop_generation(
    ctx: &WorkflowContext<MediaGeneration>,
    stop: Stop,
    known: GenerateOutcome,
) -> Ending {
    match known {
        GenerateOutcome::Refused { error, .. } => Ending::stopped_after(stop, &error),
        GenerateOutcome::Ended(ended) => {
            let outcome = match ended.state.status {
                PredictionStatus::Canceled | PredictionStatus::Aborted => CancelOutcome::Canceled,
                _ => CancelOutcome::TooLate,
            };
            update(ctx, |job| {
                job.record_purchase(ProviderState {
                    cancel_outcome: Some(outcome),
                    ..ended.state
                });
            });
            stop.into()
        }
        GenerateOutcome::Submitted { state, .. } => {
            let prediction = state.prediction.clone();
            update(ctx, |job| job.record_purchase(state));
            cancel(ctx, &prediction).await;
            stop.into()
        }
        GenerateOutcome::Recorded(ended) => Ending::as_recorded(ctx, *ended),
        GenerateOutcome::InDoubt(doubt) => doubt::stop_in_doubt(ctx, stop, &doubt).await,
    }
}

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

/// Cancels predictions that were bought besides the job's own: an earlier attempt reported its
/// purchase after another one had been made.
pub(super) async fn cancel_strays(ctx: &WorkflowContext<MediaGeneration>) {
    let strays = ctx.state_mut(|workflow| {
        let ours = workflow
            .state
            .provider
            .as_ref()
            .map(|state| state.prediction.id.clone());
        let settled = std::mem::take(&mut workflow.settled);
        let strays = settled
            .into_iter()
            .filter_map(|settled| match settled.outcome {
                SubmissionOutcome::Bought(state) if Some(&state.prediction.id) != ours.as_ref() => {
                    Some(state.prediction)
                }
                _ => None,
            });
        strays.collect::<Vec<_>>()
    });
    for stray in strays {
        // No retry follows.
        let _ = execute_cancel(ctx, &stray).await;
    }
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
