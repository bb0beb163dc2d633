//! `delete_job`: removes all that there is of a job, from the store and from Temporal.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions};

use super::{DAY, backoff};
use crate::job::IndexEntry;

/// How long an attempt may be silent.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// The input of `delete_job`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeleteJobInput {
    /// The job.
    pub entry: IndexEntry,
    /// Whether somebody wants it gone now: then it is canceled if it is under way. Else it has expired, and if it was taken up
    /// again since, its end is waited for: another expiry begins then, in the place of this one.
    pub is_requested: bool,
}

/// How `delete_job` runs: until it is done, as a job is not to be half gone.
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
