//! A submission whose answer is lost: it is looked for, until it is found, shown not to have been taken, or time is up. The
//! provider's report, or word of the attempt that sent it, settles it at any moment.

use std::{pin::Pin, pin::pin, time::Duration};

use futures::{FutureExt, future::FusedFuture};
use temporalio_workflow::{
    TimerOptions, WaitConditionOptions, WorkflowCancellationToken, WorkflowContext, select,
};

use super::{
    MediaGeneration, SubmissionOutcome,
    ending::Ending,
    generation::PROVIDER,
    progress::{enter, time_until, update},
    stop::{self, Stop},
};
use crate::{
    contract::{
        self, Activities, DAY,
        find::{FindInput, FindOutcome},
    },
    job::{Doubt, PredictionRef, PredictionStatus, ProviderState, Stage},
};

/// How long a job that is to stop goes on looking, so that what it bought is stopped as well.
const LOOKS_BEFORE_STOP: Duration = Duration::from_mins(1);

/// How long a look may take that is not the last.
const LONGEST_LOOK: Duration = Duration::from_mins(1);

/// What is known of a submission after all.
pub(super) enum Settlement {
    /// The provider has it.
    Bought(ProviderState),
    /// The provider does not have it.
    NotBought,
    /// The provider did not show it for as long as it was looked for.
    NotShown,
    /// Nobody could look.
    CannotTell,
}

/// Looks for a submission for as long as it may still show.
///
/// # Errors
/// How the job ends, if it is to stop.
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

/// Ends a job that is to stop while a submission of it is in doubt: what shows up within the first minute is canceled, and
/// what does not stays in doubt.
pub(super) async fn stop_in_doubt(
    ctx: &WorkflowContext<MediaGeneration>,
    stop: Stop,
    doubt: &Doubt,
) -> Ending {
    enter(ctx, Stage::Reconciling);
    update(ctx, |job| job.doubt = Some(doubt.clone()));
    let scope = WorkflowCancellationToken::new();
    match search(ctx, doubt, LOOKS_BEFORE_STOP, scope).await {
        Settlement::Bought(state) => {
            let prediction = state.prediction.clone();
            update(ctx, |job| job.bought(state));
            stop::cancel(ctx, &prediction).await;
        }
        Settlement::NotBought => update(ctx, |job| job.doubt = None),
        Settlement::NotShown | Settlement::CannotTell => {}
    }
    stop.into()
}

/// Looks that are later than `horizon` are left out, but one is always made.
async fn search(
    ctx: &WorkflowContext<MediaGeneration>,
    doubt: &Doubt,
    horizon: Duration,
    scope: WorkflowCancellationToken,
) -> Settlement {
    let (mut can_tell, mut last) = (true, Settlement::CannotTell);
    let looks = doubt.looks();
    let due = |look: &Duration| time_until(ctx, doubt.until + *look);
    // Those that are overdue are one.
    let overdue = looks.iter().filter(|look| due(look).is_zero()).count();
    for look in looks.iter().skip(overdue.saturating_sub(1)) {
        if *look > horizon && !due(look).is_zero() {
            break;
        }
        let wait = due(look);
        let mut settled = pin!(settlement(ctx, doubt).fuse());
        if !wait.is_zero() {
            let waiting = TimerOptions::builder(wait)
                .cancellation_token(scope.clone())
                .summary("looks for the submission".to_owned());
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
            job_id: ctx.state(|workflow| workflow.state.job_id.clone()),
            doubt: doubt.clone(),
        };
        // The last look needs an answer, unless the job is to stop; the others have the next one.
        let is_last = Some(look) == looks.last();
        let time = if is_last && horizon == Duration::MAX {
            DAY
        } else {
            LONGEST_LOOK
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
            Ok(FindOutcome::Absent) => return Settlement::NotBought,
            // Its report may come yet.
            Ok(FindOutcome::CannotTell) => (can_tell, last) = (false, Settlement::CannotTell),
            Ok(FindOutcome::NotShown) => last = Settlement::NotShown,
            Err(_) => last = Settlement::CannotTell,
        }
    }
    take_settlement(ctx, doubt).unwrap_or(last)
}

/// Resolves when the doubt is settled from outside.
async fn settlement(ctx: &WorkflowContext<MediaGeneration>, doubt: &Doubt) -> Settlement {
    loop {
        if let Some(settlement) = take_settlement(ctx, doubt) {
            return settlement;
        }
        let detached = WaitConditionOptions::builder()
            .cancellation_token(WorkflowCancellationToken::new())
            .build();
        let of = doubt.clone();
        let _ = ctx
            .wait_condition_with_options(move |workflow| workflow.settles(&of), detached)
            .await;
    }
}

fn take_settlement(ctx: &WorkflowContext<MediaGeneration>, doubt: &Doubt) -> Option<Settlement> {
    ctx.state_mut(|workflow| {
        let told = workflow
            .settled
            .iter()
            .position(|settled| doubt.is_of(&settled.submission_id));
        if let Some(position) = told {
            return Some(match workflow.settled.remove(position).outcome {
                SubmissionOutcome::Bought(state) => Settlement::Bought(state),
                SubmissionOutcome::NotBought => Settlement::NotBought,
            });
        }
        // The report itself stays: it says that it is time to look.
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

    /// A report of the submission. One of an earlier generation's prediction is none.
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
