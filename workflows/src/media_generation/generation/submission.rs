//! One submission to the provider, and what is known of it however its activity ended.

use std::{pin::Pin, pin::pin, time::Duration};

use futures::{FutureExt, future::FusedFuture};
use jiff::Timestamp;
use temporalio_workflow::{
    ActivityExecutionError, WorkflowCancellationToken, WorkflowContext, common::error::TimeoutType,
    select,
};

use super::super::{
    MediaGeneration, PROVIDER, Start, cancellation, doubt,
    ending::Ending,
    progress::{now, time_until, update},
    stop::{self, Stop},
};
use crate::{
    contract::{
        self, Activities, DAY,
        generate::{GenerateInput, GenerateOutcome, GenerateRecord},
    },
    failure::{FailureType, JobError, read_activity_failure},
    job::{CancelOutcome, Doubt, DoubtCause, IfNotFound, Prediction, ProviderState},
};

/// Submits once, unless a submission that no search has shown shows up before.
///
/// # Errors
/// If the job is to stop: its ending.
pub(super) async fn submit(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    settled: Option<Doubt>,
    unshown: &[Doubt],
    last: Option<&JobError>,
) -> Result<GenerateOutcome, Ending> {
    /// Margin after the deadline: the deadline itself ends the job, and the activity is not to time
    /// out at the same moment.
    const MARGIN: Duration = Duration::from_mins(1);
    let deadline = stop::deadline(ctx);
    let time_left = deadline.map_or(DAY, |deadline| time_until(ctx, deadline) + MARGIN);
    let began = now(ctx);
    let input = ctx.state(|workflow| GenerateInput {
        job_id: workflow.state.job_id,
        request: workflow.state.request.clone(),
        since: match workflow.start {
            // Predictions that an earlier run bought do not count.
            Start::Regenerate => workflow.state.started_at.unwrap_or(began),
            Start::New | Start::Resume | Start::Settle => workflow.state.created_at,
        },
        retry_count: workflow.state.retry_count,
        settled,
        deadline,
        first_run_id: ctx.info().first_execution_run_id().to_owned(),
    });
    let scope = WorkflowCancellationToken::new();
    let had_its_turn = last.is_some_and(|last| last.kind == FailureType::ProviderRateLimited);
    let options = contract::generate::options(
        PROVIDER,
        &input.request,
        time_left,
        had_its_turn,
        scope.clone(),
    );
    let mut generating = pin!(ctx.execute_activity(Activities::generate, input, options));
    // A doubt without an id would also be settled by a report of the submission that is made here.
    let named = unshown
        .iter()
        .filter(|doubt| doubt.submission_id.is_some())
        .cloned()
        .collect::<Vec<_>>();
    let mut shown = pin!(doubt::shows_up(ctx, &named).fuse());
    select! {
        result = generating => Ok(outcome(ctx, result, began)),
        state = shown => {
            scope.cancel();
            let known = outcome(ctx, generating.await, began);
            Ok(adopt(ctx, state, known).await)
        }
        stop = stop => {
            scope.cancel();
            let known = match (outcome(ctx, generating.await, began), last) {
                // An attempt that was interrupted in the queue says nothing of the provider; the
                // refusal before it is the reason.
                (GenerateOutcome::Refused { error, .. }, Some(last))
                    if error.kind == FailureType::Interrupted =>
                {
                    GenerateOutcome::Refused {
                        error: last.clone(),
                        retry_after_ms: None,
                    }
                }
                (known, _) => known,
            };
            Err(end(ctx, stop, known).await)
        }
    }
}

/// Returns the outcome of a submission during which an earlier one has shown up. If both were
/// accepted, the job keeps the later one, whose outcome is known.
async fn adopt(
    ctx: &WorkflowContext<MediaGeneration>,
    state: ProviderState,
    known: GenerateOutcome,
) -> GenerateOutcome {
    match &known {
        GenerateOutcome::Ended(Prediction { state: later, .. })
        | GenerateOutcome::Submitted { state: later, .. }
            if later.prediction == state.prediction =>
        {
            return known;
        }
        GenerateOutcome::Ended(_)
        | GenerateOutcome::Submitted { .. }
        | GenerateOutcome::Recorded(_) => {
            cancellation::cancel_orphaned(ctx, &state.prediction).await;
            return known;
        }
        GenerateOutcome::InDoubt(doubt) => doubt::cancel_what_it_bought(ctx, doubt).await,
        GenerateOutcome::Refused { .. } => {}
    }
    GenerateOutcome::Submitted {
        state,
        is_slow: false,
    }
}

/// Ends a job that is to stop during its submission, as the outcome of the submission requires.
async fn end(ctx: &WorkflowContext<MediaGeneration>, stop: Stop, known: GenerateOutcome) -> Ending {
    match known {
        GenerateOutcome::Refused { error, .. } => Ending::stopped_after(stop, &error),
        GenerateOutcome::Ended(ended) => {
            let outcome = CancelOutcome::of(ended.state.status);
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
            cancellation::cancel(ctx, &prediction).await;
            stop.into()
        }
        GenerateOutcome::Recorded(ended) => Ending::as_recorded(ctx, *ended),
        GenerateOutcome::InDoubt(doubt) => doubt::stop_in_doubt(ctx, stop, &doubt).await,
    }
}

/// Returns what is known of a submission, however its activity ended.
fn outcome(
    ctx: &WorkflowContext<MediaGeneration>,
    result: Result<GenerateOutcome, ActivityExecutionError>,
    began: Timestamp,
) -> GenerateOutcome {
    let refused = |kind, detail: String| GenerateOutcome::Refused {
        error: JobError::new(kind, detail),
        retry_after_ms: None,
    };
    let died_after_submitting = || {
        GenerateOutcome::InDoubt(Doubt {
            submission_id: None,
            since: began,
            until: now(ctx),
            clock_skew_ms: None,
            cause: DoubtCause::Interrupted,
            search_seconds: 15 * 60,
            if_not_found: IfNotFound::Fail,
        })
    };
    let failure = match result {
        Ok(outcome) => return outcome,
        // The activity had not started.
        Err(ActivityExecutionError::Cancelled(_)) => {
            return refused(
                FailureType::Interrupted,
                "it was never submitted".to_owned(),
            );
        }
        Err(failure) => failure,
    };
    let Some(timeout) = failure.as_timeout() else {
        return died_after_submitting();
    };
    match timeout.last_heartbeat_details::<GenerateRecord>() {
        Ok(Some(GenerateRecord::Submitted(state))) => GenerateOutcome::Submitted {
            state,
            is_slow: false,
        },
        Ok(Some(GenerateRecord::Submitting(doubt))) => GenerateOutcome::InDoubt(doubt),
        Ok(Some(GenerateRecord::Refused)) => refused(
            FailureType::Interrupted,
            "the worker that asked the provider is gone".to_owned(),
        ),
        // The activity was queued for all of its time.
        Ok(None)
            if matches!(
                timeout.timeout_type(),
                TimeoutType::ScheduleToStart | TimeoutType::ScheduleToClose
            ) =>
        {
            refused(
                FailureType::TimedOut,
                read_activity_failure(&failure).0.detail,
            )
        }
        // An attempt records a submission before it sends it, so nothing was sent.
        Ok(None) => refused(
            FailureType::Interrupted,
            "the worker that was to ask the provider is gone".to_owned(),
        ),
        Err(_) => died_after_submitting(),
    }
}
