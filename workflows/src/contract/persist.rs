//! `persist`: moves one output from the provider into the store.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, backoff};
use crate::{
    PERSIST_QUEUE,
    job::{JobId, OutputSource, PredictionRef},
    request::OutputFormat,
    tenant::Tenant,
};

/// Heartbeat timeout: longest time that an attempt may go without a heartbeat.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// Input of `persist`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PersistInput {
    /// The job.
    pub job_id: JobId,
    /// Tenant of the job, if callers have API keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The prediction that made the output.
    pub prediction: PredictionRef,
    /// Position of the output.
    pub index: u32,
    /// Source to read it from.
    pub source: OutputSource,
    /// Name that the provider gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The format that the job asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    /// True if an object under its key is of an earlier generation and is to be replaced.
    #[serde(default)]
    pub replace: bool,
}

/// Progress of a running `persist`: the leading part of its heartbeat details.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PersistProgress {
    /// Position of the output.
    pub index: u32,
    /// Number of bytes in the store or on their way there.
    pub bytes_done: u64,
    /// Total number of bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
}

/// Options of `persist`: it is retried until the provider removes the source, as `now` and
/// `expires_at` say, or for a day.
#[must_use]
pub fn options(
    input: &PersistInput,
    count: usize,
    now: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    scope: WorkflowCancellationToken,
) -> ActivityOptions {
    // An attempt may take all the time there is: a slow source is not started over for a timeout,
    // and a dead attempt is detected by its missing heartbeats.
    let time_left = time_left(now, expires_at);
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: time_left,
        start_to_close: time_left,
    })
    .task_queue(PERSIST_QUEUE)
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_secs(30)))
    .summary(format!("output {} of {count}", input.index + 1))
    .build()
}

/// Returns the time until shortly before the outputs expire, but at least enough for one attempt.
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
