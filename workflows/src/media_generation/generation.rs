//! Obtaining the outputs: buying a prediction, unless there is one, and waiting for its end. While
//! the provider works, the job takes no slot of a worker between two polls.

use std::{pin::Pin, pin::pin, time::Duration};

use futures::{FutureExt, future::FusedFuture};
use jiff::Timestamp;
use temporalio_workflow::{
    ActivityExecutionError, TimerOptions, WaitConditionOptions, WorkflowCancellationToken,
    WorkflowContext, common::error::TimeoutType, select,
};

use super::{
    MediaGeneration, Start, doubt,
    ending::Ending,
    persisting::Made,
    progress::{enter, now, time_until, update},
    stop::{self, Stop},
};
use crate::{
    contract::{
        self, Activities, DAY,
        collect::{CollectInput, CollectOutcome, EndedPrediction, PollReason},
        generate::{GenerateInput, GenerateOutcome, GenerateRecord},
    },
    failure::{FailureType, JobError, read_activity_failure},
    job::{
        Doubt, DoubtCause, IfNotFound, MediaStatus, PredictionId, PredictionRef, ProviderName,
        ProviderState, Stage,
    },
};

/// The only provider.
pub(super) const PROVIDER: ProviderName = ProviderName::Replicate;

/// Time to wait for a report before the prediction is polled without one.
const FIRST_POLL_DELAY: Duration = Duration::from_mins(5);

/// A prediction that was bought.
enum Bought {
    /// It was just submitted, and is not a quick one.
    Slow(ProviderState),
    /// It may or may not have ended.
    Found(PredictionRef),
    /// It has ended.
    Ended(EndedPrediction),
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
            let is_missing = ctx.state(|workflow| workflow.state.count(MediaStatus::Pending) > 0);
            if is_missing && provider.status.is_terminal() {
                return Ok(Made::left(ctx, &provider));
            }
            Bought::Found(provider.prediction)
        }
        (Start::New | Start::Resume, _) => purchase(ctx, stop.as_mut()).await?,
        (Start::Settle, _) => settle(ctx, stop.as_mut()).await?,
        (Start::Regenerate, _) => regenerate(ctx, stop.as_mut()).await?,
    };
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
    match ended.outputs() {
        Ok(outputs) => Ok(Made::of(ctx, &ended.state, outputs)),
        Err(error) => Err(Ending::Failed(error)),
    }
}

/// Submits until the provider accepts the work, or refuses it for good.
async fn purchase(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
) -> Result<Bought, Ending> {
    let (mut refusals, mut settled) = (Refusals::default(), None);
    loop {
        enter(ctx, Stage::Queued);
        let (error, retry_after) =
            match generate(ctx, stop.as_mut(), settled.clone(), refusals.last.as_ref()).await? {
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
                        doubt::Settlement::NotShown
                            if doubt.if_not_found == IfNotFound::Resubmit => {}
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
        refusals
            .back_off(ctx, stop.as_mut(), error, retry_after)
            .await?;
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

/// Pays again, unless the submission that an earlier run left in doubt shows up.
async fn regenerate(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
) -> Result<Bought, Ending> {
    if let Some(doubt) = ctx.state(|workflow| workflow.state.doubt.clone()) {
        if let doubt::Settlement::Bought(state) =
            doubt::reconcile(ctx, stop.as_mut(), &doubt).await?
        {
            return Ok(found(ctx, state));
        }
        update(ctx, |job| job.doubt = None);
    }
    purchase(ctx, stop).await
}

fn found(ctx: &WorkflowContext<MediaGeneration>, state: ProviderState) -> Bought {
    let prediction = state.prediction.clone();
    update(ctx, |job| job.record_purchase(state));
    Bought::Found(prediction)
}

/// Submits once.
async fn generate(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    settled: Option<Doubt>,
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
    select! {
        result = generating => Ok(outcome(ctx, result, began)),
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
            Err(stop::stop_generation(ctx, stop, known).await)
        }
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

/// Waits for the end of a prediction: for the provider's report, or until our polls find it ended.
/// A report only says when to poll.
async fn wait(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stop: Pin<&mut impl FusedFuture<Output = Stop>>,
    prediction: &PredictionRef,
    first_poll_delay: Duration,
) -> Result<EndedPrediction, Ending> {
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
        let mut looking =
            pin!(look(ctx, prediction, occasion, first_poll_delay, scope.clone()).fuse());
        let mut reported = pin!(report(ctx, &prediction.id, occasion).fuse());
        select! {
            found = looking => return match found {
                Ok(CollectOutcome::Ended(ended)) => Ok(ended),
                Ok(CollectOutcome::Lost { error }) => {
                    stop::cancel(ctx, prediction).await;
                    Err(Ending::Failed(error))
                }
                Err(failure) => {
                    stop::cancel(ctx, prediction).await;
                    Err(Ending::Failed(read_activity_failure(&failure).0))
                }
            },
            () = reported => scope.cancel(),
            stop = stop => {
                scope.cancel();
                stop::cancel(ctx, prediction).await;
                return Err(stop.into());
            }
        }
    }
}

async fn look(
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

/// Refusals of the provider: their number, the time of the first, and the last one.
#[derive(Default)]
struct Refusals {
    count: u32,
    since: Option<Timestamp>,
    last: Option<JobError>,
}

impl Refusals {
    /// Waits out the backoff before the next submission.
    ///
    /// # Errors
    /// If a retry makes no sense, or the job is to stop: its ending.
    async fn back_off(
        &mut self,
        ctx: &WorkflowContext<MediaGeneration>,
        stop: Pin<&mut impl FusedFuture<Output = Stop>>,
        error: JobError,
        retry_after: Option<Duration>,
    ) -> Result<(), Ending> {
        const LONGEST: Duration = Duration::from_mins(5);
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
        let growing = Duration::from_secs(1 << self.count.min(10));
        self.count += 1;
        self.last = Some(error.clone());
        let scope = WorkflowCancellationToken::new();
        let waiting = TimerOptions::builder(retry_after.unwrap_or(growing).min(LONGEST))
            .cancellation_token(scope.clone())
            .summary(format!("asks the provider again: {}", error.kind));
        let mut waiting = pin!(ctx.timer(waiting.build()).fuse());
        let mut stop = stop;
        select! {
            _ = waiting => Ok(()),
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

fn unknown() -> JobError {
    JobError::new(
        FailureType::SubmissionUnknown,
        "a submission was sent, its answer is lost, and the provider shows no prediction for this job; \
         nothing was submitted again, as that may cost twice",
    )
}

fn not_submitted() -> JobError {
    JobError::new(
        FailureType::ProviderUnavailable,
        "the provider did not take a submission",
    )
}
