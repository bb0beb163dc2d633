//! Following a job as it changes: one watch for each job that somebody follows, however many do. `look` does the looking: it
//! rides on Temporal's long poll for new events of a history while there are few, and asks now and then beyond that.

mod look;

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
    metrics::Held,
    prefer::Wait,
    problem::Problem,
};

/// How far a follower may fall behind before it misses a state.
const BACKLOG: usize = 64;

/// How long a job is watched on that nobody follows any more: whoever waited for it mostly waits once more.
const LINGER: Duration = Duration::from_secs(2);

/// How many histories are listened to: a frontend lets 1,200 calls of a namespace wait by default.
const LONG_POLLS: NonZeroU32 = NonZeroU32::new(500).unwrap();

/// How many looks a second are taken at jobs that may have changed; as many are taken at those that have ended, and because time
/// has passed. Each is of one call to Temporal, or of two; a server takes 2,400 a second of a namespace by default, and workers
/// need theirs.
const LOOKS: NonZeroU32 = NonZeroU32::new(300).unwrap();

/// The jobs that are followed.
pub(crate) struct Watches {
    watches: Mutex<HashMap<JobId, Weak<Watch>>>,
    long_polls: Arc<Semaphore>,
    changes: DefaultDirectRateLimiter,
    ends: DefaultDirectRateLimiter,
    looks_per_second: NonZeroU32,
}

/// A job that is followed. It is looked at for as long as somebody holds this.
pub(crate) struct Watch {
    latest: Mutex<Latest>,
    nudged: Arc<Notify>,
    _stop_when_dropped: DropGuard,
}

struct Latest {
    view: Option<Arc<View>>,
    /// Gone when there is nothing more to come.
    sender: Option<broadcast::Sender<Arc<View>>>,
}

/// One follower of a job.
pub(crate) struct Follower {
    /// The last state that it has seen.
    known: Arc<View>,
    first: Option<Arc<View>>,
    updates: Option<broadcast::Receiver<Arc<View>>>,
    watch: Arc<Watch>,
    _place: OwnedSemaphorePermit,
    _counted: Held,
}

impl Follower {
    /// The job each time that it has changed; `None` when it has ended.
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
            // What was read before is no news, even if it differs.
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
                tokio::time::sleep(LINGER).await;
                drop(watch);
            });
        }
    }
}

/// Follows a job from a state on.
pub(crate) fn follow(
    context: &Arc<Context>,
    caller: &Caller,
    known: &Arc<View>,
) -> Result<Follower, Problem> {
    let place = context.limits.follower(caller)?;
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
        _place: place,
        _counted: Held::follower(),
    })
}

/// Waits until a job that was read is more to the caller's liking, or the time is over.
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

/// Watches a job: whatever is new of it is told to its followers and to the feed of its tenant. Of one that was just read, as
/// `known`, that is what comes after.
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
        watches.insert(job_id.clone(), Arc::downgrade(&watch));
        let (context, job_id) = (Arc::clone(context), job_id.clone());
        let (weak, nudged) = (Arc::downgrade(&watch), Arc::clone(&watch.nudged));
        let known = known.cloned();
        tokio::spawn(async move {
            let looking = look::look(&context, &job_id, known, &weak, &nudged);
            stop.run_until_cancelled(looking).await;
            context.watches.forget(&job_id);
            context.feeds.forget(&job_id);
        });
        watch
    })
}

impl Watches {
    pub(crate) fn new(processes: Processes) -> Self {
        let long_polls = processes.share(LONG_POLLS).get() as usize;
        let looks_per_second = processes.share(LOOKS);
        Self {
            watches: Mutex::default(),
            long_polls: Arc::new(Semaphore::new(long_polls)),
            changes: RateLimiter::direct(Quota::per_second(looks_per_second)),
            ends: RateLimiter::direct(Quota::per_second(looks_per_second)),
            looks_per_second,
        }
    }

    /// A job as it was last seen, if it is watched.
    pub(crate) fn latest(&self, job_id: &JobId) -> Option<Arc<View>> {
        let watch = self.lock().get(job_id).and_then(Weak::upgrade);
        watch?.latest()
    }

    /// Has a job looked at that has ended, if it is watched; whether it is.
    pub(crate) fn nudge(&self, job_id: &JobId) -> bool {
        let watch = self.lock().get(job_id).and_then(Weak::upgrade);
        watch.is_some_and(|watch| {
            watch.nudged.notify_one();
            true
        })
    }

    /// Whether there are jobs whose histories nobody listens to.
    pub(crate) fn are_unheard(&self) -> bool {
        self.long_polls.available_permits() == 0
    }

    /// A place among those who listen to a history.
    fn long_poll(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_polls).try_acquire_owned().ok()
    }

    /// After about how long to look once more: after this, or later where there are too many jobs for that.
    fn pace(&self, pause: Duration) -> Duration {
        let jobs = u32::try_from(self.lock().len()).unwrap_or(u32::MAX);
        let least = Duration::from_secs(jobs.into()) / self.looks_per_second.get();
        pause.max(least).mul_f64(0.75 + 0.5 * fastrand::f64())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Weak<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a watch that is over, unless another one has taken its place.
    fn forget(&self, job_id: &JobId) {
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
            nudged: Arc::default(),
            _stop_when_dropped: stop.drop_guard(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job as it was last seen.
    pub(crate) fn latest(&self) -> Option<Arc<View>> {
        self.lock().view.clone()
    }

    /// Tells the followers of a state, unless they know it; whether they did not.
    fn publish(&self, view: &Arc<View>) -> bool {
        let mut latest = self.lock();
        let known = latest.view.as_ref();
        let is_news = known.is_none_or(|known| known.etag != view.etag);
        if is_news {
            if let Some(sender) = &latest.sender {
                // That nobody listens just now is no error.
                let _ = sender.send(Arc::clone(view));
            }
            latest.view = Some(Arc::clone(view));
        }
        if view.has_ended() {
            latest.sender = None;
        }
        is_news
    }

    /// Whether there is nothing more to come.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().sender.is_none()
    }

    /// There is nothing more to come.
    fn end(&self) {
        self.lock().sender = None;
    }
}
