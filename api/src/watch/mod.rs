//! Following of single jobs: one watch per followed job, however many followers it has. `poll` does
//! the polling: by Temporal's long poll for new events of a history up to a limit, and at an
//! interval beyond it.

mod poll;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use darkroom_workflows::job::JobId;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{
    runtime::Handle,
    sync::{
        Notify, OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
    },
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    access::{Caller, Processes},
    context::Context,
    jobs::view::View,
    metrics::GaugeGuard,
    prefer::Wait,
    problem::Problem,
};

/// States that a follower may lag behind before it misses one.
const BACKLOG: usize = 64;

/// Time for which a job stays watched without followers: a caller that waited mostly waits again.
const GRACE_PERIOD: Duration = Duration::from_secs(2);

/// Limit of long polls of histories: a frontend allows 1,200 in a namespace by default.
const LONG_POLLS: NonZeroU32 = NonZeroU32::new(500).unwrap();

/// Rate limit of polls of jobs that may have changed, per second. Polls of jobs that have ended,
/// and polls at an interval, have the same limit each. A poll is one or two calls to Temporal; a
/// server takes 2,400 a second in a namespace by default, and workers need theirs.
const POLLS_PER_SECOND: NonZeroU32 = NonZeroU32::new(300).unwrap();

/// Jobs that are followed.
pub(crate) struct Watches {
    watches: Mutex<HashMap<JobId, Weak<Watch>>>,
    long_polls: Arc<Semaphore>,
    changes: DefaultDirectRateLimiter,
    ends: DefaultDirectRateLimiter,
    polls_per_second: NonZeroU32,
}

/// Followed job. It is polled for as long as this is held.
pub(crate) struct Watch {
    latest: Mutex<Latest>,
    poll_requested: Arc<Notify>,
    _stop_when_dropped: DropGuard,
}

struct Latest {
    view: Option<Arc<View>>,
    /// Absent once no further state follows.
    sender: Option<broadcast::Sender<Arc<View>>>,
}

/// Follower of a job.
pub(crate) struct Follower {
    /// Latest state that it has seen.
    known: Arc<View>,
    first: Option<Arc<View>>,
    updates: Option<broadcast::Receiver<Arc<View>>>,
    watch: Arc<Watch>,
    _permit: OwnedSemaphorePermit,
    _counted: GaugeGuard,
}

impl Follower {
    /// Returns the job each time that it has changed; `None` when it has ended.
    pub(crate) async fn next(&mut self) -> Option<Arc<View>> {
        loop {
            let view = match self.first.take() {
                Some(view) => view,
                None => match self.updates.as_mut()?.recv().await {
                    Ok(view) => view,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                },
            };
            // A view that was read earlier is older, even if it differs.
            if view.read_at > self.known.read_at && view.etag != self.known.etag {
                self.known = Arc::clone(&view);
                return Some(view);
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let (watch, runtime) = (Arc::clone(&self.watch), Handle::try_current());
        if let Some(runtime) = runtime.ok().filter(|_| !self.known.has_ended()) {
            runtime.spawn(async move {
                tokio::time::sleep(GRACE_PERIOD).await;
                drop(watch);
            });
        }
    }
}

/// Follows a job from a state on.
///
/// # Errors
/// If the tenant has too many followers.
pub(crate) fn follow(
    context: &Arc<Context>,
    caller: &Caller,
    known: &Arc<View>,
) -> Result<Follower, Problem> {
    let permit = context.limits.follower(caller)?;
    let watch = watch(context, &known.state.job_id, Some(known));
    let (first, updates) = {
        let latest = watch.lock();
        (
            latest.view.clone(),
            latest.sender.as_ref().map(broadcast::Sender::subscribe),
        )
    };
    Ok(Follower {
        known: Arc::clone(known),
        first,
        updates,
        watch,
        _permit: permit,
        _counted: GaugeGuard::follower(),
    })
}

/// Waits until a state of the job is enough for the caller, or the wait is over.
///
/// # Errors
/// If the tenant has too many followers.
pub(crate) async fn until(
    context: &Arc<Context>,
    caller: &Caller,
    view: Arc<View>,
    wait: Wait,
    is_enough: impl Fn(&View) -> bool,
) -> Result<Arc<View>, Problem> {
    if is_enough(&view) {
        return Ok(view);
    }
    let mut follower = follow(context, caller, &view)?;
    let waiting = async {
        while let Some(view) = follower.next().await {
            if is_enough(&view) {
                return;
            }
        }
    };
    tokio::select! {
        () = waiting => {}
        () = tokio::time::sleep(wait.duration()) => {}
        () = context.shutdown.cancelled() => {}
        () = caller.revoked(context) => {}
    }
    Ok(Arc::clone(&follower.known))
}

/// Watches a job: new states are published to its followers and to the feed of its tenant. If
/// `known` was just read, only later states are new.
pub(crate) fn watch(
    context: &Arc<Context>,
    job_id: &JobId,
    known: Option<&Arc<View>>,
) -> Arc<Watch> {
    let mut watches = context.watches.lock();
    let running = watches
        .get(job_id)
        .and_then(Weak::upgrade)
        .filter(|watch| !watch.is_over());
    running.unwrap_or_else(|| {
        let stop = CancellationToken::new();
        let watch = Arc::new(Watch::new(known.cloned(), stop.clone()));
        watches.insert(*job_id, Arc::downgrade(&watch));
        let (context, job_id) = (Arc::clone(context), *job_id);
        let (weak, poll_requested) = (Arc::downgrade(&watch), Arc::clone(&watch.poll_requested));
        let known = known.cloned();
        tokio::spawn(async move {
            let looking = poll::poll(&context, &job_id, known, &weak, &poll_requested);
            stop.run_until_cancelled(looking).await;
            context.watches.remove_ended(&job_id);
            context.feeds.remove_ended(&job_id);
        });
        watch
    })
}

impl Watches {
    pub(crate) fn new(processes: Processes) -> Self {
        let long_polls = processes.share(LONG_POLLS).get() as usize;
        let polls_per_second = processes.share(POLLS_PER_SECOND);
        Self {
            watches: Mutex::default(),
            long_polls: Arc::new(Semaphore::new(long_polls)),
            changes: RateLimiter::direct(Quota::per_second(polls_per_second)),
            ends: RateLimiter::direct(Quota::per_second(polls_per_second)),
            polls_per_second,
        }
    }

    /// Returns a job as it was last seen, if it is watched.
    pub(crate) fn latest(&self, job_id: &JobId) -> Option<Arc<View>> {
        let watch = self.lock().get(job_id).and_then(Weak::upgrade);
        watch?.latest()
    }

    /// Requests a poll of a job that has ended. Returns false if it is not watched.
    pub(crate) fn poll_now(&self, job_id: &JobId) -> bool {
        let watch = self.lock().get(job_id).and_then(Weak::upgrade);
        watch.is_some_and(|watch| {
            watch.poll_requested.notify_one();
            true
        })
    }

    /// Returns true if all long polls are taken, so that further jobs are polled at an interval.
    pub(crate) fn are_long_polls_exhausted(&self) -> bool {
        self.long_polls.available_permits() == 0
    }

    /// Acquires the slot of a long poll, if there is a free one.
    fn long_poll(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_polls).try_acquire_owned().ok()
    }

    /// Returns the pause with jitter, and longer if there are too many jobs for the rate limit.
    fn pace(&self, pause: Duration) -> Duration {
        let jobs = u32::try_from(self.lock().len()).unwrap_or(u32::MAX);
        let least = Duration::from_secs(jobs.into()) / self.polls_per_second.get();
        pause.max(least).mul_f64(0.75 + 0.5 * fastrand::f64())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Weak<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a watch that is over, unless another one has replaced it.
    fn remove_ended(&self, job_id: &JobId) {
        let mut watches = self.lock();
        let watch = watches.get(job_id).map(Weak::upgrade);
        if watch.is_some_and(|watch| watch.is_none_or(|watch| watch.is_over())) {
            watches.remove(job_id);
        }
    }
}

impl Watch {
    fn new(view: Option<Arc<View>>, stop: CancellationToken) -> Self {
        let sender = Some(broadcast::Sender::new(BACKLOG));
        Self {
            latest: Mutex::new(Latest { view, sender }),
            poll_requested: Arc::default(),
            _stop_when_dropped: stop.drop_guard(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the job as it was last seen.
    pub(crate) fn latest(&self) -> Option<Arc<View>> {
        self.lock().view.clone()
    }

    /// Publishes a state to the followers. Returns false if it is not new.
    fn publish(&self, view: &Arc<View>) -> bool {
        let mut latest = self.lock();
        let known = latest.view.as_ref();
        let is_news = known.is_none_or(|known| known.etag != view.etag);
        if is_news {
            if let Some(sender) = &latest.sender {
                // Ignored: there are no followers at the moment.
                let _ = sender.send(Arc::clone(view));
            }
            latest.view = Some(Arc::clone(view));
        }
        if view.has_ended() {
            latest.sender = None;
        }
        is_news
    }

    /// Returns true if no further state follows.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().sender.is_none()
    }

    /// Ends the watch: no further state follows.
    fn end(&self) {
        self.lock().sender = None;
    }
}
