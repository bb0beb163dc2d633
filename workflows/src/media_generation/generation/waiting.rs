//! Waiting for the end of a prediction: for the provider's report, or until a poll finds it ended.

use std::{pin::Pin, pin::pin, time::Duration};

use futures::{FutureExt, future::FusedFuture};
use temporalio_workflow::{
    ActivityExecutionError, TimerOptions, WaitConditionOptions, WorkflowCancellationToken,
    WorkflowContext, select,
};

use super::super::{MediaGeneration, cancellation, ending::Ending, progress::enter, stop::Stop};
use crate::{
    contract::{
        self, Activities,
        collect::{CollectInput, CollectOutcome, PollReason},
    },
    failure::read_activity_failure,
    job::{Prediction, PredictionId, PredictionRef, Stage},
};

/// Waits for the end of a prediction. A report only says when to poll.
///
/// # Errors
/// If the prediction cannot be read, or the job is to stop: the job's ending.
pub(super) async fn wait(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    prediction: &PredictionRef,
    first_poll_delay: Duration,
) -> Result<Prediction, Ending> {
    enter(ctx, Stage::Generating);
    loop {
        // Removed before the poll is scheduled: a later report may be of something that the poll
        // has not seen.
        let is_reported = ctx
            .state_mut(|workflow| workflow.reports.remove(&prediction.id))
            .is_some();
        let occasion = match is_reported {
            true => PollReason::Reported,
            false if ctx.state(|workflow| workflow.expects_reports) => PollReason::BesideReports,
            false => PollReason::Polled,
        };
        let scope = WorkflowCancellationToken::new();
        let mut polling =
            pin!(poll(ctx, prediction, occasion, first_poll_delay, scope.clone()).fuse());
        let mut reported = pin!(report(ctx, &prediction.id, occasion).fuse());
        select! {
            found = polling => return match found {
                Ok(CollectOutcome::Ended(ended)) => Ok(ended),
                Ok(CollectOutcome::Lost { error }) => {
                    cancellation::cancel(ctx, prediction).await;
                    Err(Ending::Failed(error))
                }
                Err(failure) => {
                    cancellation::cancel(ctx, prediction).await;
                    Err(Ending::Failed(read_activity_failure(&failure).0))
                }
            },
            () = reported => scope.cancel(),
            stop = stop => {
                scope.cancel();
                cancellation::cancel(ctx, prediction).await;
                return Err(stop.into());
            }
        }
    }
}

async fn poll(
    ctx: &WorkflowContext<MediaGeneration>,
    prediction: &PredictionRef,
    occasion: PollReason,
    first_poll_delay: Duration,
    scope: WorkflowCancellationToken,
) -> Result<CollectOutcome, ActivityExecutionError> {
    if occasion == PollReason::BesideReports && !first_poll_delay.is_zero() {
        let waiting = TimerOptions::builder(first_poll_delay)
            .cancellation_token(scope.clone())
            .summary("a report of the provider's".to_owned());
        ctx.timer(waiting.build()).await;
    }
    let input = CollectInput {
        prediction: prediction.clone(),
        occasion,
    };
    let options = contract::collect::options(&input, scope);
    ctx.execute_activity(Activities::collect, input, options)
        .await
}

/// Resolves when the provider reports the end of a prediction that is polled without a report.
/// Never resolves after a report: the prediction is then polled until it has ended.
async fn report(ctx: &WorkflowContext<MediaGeneration>, id: &PredictionId, occasion: PollReason) {
    if occasion == PollReason::Reported {
        return futures::future::pending().await;
    }
    // The caller handles a cancellation of the workflow.
    let detached = WaitConditionOptions::builder()
        .cancellation_token(WorkflowCancellationToken::new())
        .build();
    let id = id.clone();
    let _ = ctx
        .wait_condition_with_options(move |workflow| workflow.reports.contains_key(&id), detached)
        .await;
}
