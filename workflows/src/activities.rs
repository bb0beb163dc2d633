//! What the workflow may ask of the world: the definitions of activities, what goes in and comes out of them, how long
//! they may take and how they are tried again. How they do it is the activities crate's business.

#![expect(missing_docs, reason = "the macros make constants that cannot carry documentation")]

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use temporalio_macros::activity_definitions;
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions, RetryPolicy,
    WorkflowCancellationToken, common::ActivityError,
};

use crate::{
    PERSIST_QUEUE,
    job::{CancelOutcome, JobId, JobState, PredictionStatus, StoredMedia},
    request::JobRequest,
};

pub use self::activities::{CancelGeneration, Collect, Finalize, Generate, Inspect, Persist};

/// The activities of a job. Each method is also a type of its own, which an implementation names as its definition.
pub struct Activities;

#[activity_definitions]
impl Activities {
    /// Has the provider make the outputs and waits until it has.
    ///
    /// # Errors
    /// The provider refuses, fails, or cannot be reached for a day.
    #[activity(name = "generate")]
    pub fn generate(_input: GenerateInput) -> Result<GenerateOutcome, ActivityError> {
        unimplemented!()
    }

    /// Reads a prediction that the provider reported as ended.
    ///
    /// # Errors
    /// As `generate`.
    #[activity(name = "collect")]
    pub fn collect(_input: CollectInput) -> Result<Generation, ActivityError> {
        unimplemented!()
    }

    /// Reads what a `generate` that still runs has recorded, before it is canceled: what it records may vanish with it.
    ///
    /// # Errors
    /// Temporal does not answer.
    #[activity(name = "inspect")]
    pub fn inspect() -> Result<Option<GenerateCheckpoint>, ActivityError> {
        unimplemented!()
    }

    /// Cancels the prediction of a `generate` that could not do so itself. `None` if there is none.
    ///
    /// # Errors
    /// The provider cannot be reached.
    #[activity(name = "cancel_generation")]
    pub fn cancel_generation(_input: CancelGenerationInput) -> Result<Option<CanceledGeneration>, ActivityError> {
        unimplemented!()
    }

    /// Moves one output from the provider into the store.
    ///
    /// # Errors
    /// The source or the store refuses, or time runs out.
    #[activity(name = "persist")]
    pub fn persist(_input: PersistInput) -> Result<StoredMedia, ActivityError> {
        unimplemented!()
    }

    /// Writes the job's manifest: the record of the job once Temporal has forgotten it.
    ///
    /// # Errors
    /// The store cannot take it.
    #[activity(name = "finalize")]
    pub fn finalize(_job: JobState) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The input of `generate`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GenerateInput {
    /// The job.
    pub job_id: JobId,
    /// What the caller asked for.
    pub request: JobRequest,
}

/// What `generate` records, acknowledged, around its one paid call, so that whoever comes after knows what is safe.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "submission", rename_all = "snake_case")]
pub enum GenerateCheckpoint {
    /// About to submit: from here on the provider may have the work.
    Submitting,
    /// The provider said no, so it does not have the work.
    Refused,
    /// The provider failed while it answered: it may have the work, but nothing is under way any more.
    Doubtful,
    /// The provider has the work.
    Submitted {
        /// Which provider.
        provider: String,
        /// The provider's id of the prediction.
        prediction_id: String,
    },
}

/// The result of `generate`. A cancellation is a value, not an error: the workflow gets no details with an error.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GenerateOutcome {
    /// The provider has made the outputs.
    Generated(Generation),
    /// The job was canceled, and so was the prediction, as far as it could be.
    Canceled(CanceledGeneration),
}

/// A prediction that was stopped on request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CanceledGeneration {
    /// Which provider had it.
    pub provider: String,
    /// The provider's id of it.
    pub prediction_id: String,
    /// How it stood when last seen.
    pub status: PredictionStatus,
    /// What the provider did about the request.
    pub cancel_outcome: CancelOutcome,
}

/// The input of `collect`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CollectInput {
    /// The provider's id of the prediction.
    pub prediction_id: String,
}

/// The input of `cancel_generation`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CancelGenerationInput {
    /// The job.
    pub job_id: JobId,
    /// What `generate` recorded last.
    pub checkpoint: GenerateCheckpoint,
    /// When the job set out to generate.
    pub since: Timestamp,
}

/// Outputs that the provider has made.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Generation {
    /// Which provider made it.
    pub provider: String,
    /// The provider's id of it.
    pub prediction_id: String,
    /// Where the outputs can be had, in the provider's order; never empty.
    pub outputs: Vec<OutputSource>,
    /// When the provider removes them, if it does.
    pub expires_at: Option<Timestamp>,
    /// What the provider measured.
    pub metrics: Map<String, Value>,
}

/// Where an output can be had. A URL may carry a signature, so it stays out of the job resource and of logs.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSource {
    /// At this address.
    Url(String),
    /// Within the prediction itself, as a `data:` URL: too large for a history, so it is asked for again.
    Prediction,
}

impl std::fmt::Debug for OutputSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "Url(…)",
            Self::Prediction => "Prediction",
        })
    }
}

/// The input of `persist`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PersistInput {
    /// The job.
    pub job_id: JobId,
    /// The provider's id of the prediction that made the output.
    pub prediction_id: String,
    /// The output's position.
    pub index: u32,
    /// Where it can be had.
    pub source: OutputSource,
}

const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

/// How `generate` runs: a day, whatever number of attempts that takes. Canceled with `scope`, not with the workflow: what
/// it has recorded must be read first.
#[must_use]
pub fn generate_options(request: &JobRequest, scope: WorkflowCancellationToken) -> ActivityOptions {
    let outputs = plural(request.num_outputs.get().into(), "output");
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: DAY,
        start_to_close: DAY,
    })
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary(format!("{outputs} of {} by {}", request.prompt.excerpt(40), request.model))
    .build()
}

/// How `collect` runs.
#[must_use]
pub fn collect_options(scope: WorkflowCancellationToken) -> ActivityOptions {
    short_options(DAY, scope, "the provider reports the end")
}

/// How `cancel_generation` runs: outside of what is canceled.
#[must_use]
pub fn cancel_generation_options() -> ActivityOptions {
    short_options(Duration::from_hours(1), WorkflowCancellationToken::new(), "cancel what may still run")
}

/// How `inspect` runs: beside the workflow, outside of what is canceled, and not for long.
#[must_use]
pub fn inspect_options() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .schedule_to_close_timeout(Duration::from_secs(10))
        .retry_policy(backoff(Duration::from_secs(2)))
        .cancellation_token(WorkflowCancellationToken::new())
        .summary("what generate recorded".to_owned())
        .build()
}

/// How `persist` runs: until the provider removes its source (`now` and `expires_at` tell), else for a day.
#[must_use]
pub fn persist_options(
    input: &PersistInput,
    count: usize,
    now: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    scope: WorkflowCancellationToken,
) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: time_left(now, expires_at),
        start_to_close: Duration::from_mins(30),
    })
    .task_queue(PERSIST_QUEUE)
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_secs(30)))
    .summary(format!("output {} of {count}", input.index + 1))
    .build()
}

/// How `finalize` runs: beside the workflow, as that costs the server least. A cancelled job is recorded as well.
#[must_use]
pub fn finalize_options() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(Duration::from_secs(30))
        .schedule_to_close_timeout(Duration::from_mins(10))
        .retry_policy(backoff(Duration::from_secs(30)))
        .cancellation_token(WorkflowCancellationToken::new())
        .summary("manifest".to_owned())
        .build()
}

/// How `finalize` runs when the store has been away for longer than a local activity should wait.
#[must_use]
pub fn finalize_later_options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: 7 * DAY,
        start_to_close: Duration::from_secs(30),
    })
    .task_queue(PERSIST_QUEUE)
    .retry_policy(backoff(Duration::from_mins(5)))
    .cancellation_token(WorkflowCancellationToken::new())
    .summary("manifest, while the store is away")
    .build()
}

fn short_options(patience: Duration, scope: WorkflowCancellationToken, summary: &str) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: patience,
        start_to_close: Duration::from_secs(30),
    })
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary(summary)
    .build()
}

fn backoff(maximum_interval: Duration) -> RetryPolicy {
    RetryPolicy::builder().initial_interval(Duration::from_secs(1)).maximum_interval(maximum_interval).build()
}

/// The time until shortly before the outputs vanish; long enough for one attempt even if that is very soon.
fn time_left(now: Option<Timestamp>, expires_at: Option<Timestamp>) -> Duration {
    const MARGIN: Duration = Duration::from_secs(30);
    const ONE_ATTEMPT: Duration = Duration::from_mins(1);
    match (now, expires_at) {
        (Some(now), Some(expires_at)) => {
            let left = Duration::try_from(expires_at.duration_since(now)).unwrap_or_default();
            left.saturating_sub(MARGIN).clamp(ONE_ATTEMPT, DAY)
        }
        _ => DAY,
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_must_be_done_before_the_source_expires() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |seconds| Some(now + Duration::from_secs(seconds));
        assert_eq!(time_left(Some(now), None), DAY);
        assert_eq!(time_left(Some(now), after(3600)), Duration::from_secs(3570));
        assert_eq!(time_left(Some(now), after(10)), Duration::from_mins(1));
        assert_eq!(time_left(after(100), Some(now)), Duration::from_mins(1));
    }
}
