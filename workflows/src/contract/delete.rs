//! `delete_job`: deletes a job from the store and from Temporal.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions};

use super::{DAY, backoff};
use crate::job::IndexEntry;

/// Heartbeat timeout: longest time that an attempt may go without a heartbeat.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// Input of `delete_job`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeleteJobInput {
    /// The job.
    pub entry: IndexEntry,
    /// True if a caller requested the deletion: a job in progress is then canceled. Otherwise the
    /// job has expired. If it was retried since, the attempt waits for its end, at which another
    /// expiry begins and replaces this one.
    pub is_requested: bool,
}

/// Options of `delete_job`. It is retried until it succeeds, as a job must not stay half deleted.
#[must_use]
pub fn options(input: &DeleteJobInput) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: 90 * DAY,
        start_to_close: Duration::from_hours(1),
    })
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .retry_policy(backoff(Duration::from_secs(30)))
    .summary(format!("all of {}", input.entry.job_id))
    .build()
}
