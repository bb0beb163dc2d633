//! Moving outputs into the store: each in an activity of its own, a limited number at a time.

use std::{
    cell::RefCell,
    pin::{Pin, pin},
};

use futures::{FutureExt, future::FusedFuture};
use jiff::Timestamp;
use temporalio_workflow::{
    ActivityExecutionError, RetryState, WorkflowCancellationToken, WorkflowContext, join_all,
    select,
};

use super::{
    MediaGeneration,
    ending::Ending,
    progress::{enter, update},
    stop::Stop,
};
use crate::{
    contract::{self, Activities, persist::PersistInput},
    failure::{JobError, read_activity_failure},
    job::{MadeOutput, MediaOutcome, MediaStatus, OutputSource, ProviderState, Stage, timestamp},
};

/// Limit of pending `persist` activities: workers have fewer slots, and the server refuses a
/// workflow that has 2,000 pending activities.
const MAX_PENDING: usize = 256;

/// Outputs that were made and are to be stored.
pub(super) struct Made {
    inputs: Vec<PersistInput>,
    /// Reason that the job is not `completed` even if all of them are stored.
    shortcoming: Option<JobError>,
    expires_at: Option<Timestamp>,
}

impl Made {
    /// Returns the outputs of a prediction, except those that an earlier run has stored.
    pub(super) fn of(
        ctx: &WorkflowContext<MediaGeneration>,
        provider: &ProviderState,
        outputs: &[MadeOutput],
    ) -> Self {
        update(ctx, |job| {
            job.record_outputs(outputs, &provider.prediction.id);
        });
        Self::pending(ctx, provider, |index| {
            let position = usize::try_from(index).unwrap_or(usize::MAX);
            outputs.get(position).map(|output| output.source.clone())
        })
    }

    /// Returns the outputs that an earlier run left. Their sources were not kept, so they are read
    /// from the prediction again.
    pub(super) fn left(ctx: &WorkflowContext<MediaGeneration>, provider: &ProviderState) -> Self {
        Self::pending(ctx, provider, |_| Some(OutputSource::Prediction))
    }

    fn pending(
        ctx: &WorkflowContext<MediaGeneration>,
        provider: &ProviderState,
        source: impl Fn(u32) -> Option<OutputSource>,
    ) -> Self {
        ctx.state(|workflow| {
            let state = &workflow.state;
            let pending = state
                .media
                .iter()
                .filter(|media| media.status() == MediaStatus::Pending);
            let inputs = pending.filter_map(|media| {
                Some(PersistInput {
                    job_id: state.job_id,
                    tenant: state.tenant.clone(),
                    prediction: provider.prediction.clone(),
                    index: media.index,
                    name: media.name.clone(),
                    source: source(media.index)?,
                    output_format: state.request.output_format,
                    replace: state.retries.have_regenerated(),
                })
            });
            Self {
                inputs: inputs.collect(),
                shortcoming: provider.shortcoming(),
                expires_at: provider.expires_at,
            }
        })
    }
}

/// Persists all outputs, and returns when each has ended: a failure does not affect the others.
pub(super) async fn persist_all(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stopped: Pin<&mut impl FusedFuture<Output = Stop>>,
    made: Made,
) -> Ending {
    enter(ctx, Stage::Persisting);
    let scope = WorkflowCancellationToken::new();
    let at_a_time = made.inputs.len().min(MAX_PENDING);
    let left = RefCell::new(made.inputs.into_iter());
    let one_after_the_other = || async {
        loop {
            let next = left.borrow_mut().next();
            let Some(input) = next else { return };
            persist(ctx, input, made.expires_at, scope.clone()).await;
        }
    };
    let mut persists = pin!(join_all((0..at_a_time).map(|_| one_after_the_other())).fuse());
    let stop = select! {
        _ = persists => None,
        stop = stopped => {
            scope.cancel();
            persists.await;
            Some(stop)
        }
    };
    ctx.state(|workflow| Ending::of(&workflow.state.media, stop, made.shortcoming))
}

/// Persists an output, and records its outcome.
async fn persist(
    ctx: &WorkflowContext<MediaGeneration>,
    input: PersistInput,
    expires_at: Option<Timestamp>,
    scope: WorkflowCancellationToken,
) {
    let index = input.index;
    let count = ctx.state(|workflow| workflow.state.media.len());
    let now = ctx.workflow_time().map(timestamp);
    let options = contract::persist::options(&input, count, now, expires_at, scope);
    let outcome = match ctx
        .execute_activity(Activities::persist, input, options)
        .await
    {
        Ok(stored) => MediaOutcome::Completed(stored),
        Err(ActivityExecutionError::Cancelled(_)) => MediaOutcome::Canceled,
        // An attempt failed while the cancellation request was on its way to it.
        Err(ActivityExecutionError::Failed(failure))
            if failure.retry_state() == RetryState::CancelRequested =>
        {
            MediaOutcome::Canceled
        }
        Err(failure) => {
            let (error, attempts) = read_activity_failure(&failure);
            let error = error.truncated();
            MediaOutcome::Failed { error, attempts }
        }
    };
    update(ctx, |state| {
        if let Some(media) = state.media.iter_mut().find(|media| media.index == index) {
            media.outcome = outcome;
        }
    });
}
