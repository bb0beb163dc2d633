//! `sweep`: removes from the store what belongs to nobody.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions};

use super::{DAY, backoff};
use crate::PERSIST_QUEUE;

/// How long an attempt may be silent.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_mins(1);

/// How old things must be to count as abandoned.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SweepInput {
    /// Uploads: longer than an attempt at a `persist` goes without a part.
    pub uploads_older_than_seconds: u32,
    /// Objects that no manifest names: longer than any attempt at a `persist` may take.
    pub objects_older_than_seconds: u32,
    /// Tombstones: as long as the key of a deleted job stays taken.
    pub tombstones_older_than_seconds: u32,
    /// How many jobs to look at; the next sweep goes on from there.
    pub jobs: u32,
}

impl Default for SweepInput {
    /// A day for uploads, two for objects, 90 for tombstones; 20,000 jobs.
    fn default() -> Self {
        const A_DAY: u32 = 24 * 60 * 60;
        Self {
            uploads_older_than_seconds: A_DAY,
            objects_older_than_seconds: 2 * A_DAY,
            tombstones_older_than_seconds: 90 * A_DAY,
            jobs: 20_000,
        }
    }
}

/// What a `sweep` did.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Swept {
    /// How many uploads it aborted.
    pub aborted: u32,
    /// How many objects it removed that no manifest names.
    pub removed: u32,
    /// How many jobs it looked at.
    pub jobs: u32,
    /// How many uploads and jobs it could not deal with.
    pub failed: u32,
}

/// How `sweep` runs: the next one comes before this one has tried for too long.
#[must_use]
pub fn options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: DAY / 6,
        start_to_close: DAY / 8,
    })
    .task_queue(PERSIST_QUEUE)
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .retry_policy(backoff(Duration::from_mins(5)))
    .summary("what belongs to nobody")
    .build()
}
