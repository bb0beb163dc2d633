//! `generate`: submits a request to the provider, which buys a prediction. It is not retried. A
//! second attempt, as after a workflow reset, searches for what was bought before it submits.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken,
};

use super::{once, plural, priority};
use crate::{
    failure::JobError,
    job::{Doubt, JobId, JobState, Prediction, ProviderName, ProviderState},
    request::JobRequest,
    submissions_queue,
};

/// Timeout of one attempt: it connects, submits, records and polls for some seconds.
const START_TO_CLOSE: Duration = Duration::from_mins(1);

/// Heartbeat timeout. An attempt sends heartbeats only to record checkpoints, and the SDK does not
/// count them: it drops the result of an attempt that returns more than 5 s after this timeout.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(45);

/// Time after the start of an attempt at which it no longer polls: more than the paid call may
/// take, 47 s.
pub const ATTEMPT_LIMIT: Duration = Duration::from_secs(48);

/// Input of `generate`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GenerateInput {
    /// The job.
    pub job_id: JobId,
    /// The request of the caller.
    pub request: JobRequest,
    /// Time at which the job was accepted, or its outputs were to be generated again. Older
    /// predictions do not count.
    pub since: Timestamp,
    /// Number of retries of the job.
    #[serde(default)]
    pub retry_count: u32,
    /// The doubt that was settled last: its submission bought nothing, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Doubt>,
    /// Deadline of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Run id of the first execution. A run with another id came of a reset, and first checks what
    /// was bought before.
    pub first_run_id: String,
}

/// Outcome of `generate`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GenerateOutcome {
    /// Work that the provider accepted and has finished already.
    Ended(Prediction),
    /// Work that the provider accepted.
    Submitted {
        /// State at the last poll.
        state: ProviderState,
        /// True if the prediction was still running at the last poll, so that it is not a quick
        /// one.
        is_slow: bool,
    },
    /// Work that the provider does not have: it refused it, or was never asked.
    Refused {
        /// The reason.
        error: JobError,
        /// Milliseconds to wait before the next submission, if the provider said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Submission in doubt: the provider may have the work.
    InDoubt(Doubt),
    /// Manifest in the store: the job ended in a time that Temporal lost in a restore.
    Recorded(Box<JobState>),
}

/// Checkpoint of `generate` around its one paid call. The server acknowledges each, so that a later
/// attempt knows what is safe.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum GenerateRecord {
    /// Submission about to be sent: from here on the provider may have the work.
    Submitting(Doubt),
    /// Submission that the provider refused, or that was never sent.
    Refused,
    /// Submission that the provider accepted.
    Submitted(ProviderState),
}

/// Options of `generate`: one attempt, within the time left to the job. It is canceled with
/// `scope`, not with the workflow, and the cancellation waits for its outcome. A job whose last
/// submission was rate limited goes before those that were not submitted yet: the former are few,
/// the latter may be many.
#[must_use]
pub fn options(
    provider: ProviderName,
    request: &JobRequest,
    time_left: Duration,
    had_its_turn: bool,
    scope: WorkflowCancellationToken,
) -> ActivityOptions {
    let outputs = plural(request.num_outputs.get().into(), "output");
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: time_left,
        start_to_close: START_TO_CLOSE.min(time_left),
    })
    .task_queue(submissions_queue(provider))
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
    .cancellation_token(scope)
    .maybe_priority(had_its_turn.then(|| priority(request.priority.before())))
    .retry_policy(once())
    .summary(format!(
        "{outputs} of {} by {}",
        request.excerpt(40),
        request.model
    ))
    .build()
}
