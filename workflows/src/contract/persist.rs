//! `persist`: moves one output into the store.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, backoff, collect::OutputSource};
use crate::{
    PERSIST_QUEUE,
    job::{JobId, PredictionRef},
    request::OutputFormat,
    tenant::Tenant,
};

/// How long an attempt may be silent.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// The input of `persist`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PersistInput {
    /// The job.
    pub job_id: JobId,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The prediction that made the output.
    pub prediction: PredictionRef,
    /// The output's position.
    pub index: u32,
    /// Where it can be had.
    pub source: OutputSource,
    /// What the provider calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The format that the job asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    /// Whether what lies under its key is of an earlier generation and to be replaced.
    #[serde(default)]
    pub replace: bool,
}

/// How far a `persist` that runs has come: the beginning of what it records with its heartbeats.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PersistProgress {
    /// The output's position.
    pub index: u32,
    /// How many of its bytes are in the store, or on their way there.
    pub bytes_done: u64,
    /// How many it has, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
}

/// How `persist` runs: until the provider removes its source (`now` and `expires_at` tell), else for a day.
#[must_use]
pub fn options(
    input: &PersistInput,
    count: usize,
    now: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    scope: WorkflowCancellationToken,
) -> ActivityOptions {
    // An attempt may take all the time there is: a source that crawls is not begun anew for that, and an attempt that is dead
    // is known by its heartbeats.
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
