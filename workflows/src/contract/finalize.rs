//! `finalize`: writes the manifest. The input is the state of the job; the result is the state that
//! was recorded, if an earlier run had stored more.

use std::time::Duration;

use temporalio_workflow::{
    ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, backoff};

/// Options of `finalize` as a local activity, which costs the server least. It has a cancellation
/// token of its own, so that a canceled job is recorded as well.
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
