//! What ends a job before it is done, a request to cancel it or its own deadline, and what is left to do then: nothing is to
//! run at the provider that nobody waits for.

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

/// The shortest timer that there is.
const LEAST: Duration = Duration::from_millis(1);

/// Why a job ends early.
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
        let left = time_until(ctx, deadline).max(LEAST);
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

/// When the job's time is over, if it has a deadline. A retry has as long as the first run had.
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

/// Ends a job that is to stop while it is being submitted, by what is known of that.
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
                job.bought(ProviderState {
                    cancel_outcome: Some(outcome),
                    ..ended.state
                });
            });
            stop.into()
        }
        GenerateOutcome::Submitted { state, .. } => {
            let prediction = state.prediction.clone();
            update(ctx, |job| job.bought(state));
            cancel(ctx, &prediction).await;
            stop.into()
        }
        GenerateOutcome::Recorded(ended) => Ending::as_recorded(ctx, *ended),
        GenerateOutcome::InDoubt(doubt) => doubt::stop_in_doubt(ctx, stop, &doubt).await,
    }
}

/// Cancels the job's prediction unless it has ended, and notes what came of it.
pub(super) async fn cancel(ctx: &WorkflowContext<MediaGeneration>, prediction: &PredictionRef) {
    let canceled = execute_cancel(ctx, prediction).await;
    update(ctx, |job| match canceled {
        Some(state) => job.bought(state),
        None => {
            if let Some(provider) = &mut job.provider {
                provider.cancel_outcome = Some(CancelOutcome::Unknown);
            }
        }
    });
}

/// Cancels what was bought beside the job's own prediction: an earlier attempt told of it when another one had been bought.
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
        // Nothing is left to try after this.
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
