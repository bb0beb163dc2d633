//! Following a job as it changes: one watch for each job that somebody follows, however many do. It rides on Temporal's
//! long poll for new events of a history, and reads the job whenever there are any.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use darkroom_workflows::job::{JobId, MediaStatus, Stage};
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{self, error::RecvError},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    access::Caller,
    context::Context,
    jobs::view::View,
    metrics::Held,
    prefer::Wait,
    problem::{Kind, Problem},
    temporal::changes::Changes,
};

/// How far a follower may fall behind before it misses a state.
const BACKLOG: usize = 64;

/// How often to look at what the history says nothing of.
const MOVING: Duration = Duration::from_secs(1);

/// How long to wait when a job cannot be read.
const RETRY: Duration = Duration::from_secs(1);

/// The jobs that are followed.
#[derive(Default)]
pub(crate) struct Watches(Mutex<HashMap<JobId, Weak<Watch>>>);

/// A job that is followed. It is looked at for as long as somebody holds this.
struct Watch {
    latest: Mutex<Latest>,
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
    _watch: Arc<Watch>,
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

/// Follows a job from a state on.
pub(crate) fn follow(
    context: &Arc<Context>,
    caller: &Caller,
    known: &Arc<View>,
) -> Result<Follower, Problem> {
    let place = context.limits.follower(caller)?;
    let job_id = &known.state.job_id;
    let mut watches = context.watches.lock();
    let running = watches
        .get(job_id)
        .and_then(Weak::upgrade)
        .filter(|watch| watch.lock().sender.is_some());
    let watch = running.unwrap_or_else(|| {
        let stop = CancellationToken::new();
        let watch = Arc::new(Watch::new(stop.clone()));
        watches.insert(job_id.clone(), Arc::downgrade(&watch));
        tokio::spawn(run(
            Arc::clone(context),
            job_id.clone(),
            Arc::downgrade(&watch),
            stop,
        ));
        watch
    });
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
        _watch: watch,
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

impl Watches {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Weak<Watch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_idle(&self) {
        self.lock().retain(|_, watch| watch.strong_count() > 0);
    }
}

impl Watch {
    fn new(stop: CancellationToken) -> Self {
        let sender = Some(broadcast::Sender::new(BACKLOG));
        Self {
            latest: Mutex::new(Latest { view: None, sender }),
            _stop_when_dropped: stop.drop_guard(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the followers of a state that they do not know yet.
    fn publish(&self, view: Arc<View>) {
        let mut latest = self.lock();
        let has_ended = view.has_ended();
        if latest
            .view
            .as_ref()
            .is_none_or(|known| known.etag != view.etag)
        {
            if let Some(sender) = &latest.sender {
                // That nobody listens just now is no error.
                let _ = sender.send(Arc::clone(&view));
            }
            latest.view = Some(view);
        }
        if has_ended {
            latest.sender = None;
        }
    }
}

/// Looks at a job until it has ended or nobody follows it any more.
async fn run(context: Arc<Context>, job_id: JobId, watch: Weak<Watch>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = look(&context, &job_id, &watch) => {}
    }
    context.watches.forget_idle();
}

async fn look(context: &Context, job_id: &JobId, watch: &Weak<Watch>) {
    let mut changes = Changes::of(job_id.as_str());
    loop {
        // The place in the history is taken before the job is read, so that no change falls between.
        let changed = changes.next(&context.temporal).await;
        let view = match context.views.current(context, job_id).await {
            Ok(view) => view,
            Err(problem) if problem.kind() == Kind::NotFound => {
                // It was deleted.
                if let Some(watch) = watch.upgrade() {
                    watch.lock().sender = None;
                }
                return;
            }
            Err(_) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let (has_ended, is_moving) = (view.has_ended(), is_moving(&view));
        let Some(watch) = watch.upgrade() else { return };
        watch.publish(view);
        drop(watch);
        if has_ended {
            return;
        }
        if changed.is_err() {
            tokio::time::sleep(RETRY).await;
        }
        if is_moving {
            changes.at_most(MOVING);
        }
    }
}

/// Whether something is going on of which the history says nothing yet: outputs on their way, a job that waits for its turn or is
/// being submitted.
fn is_moving(view: &View) -> bool {
    match view.state.stage {
        Some(Stage::Persisting) => view.state.count(MediaStatus::Pending) > 0,
        Some(Stage::Queued) => true,
        Some(Stage::Generating | Stage::Reconciling | Stage::Finalizing) | None => false,
    }
}
