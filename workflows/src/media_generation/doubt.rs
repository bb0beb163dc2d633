//! Settling a submission in doubt. It is searched for until it is found, proven not to have been
//! accepted, or time is up. A report of the provider, or a signal of the attempt that sent it,
//! settles it at any time. `generation` calls this when an answer is lost, and decides what
//! follows.

use std::{pin::Pin, pin::pin, time::Duration};

use futures::{FutureExt, future::FusedFuture};
use temporalio_workflow::{
    TimerOptions, WaitConditionOptions, WorkflowCancellationToken, WorkflowContext, select,
};

use super::{
    MediaGeneration, PROVIDER, SubmissionOutcome, cancellation,
    ending::Ending,
    progress::{enter, time_until, update},
    stop::Stop,
};
use crate::{
    contract::{
        self, Activities, DAY,
        find::{FindInput, FindOutcome},
    },
    job::{Doubt, PredictionRef, PredictionStatus, ProviderState, Stage},
};

/// Time for which a job searches for what it is not to keep, so that it is canceled as well.
const SEARCH_BEFORE_STOP: Duration = Duration::from_mins(1);

/// Timeout of each search but the last.
const SEARCH_TIMEOUT: Duration = Duration::from_mins(1);

/// Result of settling a doubt.
pub(super) enum Settlement {
    /// Prediction that the provider has.
    Bought(ProviderState),
    /// Submission that the provider did not accept.
    NotBought,
    /// Submission that the provider did not show for as long as it was searched for.
    NotShown,
    /// Search that is impossible or failed.
    CannotTell,
}

/// Searches for a submission for as long as it may still show up.
///
/// # Errors
/// If the job is to stop: its ending.
pub(super) async fn reconcile(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    doubt: &Doubt,
) -> Result<Settlement, Ending> {
    enter(ctx, Stage::Reconciling);
    update(ctx, |job| job.doubt = Some(doubt.clone()));
    let scope = WorkflowCancellationToken::new();
    let mut searching = pin!(search(ctx, doubt, Duration::MAX, scope.clone()).fuse());
    select! {
        settlement = searching => Ok(settlement),
        stop = stop => {
            scope.cancel();
            Err(stop_in_doubt(ctx, stop, doubt).await)
        }
    }
}

/// Ends a job that is to stop while its submission is in doubt. If the submission shows up within
/// the first minute, its prediction is canceled; otherwise it stays in doubt.
pub(super) async fn stop_in_doubt(
    ctx: &WorkflowContext<MediaGeneration>,
    stop: Stop,
    doubt: &Doubt,
) -> Ending {
    enter(ctx, Stage::Reconciling);
    update(ctx, |job| job.doubt = Some(doubt.clone()));
    let scope = WorkflowCancellationToken::new();
    match search(ctx, doubt, SEARCH_BEFORE_STOP, scope).await {
        Settlement::Bought(state) => {
            let prediction = state.prediction.clone();
            update(ctx, |job| job.record_purchase(state));
            cancellation::cancel(ctx, &prediction).await;
        }
        Settlement::NotBought => update(ctx, |job| job.doubt = None),
        Settlement::NotShown | Settlement::CannotTell => {}
    }
    stop.into()
}

/// Searches for a submission that the job no longer needs, and cancels what it bought.
pub(super) async fn cancel_what_it_bought(ctx: &WorkflowContext<MediaGeneration>, doubt: &Doubt) {
    let scope = WorkflowCancellationToken::new();
    if let Settlement::Bought(state) = search(ctx, doubt, SEARCH_BEFORE_STOP, scope).await {
        cancellation::cancel_orphaned(ctx, &state.prediction).await;
    }
}

/// Returns the prediction of a submission that no search has shown, if a report or a signal has
/// named it since.
pub(super) fn bought_since<'a>(
    ctx: &WorkflowContext<MediaGeneration>,
    unshown: impl IntoIterator<Item = &'a Doubt>,
) -> Option<ProviderState> {
    unshown
        .into_iter()
        .find_map(|doubt| match take_settlement(ctx, doubt)? {
            Settlement::Bought(state) => Some(state),
            Settlement::NotBought | Settlement::NotShown | Settlement::CannotTell => None,
        })
}

/// Resolves when a report or a signal names the prediction of a submission that no search has
/// shown.
pub(super) async fn shows_up(
    ctx: &WorkflowContext<MediaGeneration>,
    unshown: &[Doubt],
) -> ProviderState {
    loop {
        if let Some(state) = bought_since(ctx, unshown) {
            return state;
        }
        let of = unshown.to_vec();
        until(ctx, move |workflow| {
            of.iter().any(|doubt| workflow.settles(doubt))
        })
        .await;
    }
}

/// Runs the searches. Those later than `horizon` are left out, but at least one is made.
async fn search(
    ctx: &WorkflowContext<MediaGeneration>,
    doubt: &Doubt,
    horizon: Duration,
    scope: WorkflowCancellationToken,
) -> Settlement {
    let (mut can_tell, mut last) = (true, Settlement::CannotTell);
    let delays = doubt.search_delays();
    let due = |delay: &Duration| time_until(ctx, doubt.until + *delay);
    // Several overdue searches are made as one.
    let overdue = delays.iter().filter(|delay| due(delay).is_zero()).count();
    for delay in delays.iter().skip(overdue.saturating_sub(1)) {
        if *delay > horizon && !due(delay).is_zero() {
            break;
        }
        let wait = due(delay);
        let mut settled = pin!(settlement(ctx, doubt).fuse());
        if !wait.is_zero() {
            let waiting = TimerOptions::builder(wait)
                .cancellation_token(scope.clone())
                .summary("search for the submission".to_owned());
            let mut waiting = pin!(ctx.timer(waiting.build()).fuse());
            select! {
                settlement = settled => {
                    scope.cancel();
                    return settlement;
                }
                _ = waiting => {}
            }
        }
        if !can_tell {
            continue;
        }
        let input = FindInput {
            job_id: ctx.state(|workflow| workflow.state.job_id),
            doubt: doubt.clone(),
        };
        // The last search must get an answer, so it is retried for a day, unless the job is to
        // stop. The others are followed by another one.
        let is_last = Some(delay) == delays.last();
        let time = if is_last && horizon == Duration::MAX {
            DAY
        } else {
            SEARCH_TIMEOUT
        };
        let options = contract::find::options(PROVIDER, time, scope.clone());
        let mut finding = pin!(ctx.execute_activity(Activities::find, input, options));
        let found = select! {
            settlement = settled => {
                scope.cancel();
                return settlement;
            }
            found = finding => found,
        };
        match found {
            Ok(FindOutcome::Found(state)) => return Settlement::Bought(state),
            // A report of the provider may still come.
            Ok(FindOutcome::CannotTell) => (can_tell, last) = (false, Settlement::CannotTell),
            Ok(FindOutcome::NotShown) => last = Settlement::NotShown,
            Err(_) => last = Settlement::CannotTell,
        }
    }
    take_settlement(ctx, doubt).unwrap_or(last)
}

/// Resolves when a report or a signal settles the doubt.
async fn settlement(ctx: &WorkflowContext<MediaGeneration>, doubt: &Doubt) -> Settlement {
    loop {
        if let Some(settlement) = take_settlement(ctx, doubt) {
            return settlement;
        }
        let of = doubt.clone();
        until(ctx, move |workflow| workflow.settles(&of)).await;
    }
}

/// Waits for a condition, also while the workflow is canceled.
async fn until(
    ctx: &WorkflowContext<MediaGeneration>,
    condition: impl FnMut(&MediaGeneration) -> bool + 'static,
) {
    let detached = WaitConditionOptions::builder()
        .cancellation_token(WorkflowCancellationToken::new())
        .build();
    let _ = ctx.wait_condition_with_options(condition, detached).await;
}

fn take_settlement(ctx: &WorkflowContext<MediaGeneration>, doubt: &Doubt) -> Option<Settlement> {
    ctx.state_mut(|workflow| {
        let position = workflow
            .settled
            .iter()
            .position(|settled| doubt.is_of(&settled.submission_id));
        if let Some(position) = position {
            return Some(match workflow.settled.remove(position).outcome {
                SubmissionOutcome::Bought(state) => Settlement::Bought(state),
                SubmissionOutcome::NotBought => Settlement::NotBought,
            });
        }
        // The report stays in `reports`, where it triggers the poll of the prediction.
        let report = workflow.report_of(doubt)?;
        let prediction = PredictionRef::new(PROVIDER, report.prediction_id.clone());
        Some(Settlement::Bought(ProviderState::new(
            prediction,
            PredictionStatus::Processing,
        )))
    })
}

impl MediaGeneration {
    fn settles(&self, doubt: &Doubt) -> bool {
        let mut settled = self.settled.iter();
        settled.any(|settled| doubt.is_of(&settled.submission_id))
            || self.report_of(doubt).is_some()
    }

    /// Returns a report of the submission. Reports of an earlier generation's prediction do not
    /// count.
    fn report_of(&self, doubt: &Doubt) -> Option<&super::PredictionReport> {
        let earlier = self
            .state
            .provider
            .as_ref()
            .map(|state| &state.prediction.id);
        self.reports.values().find(|report| {
            doubt.is_of(&report.submission_id) && Some(&report.prediction_id) != earlier
        })
    }
}
