//! How long activities may take, how they are tried again and what the Temporal UI says of them.

use std::time::Duration;

use jiff::Timestamp;
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions,
    RetryPolicy, WorkflowCancellationToken,
};

use super::PersistInput;
use crate::{PERSIST_QUEUE, request::JobRequest};

const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

/// How `generate` runs: a day, whatever number of attempts that takes. Canceled with `scope`, not with the workflow: what
/// it has recorded must be read first.
#[must_use]
pub fn generate_options(request: &JobRequest, scope: WorkflowCancellationToken) -> ActivityOptions {
    let outputs = plural(request.num_outputs.get().into(), "output");
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: DAY,
        start_to_close: DAY,
    })
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary(format!(
        "{outputs} of {} by {}",
        request.prompt.excerpt(40),
        request.model
    ))
    .build()
}

/// How `collect` runs.
#[must_use]
pub fn collect_options(scope: WorkflowCancellationToken) -> ActivityOptions {
    short_options(DAY, scope, "the provider reports the end")
}

/// How `cancel_generation` runs: outside of what is canceled.
#[must_use]
pub fn cancel_generation_options() -> ActivityOptions {
    short_options(
        Duration::from_hours(1),
        WorkflowCancellationToken::new(),
        "cancel what may still run",
    )
}

/// How `inspect` runs: outside of what is canceled, and not for long, as there is another way without it.
#[must_use]
pub fn inspect_options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: Duration::from_secs(10),
        start_to_close: Duration::from_secs(5),
    })
    .cancellation_token(WorkflowCancellationToken::new())
    .retry_policy(backoff(Duration::from_secs(2)))
    .summary("what generate recorded".to_owned())
    .build()
}

/// How `inspect` ran in workflows from before it was scheduled.
#[must_use]
pub fn inspect_locally_options() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .schedule_to_close_timeout(Duration::from_secs(10))
        .retry_policy(backoff(Duration::from_secs(2)))
        .cancellation_token(WorkflowCancellationToken::new())
        .summary("what generate recorded".to_owned())
        .build()
}

/// How `persist` runs: until the provider removes its source (`now` and `expires_at` tell), else for a day.
#[must_use]
pub fn persist_options(
    input: &PersistInput,
    count: usize,
    now: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    scope: WorkflowCancellationToken,
) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: time_left(now, expires_at),
        start_to_close: Duration::from_mins(30),
    })
    .task_queue(PERSIST_QUEUE)
    .heartbeat_timeout(HEARTBEAT_TIMEOUT)
    .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_secs(30)))
    .summary(format!("output {} of {count}", input.index + 1))
    .build()
}

/// How `finalize` runs: beside the workflow, as that costs the server least. A cancelled job is recorded as well.
#[must_use]
pub fn finalize_options() -> LocalActivityOptions {
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
pub fn finalize_later_options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: 7 * DAY,
        start_to_close: Duration::from_secs(30),
    })
    .task_queue(PERSIST_QUEUE)
    .retry_policy(backoff(Duration::from_mins(5)))
    .cancellation_token(WorkflowCancellationToken::new())
    .summary("manifest, while the store is away")
    .build()
}

/// How `sweep` runs: the next one comes before this one has tried for too long.
#[must_use]
pub fn sweep_options() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: Duration::from_hours(2),
        start_to_close: Duration::from_mins(30),
    })
    .task_queue(PERSIST_QUEUE)
    .retry_policy(backoff(Duration::from_mins(5)))
    .summary("uploads that nobody finishes")
    .build()
}

/// How one attempt at a webhook runs: the workflow makes the next one.
#[must_use]
pub fn deliver_webhook_options(attempt: usize) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::StartToClose(Duration::from_secs(
        20,
    )))
    .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
    .summary(format!("attempt {attempt}"))
    .build()
}

fn short_options(
    patience: Duration,
    scope: WorkflowCancellationToken,
    summary: &str,
) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: patience,
        start_to_close: Duration::from_secs(30),
    })
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary(summary)
    .build()
}

fn backoff(maximum_interval: Duration) -> RetryPolicy {
    RetryPolicy::builder()
        .initial_interval(Duration::from_secs(1))
        .maximum_interval(maximum_interval)
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

fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
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
