//! `finalize`: writes the manifest. Its input is the state of the job; its result is the state that was recorded, if an earlier run
//! had stored more.

use std::time::Duration;

use temporalio_workflow::{
    ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, backoff};

/// How `finalize` runs: beside the workflow, as that costs the server least. A cancelled job is recorded as well.
#[must_use]
pub fn options() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(Duration::from_secs(30))
        .schedule_to_close_timeout(Duration::from_mins(10))
        .retry_policy(backoff(Duration::from_secs(30)))
        .cancellation_token(WorkflowCancellationToken::new())
        .summary("manifest".to_owned())
        .build()
}

/// How `finalize` runs when the store has been away for longer than a local activity should wait.
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
