//! Refusals of the provider, and how long a job keeps asking again.

use std::{pin::Pin, pin::pin, time::Duration};

use futures::{FutureExt, future::FusedFuture};
use jiff::Timestamp;
use temporalio_workflow::{TimerOptions, WorkflowCancellationToken, WorkflowContext, select};

use super::super::{
    MediaGeneration,
    ending::Ending,
    progress::now,
    stop::{self, Stop},
};
use crate::{
    contract::DAY,
    failure::{FailureType, JobError},
    job::ProviderState,
};

/// Longest backoff between two submissions if the provider does not say how long to wait.
const MAX_BACKOFF: Duration = Duration::from_mins(5);

/// Longest time to wait if the provider says so: its `Retry-After`, and the turns of other jobs
/// that it refused.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(15);

/// Refusals of the provider: their number, the time of the first, and the last one.
#[derive(Default)]
pub(super) struct Refusals {
    count: u32,
    since: Option<Timestamp>,
    last: Option<JobError>,
}

impl Refusals {
    /// Returns the last refusal.
    pub(super) fn last(&self) -> Option<&JobError> {
        self.last.as_ref()
    }

    /// Waits out the backoff before the next submission. Returns the prediction of an earlier one
    /// that shows up meanwhile.
    ///
    /// # Errors
    /// If a retry makes no sense, or the job is to stop: its ending.
    pub(super) async fn back_off(
        &mut self,
        ctx: &WorkflowContext<MediaGeneration>,
        mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
        mut shown: Pin<&mut impl FusedFuture<Output = ProviderState>>,
        error: JobError,
        retry_after: Option<Duration>,
    ) -> Result<Option<ProviderState>, Ending> {
        let since = *self.since.get_or_insert_with(|| now(ctx));
        let has_waited = Duration::try_from(now(ctx).duration_since(since)).unwrap_or_default();
        // A job with a deadline retries until the deadline.
        let waits = match retry_limit(error.kind) {
            Duration::ZERO => false,
            limit => stop::deadline(ctx).is_some() || has_waited < limit,
        };
        if !waits {
            return Err(Ending::Failed(error));
        }
        let growing = Duration::from_secs(1 << self.count.min(10)).min(MAX_BACKOFF);
        self.count += 1;
        self.last = Some(error.clone());
        let scope = WorkflowCancellationToken::new();
        let waiting = TimerOptions::builder(retry_after.unwrap_or(growing).min(MAX_RETRY_AFTER))
            .cancellation_token(scope.clone())
            .summary(format!("asks the provider again: {}", error.kind));
        let mut waiting = pin!(ctx.timer(waiting.build()).fuse());
        select! {
            state = shown => {
                scope.cancel();
                Ok(Some(state))
            }
            _ = waiting => Ok(None),
            stop = stop => {
                scope.cancel();
                Err(Ending::stopped_after(stop, &error))
            }
        }
    }
}

/// Longest time for which a job without a deadline retries after a refusal of this type; zero if it
/// does not.
fn retry_limit(kind: FailureType) -> Duration {
    match kind {
        // The operator's to fix, and not the job's fault: a token is replaced, a bill is paid.
        FailureType::ProviderUnauthorized | FailureType::ProviderInsufficientCredit => {
            Duration::from_hours(1)
        }
        FailureType::ProviderRateLimited
        | FailureType::ProviderUnavailable
        | FailureType::ProviderUnreadable
        | FailureType::StorageUnavailable
        | FailureType::StorageRejected
        | FailureType::Interrupted => DAY,
        _ => Duration::ZERO,
    }
}
