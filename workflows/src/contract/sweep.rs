//! `sweep`: removes orphaned multipart uploads and orphaned objects from the store.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions};

use super::{DAY, backoff};
use crate::PERSIST_QUEUE;

/// Heartbeat timeout: longest time that an attempt may go without a heartbeat.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_mins(1);

/// Input of `sweep`: the ages from which things count as abandoned, and the number of jobs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SweepInput {
    /// Age of multipart uploads: more than an attempt at `persist` goes without a part.
    pub uploads_older_than_seconds: u32,
    /// Age of objects that no manifest names: more than any attempt at `persist` may take.
    pub objects_older_than_seconds: u32,
    /// Age of tombstones: the time for which the key of a deleted job stays taken.
    pub tombstones_older_than_seconds: u32,
    /// Time since the expiry of a job after which it is deleted here: more than its own deletion
    /// may take.
    pub expiries_older_than_seconds: u32,
    /// Number of jobs to check. The next sweep resumes after them.
    pub jobs: u32,
}

impl Default for SweepInput {
    /// Returns one day for uploads and expiries, two for objects, 90 for tombstones, and 20,000
    /// jobs.
    fn default() -> Self {
        const A_DAY: u32 = 24 * 60 * 60;
        Self {
            uploads_older_than_seconds: A_DAY,
            objects_older_than_seconds: 2 * A_DAY,
            tombstones_older_than_seconds: 90 * A_DAY,
            expiries_older_than_seconds: A_DAY,
            jobs: 20_000,
        }
    }
}

/// Result of a `sweep`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Swept {
    /// Number of multipart uploads aborted.
    pub aborted: u32,
    /// Number of objects removed that no manifest names.
    pub removed: u32,
    /// Number of jobs checked.
    pub jobs: u32,
    /// Number of uploads and jobs that could not be processed.
    pub failed: u32,
}

/// Options of `sweep`: it is not retried for long, as the next sweep comes anyway.
#[must_use]
pub fn options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: DAY / 6,
        start_to_close: DAY / 8,
    })
    .task_queue(PERSIST_QUEUE)
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .retry_policy(backoff(Duration::from_mins(5)))
    .summary("orphaned objects")
    .build()
}
