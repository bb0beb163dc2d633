//! Polling of one job for as long as it is followed: when its history grows, when a nudge reports
//! that it has ended, and at an interval for what neither of them shows.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use darkroom_temporal::history_poll::HistoryPoll;
use darkroom_workflows::job::{JobId, MediaStatus, Stage};
use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::Watch;
use crate::{context::Context, jobs::view::View, problem::Kind, temporal};

/// Poll interval for changes that the history does not show.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest and longest poll interval of a job without a long poll; the shortest also applies to a
/// stale state. In between, it is a fraction of the time since the last change: a generation that
/// has taken an hour is not about to change.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
const MAX_INTERVAL: Duration = Duration::from_mins(1);
const INTERVAL_DIVISOR: u32 = 4;

/// Backoff after a job could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Polls a job until it has ended or is no longer followed: at once, unless it was just read.
pub(super) async fn poll(
    context: &Context,
    job_id: &JobId,
    known: Option<Arc<View>>,
    watch: &Weak<Watch>,
    poll_requested: &Notify,
) {
    let mut listening = None;
    let mut view = match known {
        Some(view) => view,
        None => match next(context, job_id, Cause::Change, watch, poll_requested).await {
            Some(view) => view,
            None => return,
        },
    };
    while !view.has_ended() {
        listening = Listening::to(context, &view, listening);
        let unchanged = Timestamp::now().duration_since(view.state.updated_at);
        let unchanged = Duration::try_from(unchanged).unwrap_or_default();
        let pause = pause(&view, listening.is_some(), unchanged);
        let pause = pause.map(|pause| context.watches.pace(pause));
        let cause = tokio::select! {
            () = poll_requested.notified() => Cause::End,
            () = history_changed(context, listening.as_mut(), &view) => Cause::Change,
            () = elapsed(pause) => Cause::Time,
        };
        view = match next(context, job_id, cause, watch, poll_requested).await {
            Some(view) => view,
            None => return,
        };
    }
}

/// Polls once, and publishes a new state; `None` if the job is no longer followed, or is gone.
async fn next(
    context: &Context,
    job_id: &JobId,
    cause: Cause,
    watch: &Weak<Watch>,
    poll_requested: &Notify,
) -> Option<Arc<View>> {
    match cause {
        Cause::End => context.watches.ends.until_ready().await,
        Cause::Change => tokio::select! {
            () = context.watches.changes.until_ready() => {}
            () = poll_requested.notified() => context.watches.ends.until_ready().await,
        },
        // The pause before it was paced.
        Cause::Time => {}
    }
    let view = loop {
        match context.views.current(context, job_id).await {
            Ok(view) if !context.views.is_deleted(job_id) => break view,
            Err(problem) if problem.kind() != Kind::NotFound => {
                tokio::time::sleep(context.watches.pace(RETRY)).await;
            }
            _ => {
                // The job was deleted, or is about to be.
                watch.upgrade()?.end();
                return None;
            }
        }
    };
    if watch.upgrade()?.publish(&view) {
        context.feeds.publish(&view);
    }
    Some(view)
}

/// Reason for a poll.
enum Cause {
    /// The job has ended. Its poll must not wait behind others.
    End,
    /// The job may have changed, or was not read yet.
    Change,
    /// The poll interval has passed.
    Time,
}

/// Long poll of a history, and its slot.
struct Listening {
    poll: HistoryPoll,
    permit: OwnedSemaphorePermit,
}

impl Listening {
    /// Long polls the history of the run that a view is of, if there is a free slot.
    fn to(context: &Context, view: &View, current: Option<Self>) -> Option<Self> {
        let run_id = view.run_id();
        let permit = match current {
            Some(current) if current.poll.is_of(run_id) => return Some(current),
            Some(current) => current.permit,
            None => context.watches.long_poll()?,
        };
        Some(Self {
            poll: HistoryPoll::of(&view.state.job_id.to_string(), run_id),
            permit,
        })
    }
}

/// Waits until the history shows that the job may have changed since it was read; for ever without
/// a long poll.
async fn history_changed(context: &Context, listening: Option<&mut Listening>, view: &View) {
    let Some(listening) = listening else {
        return std::future::pending().await;
    };
    let polled = match context.temporal.client() {
        Ok(client) => {
            let change = listening.poll.after(view.history_length(), client);
            change.await.map_err(|status| temporal::problem(&status))
        }
        Err(problem) => Err(problem),
    };
    if polled.is_err() {
        tokio::time::sleep(context.watches.pace(RETRY)).await;
    }
}

async fn elapsed(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Returns the time after which to poll although the history has not grown.
fn pause(view: &View, is_heard: bool, unchanged: Duration) -> Option<Duration> {
    match is_heard {
        true if view.is_stale() => Some(MIN_INTERVAL),
        true => is_progressing(view).then_some(PROGRESS_INTERVAL),
        false => Some(interval(unchanged)),
    }
}

fn interval(unchanged: Duration) -> Duration {
    (unchanged / INTERVAL_DIVISOR).clamp(MIN_INTERVAL, MAX_INTERVAL)
}

/// Returns true if something is in progress that the history does not show yet: outputs that are
/// being stored, a job that is queued or being submitted.
fn is_progressing(view: &View) -> bool {
    match view.state.stage {
        Some(Stage::Persisting) => view.state.count(MediaStatus::Pending) > 0,
        Some(Stage::Queued) => true,
        Some(Stage::Generating | Stage::Reconciling | Stage::Finalizing) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_jobs_are_polled_less_often() {
        for (unchanged, expected) in [(0, 5), (20, 5), (60, 15), (600, 60)] {
            let pause = interval(Duration::from_secs(unchanged));
            assert_eq!(pause, Duration::from_secs(expected), "{unchanged}");
        }
    }
}
