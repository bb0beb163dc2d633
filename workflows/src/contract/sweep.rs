//! `sweep`: aborts uploads that nobody finishes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions};

use super::backoff;
use crate::PERSIST_QUEUE;

/// The input of `sweep`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SweepInput {
    /// How old an upload must be to count as abandoned: longer than any attempt at a `persist` may take.
    pub older_than_seconds: u32,
}

/// What a `sweep` did.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Swept {
    /// How many uploads it aborted.
    pub aborted: u32,
    /// How many it could not.
    pub failed: u32,
}

/// How `sweep` runs: the next one comes before this one has tried for too long.
#[must_use]
pub fn options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: Duration::from_hours(2),
        start_to_close: Duration::from_mins(30),
    })
    .task_queue(PERSIST_QUEUE)
    .retry_policy(backoff(Duration::from_mins(5)))
    .summary("uploads that nobody finishes")
    .build()
}
