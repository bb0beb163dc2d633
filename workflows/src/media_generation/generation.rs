//! Obtaining the outputs: buying a prediction, unless there is one, and waiting for its end. While
//! the provider works, the job takes no slot of a worker between two polls. What a lost answer
//! means is decided here: `submit_repeatedly` and `settle`.
//!
//! - `submission`: one submission to the provider
//! - `refusals`: retries after refusals, with a backoff
//! - `waiting`: waits for the end of the prediction

mod refusals;
mod submission;
mod waiting;

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use futures::{FutureExt, future::FusedFuture};
use temporalio_workflow::WorkflowContext;

use self::{refusals::Refusals, submission::submit, waiting::wait};
use super::{
    MediaGeneration, Start, doubt,
    ending::Ending,
    persisting::Made,
    progress::{enter, update},
    stop::Stop,
};
use crate::{
    contract::generate::GenerateOutcome,
    failure::{FailureType, JobError},
    job::{Doubt, IfNotFound, MediaStatus, Prediction, PredictionRef, ProviderState, Stage},
};

/// Time to wait for a report before the prediction is polled without one.
const FIRST_POLL_DELAY: Duration = Duration::from_mins(5);

/// A prediction that was bought.
enum Bought {
    /// Prediction that was just submitted, and is not a quick one.
    Slow(ProviderState),
    /// Prediction that may or may not have ended.
    Found(PredictionRef),
    /// Prediction that has ended.
    Ended(Prediction),
}

/// Obtains the outputs, and returns what is to be stored.
pub(super) async fn obtain(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
) -> Result<Made, Ending> {
    let (start, resumed) = ctx.state(|workflow| {
        let resumed = workflow.state.provider.clone();
        (workflow.start, resumed)
    });
    let bought = match (start, resumed) {
        (Start::Resume, Some(provider)) => {
            let are_known = ctx.state(|workflow| {
                let state = &workflow.state;
                state.count(MediaStatus::Pending) + state.count(MediaStatus::Completed) > 0
            });
            if are_known && provider.status.is_terminal() {
                return Ok(Made::left(ctx, &provider));
            }
            Bought::Found(provider.prediction)
        }
        (Start::Resume, None) => return Err(Ending::Failed(nothing_to_resume())),
        (Start::Settle, _) => settle(ctx, stop.as_mut()).await?,
        (Start::New | Start::Regenerate, _) => buy(ctx, stop.as_mut(), start).await?,
    };
    outputs(ctx, stop, bought).await
}

/// Obtains the outputs of a prediction that was found after the job had failed without it.
pub(super) async fn resume(
    ctx: &WorkflowContext<MediaGeneration>,
    stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    state: ProviderState,
) -> Result<Made, Ending> {
    let bought = found(ctx, state);
    outputs(ctx, stop, bought).await
}

/// Waits for the end of a prediction.
async fn outputs(
    ctx: &WorkflowContext<MediaGeneration>,
    stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    bought: Bought,
) -> Result<Made, Ending> {
    let ended = match bought {
        Bought::Ended(ended) => ended,
        Bought::Slow(state) => {
            let prediction = state.prediction.clone();
            update(ctx, |job| job.record_purchase(state));
            wait(ctx, stop, &prediction, FIRST_POLL_DELAY).await?
        }
        Bought::Found(prediction) => wait(ctx, stop, &prediction, Duration::ZERO).await?,
    };
    update(ctx, |job| job.record_purchase(ended.state.clone()));
    match ended.made() {
        Ok(outputs) => Ok(Made::of(ctx, &ended.state, outputs)),
        Err(error) => Err(Ending::Failed(error)),
    }
}

/// Submits until the provider accepts the work, or refuses it for good. `unshown` are submissions
/// that no search has shown: one that shows up late is adopted.
async fn purchase(
    ctx: &WorkflowContext<MediaGeneration>,
    stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    mut unshown: Vec<Doubt>,
) -> Result<Bought, Ending> {
    let bought = submit_repeatedly(ctx, stop, &mut unshown).await;
    let Err(Ending::Failed(error)) = &bought else {
        return bought;
    };
    // It may have shown up while another one was searched for.
    if error.kind != FailureType::DeadlineExceeded
        && let Some(state) = doubt::bought_since(ctx, &unshown)
    {
        return Ok(found(ctx, state));
    }
    // A report or a retry may still find what it bought. A job that has a prediction needs none.
    let named = unshown
        .into_iter()
        .rfind(|doubt| doubt.submission_id.is_some());
    if let Some(last) = named
        && !has_prediction(ctx)
    {
        update(ctx, |job| _ = job.doubt.get_or_insert(last));
    }
    bought
}

fn has_prediction(ctx: &WorkflowContext<MediaGeneration>) -> bool {
    ctx.state(|workflow| workflow.state.provider.is_some())
}

async fn submit_repeatedly(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    unshown: &mut Vec<Doubt>,
) -> Result<Bought, Ending> {
    let (mut refusals, mut settled) = (Refusals::default(), None);
    loop {
        enter(ctx, Stage::Queued);
        if let Some(state) = doubt::bought_since(ctx, &*unshown) {
            return Ok(found(ctx, state));
        }
        let submitted = submit(
            ctx,
            stop.as_mut(),
            settled.clone(),
            unshown,
            refusals.last(),
        );
        let (error, retry_after) = match submitted.await? {
            GenerateOutcome::Ended(ended) => return Ok(Bought::Ended(ended)),
            GenerateOutcome::Submitted { state, is_slow } => {
                return Ok(if is_slow {
                    Bought::Slow(state)
                } else {
                    found(ctx, state)
                });
            }
            GenerateOutcome::Refused {
                error,
                retry_after_ms,
            } => (error, retry_after_ms.map(Duration::from_millis)),
            GenerateOutcome::Recorded(ended) => return Err(Ending::as_recorded(ctx, *ended)),
            GenerateOutcome::InDoubt(doubt) => {
                match doubt::reconcile(ctx, stop.as_mut(), &doubt).await? {
                    doubt::Settlement::Bought(state) => return Ok(found(ctx, state)),
                    doubt::Settlement::NotBought => {}
                    doubt::Settlement::NotShown if doubt.if_not_found == IfNotFound::Resubmit => {
                        unshown.push(doubt.clone());
                    }
                    doubt::Settlement::NotShown | doubt::Settlement::CannotTell => {
                        return Err(Ending::Failed(unknown()));
                    }
                }
                update(ctx, |job| job.doubt = None);
                settled = Some(doubt);
                (not_submitted(), None)
            }
        };
        enter(ctx, Stage::Queued);
        let shown = pin!(doubt::shows_up(ctx, unshown).fuse());
        let shown = refusals.back_off(ctx, stop.as_mut(), shown, error, retry_after);
        if let Some(state) = shown.await? {
            return Ok(found(ctx, state));
        }
    }
}

/// Searches once more for a submission that an earlier run left in doubt. Never submits.
async fn settle(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
) -> Result<Bought, Ending> {
    let Some(doubt) = ctx.state(|workflow| workflow.state.doubt.clone()) else {
        return Err(Ending::Failed(unknown()));
    };
    match doubt::reconcile(ctx, stop.as_mut(), &doubt).await? {
        doubt::Settlement::Bought(state) => Ok(found(ctx, state)),
        doubt::Settlement::NotBought => {
            update(ctx, |job| job.doubt = None);
            let detail = "the provider did not take the submission; nothing was bought";
            Err(Ending::Failed(JobError::new(
                FailureType::ProviderUnavailable,
                detail,
            )))
        }
        doubt::Settlement::NotShown | doubt::Settlement::CannotTell => {
            Err(Ending::Failed(unknown()))
        }
    }
}

/// Buys, unless the submission that an earlier run left in doubt shows up.
async fn buy(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    start: Start,
) -> Result<Bought, Ending> {
    let mut unshown = Vec::new();
    if let Some(doubt) = ctx.state(|workflow| workflow.state.doubt.clone()) {
        match doubt::reconcile(ctx, stop.as_mut(), &doubt).await? {
            doubt::Settlement::Bought(state) => return Ok(found(ctx, state)),
            doubt::Settlement::NotBought => {}
            // Only a caller who asks for it pays without knowing.
            doubt::Settlement::CannotTell if start != Start::Regenerate => {
                return Err(Ending::Failed(unknown()));
            }
            doubt::Settlement::NotShown | doubt::Settlement::CannotTell => unshown.push(doubt),
        }
        update(ctx, |job| job.doubt = None);
    }
    purchase(ctx, stop, unshown).await
}

fn found(ctx: &WorkflowContext<MediaGeneration>, state: ProviderState) -> Bought {
    let prediction = state.prediction.clone();
    update(ctx, |job| job.record_purchase(state));
    Bought::Found(prediction)
}

fn unknown() -> JobError {
    JobError::new(
        FailureType::SubmissionUnknown,
        "a submission was sent, its answer is lost, and the provider shows no prediction for this job; \
         nothing was submitted again, as that may cost twice",
    )
}

fn nothing_to_resume() -> JobError {
    JobError::new(
        FailureType::Internal,
        "the run was to resume a prediction, and the job has none",
    )
}

fn not_submitted() -> JobError {
    JobError::new(
        FailureType::ProviderUnavailable,
        "the provider did not take a submission",
    )
}
