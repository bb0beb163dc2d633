//! `generate`: buys a prediction. It is made once: a second attempt, as after a reset, looks before it buys.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken,
};

use super::{collect::EndedPrediction, once, plural, priority};
use crate::{
    failure::JobError,
    job::{Doubt, JobId, JobState, ProviderName, ProviderState},
    request::JobRequest,
    submissions_queue,
};

/// How long an attempt may take: it connects, submits, records and looks for some seconds.
const START_TO_CLOSE: Duration = Duration::from_mins(1);

/// How long an attempt may be silent. It beats only to record what it did.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);

/// The input of `generate`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GenerateInput {
    /// The job.
    pub job_id: JobId,
    /// What the caller asked for.
    pub request: JobRequest,
    /// When the job was accepted, or is to be made again: no prediction that counts is older.
    pub since: Timestamp,
    /// How often the job was retried.
    #[serde(default)]
    pub retry_count: u32,
    /// The doubt that was settled last: nothing was bought by what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Doubt>,
    /// When the job's own time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The run that set out. One that is not it came of a reset, and asks first what was bought before.
    pub first_run_id: String,
}

/// What `generate` knows when it returns.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GenerateOutcome {
    /// The provider took the work, and is done with it already.
    Ended(EndedPrediction),
    /// The provider took the work.
    Submitted {
        /// How it stood when it was seen last.
        state: ProviderState,
        /// Whether it was seen at work at the last of the looks, so that it is none of the quick ones.
        is_slow: bool,
    },
    /// The provider does not have the work: it said so, or it was never asked.
    Refused {
        /// Why.
        error: JobError,
        /// How many milliseconds to wait before it is asked again, where it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// The provider may have the work.
    InDoubt(Doubt),
    /// The store has the manifest of the job: it ended in a time that Temporal has lost in a restore.
    Recorded(Box<JobState>),
}

/// What `generate` records, acknowledged, around its one paid call, so that whoever comes after knows what is safe.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum GenerateRecord {
    /// About to submit: from here on the provider may have the work.
    Submitting(Doubt),
    /// The provider said no, or the request was never sent.
    Refused,
    /// The provider has the work.
    Submitted(ProviderState),
}

/// How `generate` runs: once, within what is left of the job's time. Canceled with `scope`, not with the workflow: what it
/// knows is waited for. A job that had its turn, and was asked to come again, goes before those that have not: there are
/// few of them, and the others may be many.
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
