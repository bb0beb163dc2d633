//! `finalize`: writes the manifest. The input is the state of the job; the result tells what the
//! manifest says about the end.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, backoff};
use crate::job::JobState;

/// End of a job, as its manifest records it. The workflow takes it from here and not from its own
/// state: Core may replay the tasks around a local activity as one task, with another time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Finalized {
    /// Time of the end.
    pub completed_at: Option<Timestamp>,
    /// State that was recorded instead of the input, if an earlier run had stored more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<JobState>,
}

impl Finalized {
    /// Returns the final state of a job, given the state that was to be recorded.
    #[must_use]
    pub fn into_state(self, job: JobState) -> JobState {
        let mut ended = self.adopted.unwrap_or(job);
        ended.completed_at = self.completed_at;
        ended.updated_at = self.completed_at.unwrap_or(ended.updated_at);
        ended
    }
}

/// Options of `finalize` as a local activity, which costs the server least. It has a cancellation
/// token of its own, so that a canceled job is recorded as well.
#[must_use]
pub fn options() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(Duration::from_secs(30))
        .schedule_to_close_timeout(Duration::from_mins(10))
        .retry_policy(backoff(Duration::from_secs(30)))
        // A longer backoff is a timer of the workflow. Within its task, it would keep a slot, and a
        // few jobs that wait for the store would hold up all others of the worker.
        .timer_backoff_threshold(Duration::from_secs(1))
        .cancellation_token(WorkflowCancellationToken::new())
        .summary("manifest".to_owned())
        .build()
}

/// Options of `finalize` as a regular activity, for a store that is down for longer than a local
/// activity should wait.
#[must_use]
pub fn later_options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: 7 * DAY,
        start_to_close: Duration::from_secs(30),
    })
    .retry_policy(backoff(Duration::from_mins(5)))
    .cancellation_token(WorkflowCancellationToken::new())
    .summary("manifest, while the store is away")
    .build()
}
