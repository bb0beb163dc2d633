//! Getting outputs out of the provider: by waiting for `generate`, by the provider's own report that it is done, or by
//! stopping it in time.

use std::pin::{Pin, pin};

use futures::{FutureExt, future::FusedFuture};
use temporalio_workflow::{
    ActivityExecutionError, WaitConditionOptions, WorkflowCancellationToken, WorkflowContext,
    select,
};

use super::{Ending, MediaGeneration, PredictionReport, Stop, update};
use crate::{
    contract::{
        self, Activities, CancelGenerationInput, CanceledGeneration, CollectInput,
        GenerateCheckpoint, GenerateInput, GenerateOutcome, Generation,
    },
    failure::read_activity_failure,
    job::{CancelOutcome, PredictionStatus, ProviderState, Stage},
};

type Generated = Result<GenerateOutcome, ActivityExecutionError>;

/// Has the outputs made.
pub(super) async fn generate(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stopped: Pin<&mut impl FusedFuture<Output = Stop>>,
) -> Result<Generation, Ending> {
    let run_id = Some(ctx.info().first_execution_run_id().to_owned());
    let input = update(ctx, |state| {
        state.stage = Some(Stage::Generating);
        GenerateInput {
            job_id: state.job_id.clone(),
            request: state.request.clone(),
            since: state
                .in_doubt_since
                .or(state.started_at)
                .unwrap_or(state.created_at),
            run_id,
            is_in_doubt: state.in_doubt_since.is_some(),
        }
    });
    let scope = WorkflowCancellationToken::new();
    let options = contract::generate_options(&input.request, scope.clone());
    let mut generating = pin!(ctx.execute_activity(Activities::generate, input, options));
    let mut collecting = pin!(collect(ctx, scope.clone()).fuse());
    select! {
        generated = generating => conclude(ctx, generated).await,
        // generate still waits, finds the same end at its next look, and nobody listens any more.
        collected = collecting => collected.map_err(|failure| Ending::Failed(read_activity_failure(&failure).0)),
        stop = stopped => {
            let checkpoint = inspect(ctx).await.unwrap_or(GenerateCheckpoint::Submitting);
            scope.cancel();
            let generated = generating.await;
            Err(stop_generation(ctx, stop, checkpoint, generated).await)
        }
    }
}

async fn conclude(
    ctx: &WorkflowContext<MediaGeneration>,
    generated: Generated,
) -> Result<Generation, Ending> {
    match generated {
        Ok(GenerateOutcome::Generated(generation)) => Ok(generation),
        Ok(GenerateOutcome::Canceled(canceled)) => {
            note_canceled(ctx, canceled);
            Err(Ending::Canceled)
        }
        Err(ActivityExecutionError::Cancelled(_)) => Err(Ending::Canceled),
        Err(failure) => {
            // Nobody watches the prediction any more.
            if let Some(timeout) = failure.as_timeout() {
                let recorded = timeout
                    .last_heartbeat_details::<GenerateCheckpoint>()
                    .ok()
                    .flatten();
                clean_up(ctx, recorded.unwrap_or(GenerateCheckpoint::Submitting)).await;
            }
            Err(Ending::Failed(read_activity_failure(&failure).0))
        }
    }
}

/// Reads the ended prediction as soon as the provider reports its end, instead of waiting for the next poll. The report
/// itself only says when.
async fn collect(
    ctx: &WorkflowContext<MediaGeneration>,
    scope: WorkflowCancellationToken,
) -> Result<Generation, ActivityExecutionError> {
    loop {
        let PredictionReport { prediction_id, .. } = wait_for_report(ctx).await;
        // A late report of an earlier prediction, or one of another job, is none of ours.
        let is_ours = matches!(
            inspect(ctx).await,
            Some(GenerateCheckpoint::Submitted { prediction_id: ours, .. }) if ours == prediction_id
        );
        if is_ours {
            let input = CollectInput { prediction_id };
            return ctx
                .execute_activity(Activities::collect, input, contract::collect_options(scope))
                .await;
        }
    }
}

/// Whether the workflow is canceled meanwhile is for the caller to see.
async fn wait_for_report(ctx: &WorkflowContext<MediaGeneration>) -> PredictionReport {
    loop {
        let detached = WaitConditionOptions::builder()
            .cancellation_token(WorkflowCancellationToken::new())
            .build();
        let waited = ctx
            .wait_condition_with_options(|workflow| workflow.report.is_some(), detached)
            .await;
        if let (Ok(()), Some(report)) = (waited, ctx.state_mut(|workflow| workflow.report.take())) {
            return report;
        }
    }
}

/// Not a local activity, whose end a query may tell of in a later task than its marker: what comes in between would be
/// replayed in another order.
async fn inspect(ctx: &WorkflowContext<MediaGeneration>) -> Option<GenerateCheckpoint> {
    let inspected = if ctx.patched("inspect-remotely") {
        ctx.execute_activity(Activities::inspect, (), contract::inspect_options())
            .await
    } else {
        ctx.execute_local_activity(Activities::inspect, (), contract::inspect_locally_options())
            .await
    };
    inspected.ok().flatten()
}

/// Sees to it that a canceled `generate` leaves nothing running at the provider, and notes what came of it.
async fn stop_generation(
    ctx: &WorkflowContext<MediaGeneration>,
    stop: Stop,
    checkpoint: GenerateCheckpoint,
    generated: Generated,
) -> Ending {
    match generated {
        Ok(GenerateOutcome::Canceled(canceled)) => note_canceled(ctx, canceled),
        Ok(GenerateOutcome::Generated(Generation {
            provider,
            prediction_id,
            ..
        })) => {
            let (status, cancel_outcome) = (PredictionStatus::Succeeded, CancelOutcome::TooLate);
            note_canceled(
                ctx,
                CanceledGeneration {
                    provider,
                    prediction_id,
                    status,
                    cancel_outcome,
                },
            );
        }
        // It could not say: its worker is gone, or it never ran. It may have done more than what was read.
        Err(_) => clean_up(ctx, checkpoint).await,
    }
    stop.into()
}

async fn clean_up(ctx: &WorkflowContext<MediaGeneration>, checkpoint: GenerateCheckpoint) {
    let (job_id, since) = ctx.state(|MediaGeneration { state, .. }| {
        (
            state.job_id.clone(),
            state
                .in_doubt_since
                .or(state.started_at)
                .unwrap_or_default(),
        )
    });
    let submitted = match &checkpoint {
        GenerateCheckpoint::Submitted {
            provider,
            prediction_id,
        } => Some((provider.clone(), prediction_id.clone())),
        _ => None,
    };
    let input = CancelGenerationInput {
        job_id,
        checkpoint,
        since,
    };
    let options = contract::cancel_generation_options();
    match ctx
        .execute_activity(Activities::cancel_generation, input, options)
        .await
    {
        Ok(Some(canceled)) => note_canceled(ctx, canceled),
        Ok(None) => {}
        Err(_) => {
            if let Some((provider, prediction_id)) = submitted {
                let (status, cancel_outcome) =
                    (PredictionStatus::Processing, CancelOutcome::Unknown);
                note_canceled(
                    ctx,
                    CanceledGeneration {
                        provider,
                        prediction_id,
                        status,
                        cancel_outcome,
                    },
                );
            }
        }
    }
}

fn note_canceled(ctx: &WorkflowContext<MediaGeneration>, canceled: CanceledGeneration) {
    let CanceledGeneration {
        provider,
        prediction_id,
        status,
        cancel_outcome,
    } = canceled;
    update(ctx, |state| {
        let provider = ProviderState::new(provider, prediction_id, status);
        state.provider = Some(ProviderState {
            cancel_outcome: Some(cancel_outcome),
            ..provider
        });
        state.in_doubt_since = None;
    });
}
