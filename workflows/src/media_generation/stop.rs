//! Early ends of a job, by a request to cancel it or by its deadline. Canceling its prediction is
//! in `cancellation`.

use std::time::Duration;

use futures::{FutureExt, future::FusedFuture};
use jiff::Timestamp;
use temporalio_workflow::{TimerOptions, TimerResult, WorkflowContext, select};

use super::{MediaGeneration, progress::time_until};

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
