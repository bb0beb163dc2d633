//! What ends a job before it is done: a request to cancel it, or its own deadline.

use std::time::Duration;

use futures::{FutureExt, future::FusedFuture};
use temporalio_workflow::{TimerOptions, TimerResult, WorkflowContext, select};

use super::MediaGeneration;
use crate::{
    failure::{FailureType, JobError},
    job::timestamp,
};

/// Why a job ends early.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    Canceled,
    DeadlineExceeded,
}

/// Resolves when the job is to end early.
pub(super) fn stopped(
    ctx: &WorkflowContext<MediaGeneration>,
) -> impl FusedFuture<Output = Stop> + '_ {
    async move {
        let Some(left) = time_left(ctx) else {
            ctx.cancelled().await;
            return Stop::Canceled;
        };
        let mut deadline = ctx.timer(
            TimerOptions::builder(left)
                .summary("deadline".to_owned())
                .build(),
        );
        let mut canceled = std::pin::pin!(ctx.cancelled());
        select! {
            _ = canceled => Stop::Canceled,
            result = deadline => match result {
                TimerResult::Fired => Stop::DeadlineExceeded,
                TimerResult::Cancelled => Stop::Canceled,
            },
        }
    }
    .fuse()
}

pub(super) fn deadline_exceeded() -> JobError {
    JobError::new(
        FailureType::DeadlineExceeded,
        "the job was not done by its deadline",
    )
}

/// The time until the deadline, if there is one. A retry has as long as the first run had.
fn time_left(ctx: &WorkflowContext<MediaGeneration>) -> Option<Duration> {
    const LEAST: Duration = Duration::from_millis(1);
    let (deadline, accepted) = ctx.state(|workflow| {
        let state = &workflow.state;
        let accepted = if state.retry_count == 0 {
            Some(state.created_at)
        } else {
            state.started_at
        };
        (state.request.deadline_seconds, accepted)
    });
    let (allowed, accepted) = (deadline?.duration(), accepted?);
    let passed = ctx.workflow_time().map(timestamp)?.duration_since(accepted);
    Some(
        allowed
            .saturating_sub(Duration::try_from(passed).unwrap_or_default())
            .max(LEAST),
    )
}
