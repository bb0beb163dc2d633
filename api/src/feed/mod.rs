//! The feed of a tenant's jobs: the present state of each that changes, for as long as somebody follows it. The watches of
//! jobs tell it of states; `reader` finds the jobs that there are to watch, and `follower` is one who is told.

mod follower;
mod reader;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use darkroom_workflows::{job::JobId, tenant::Tenant};
use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::broadcast;

pub(crate) use self::{follower::Follower, reader::read};
use crate::{
    context::Context,
    jobs::view::View,
    watch::{self, Watch},
};

/// How far a follower may fall behind before it is cut off, to go on from where it was.
const BACKLOG: usize = 1024;

/// How long a run is remembered that was seen to close, and how many are.
const SEEN: Duration = Duration::from_mins(5);
const MAX_SEEN: u64 = 100_000;

/// The feeds that are followed.
pub(crate) struct Feeds {
    feeds: Mutex<HashMap<Option<Tenant>, Weak<Feed>>>,
    /// Until when all that has happened was found, in milliseconds since 1970.
    position: AtomicI64,
    /// Runs whose ends were told.
    told: Cache<String, ()>,
}

/// The feed of a tenant. Its jobs are watched for as long as somebody holds this.
pub(crate) struct Feed {
    sender: broadcast::Sender<Arc<View>>,
    watched: Mutex<HashMap<JobId, Arc<Watch>>>,
}

impl Feeds {
    pub(crate) fn new() -> Self {
        Self {
            feeds: Mutex::default(),
            position: AtomicI64::new(i64::MIN),
            told: Cache::builder()
                .max_capacity(MAX_SEEN)
                .time_to_live(SEEN)
                .build(),
        }
    }

    /// The feed of a tenant, to be followed.
    pub(crate) fn join(&self, tenant: Option<&Tenant>) -> Arc<Feed> {
        let mut feeds = self.lock();
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let known = feeds.get(&tenant.cloned()).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let feed = Arc::new(Feed {
                sender: broadcast::Sender::new(BACKLOG),
                watched: Mutex::default(),
            });
            feeds.insert(tenant.cloned(), Arc::downgrade(&feed));
            feed
        })
    }

    /// Until when all that has happened was found, if anybody has looked since this time.
    pub(crate) fn position_since(&self, since: Timestamp) -> Timestamp {
        let position = self.position.load(Ordering::Relaxed);
        Timestamp::from_millisecond(position).map_or(since, |position| position.max(since))
    }

    /// Tells a new state of a job to whoever follows the feed of its tenant.
    pub(crate) fn publish(&self, view: &Arc<View>) {
        if view.has_ended()
            && let Some(run_id) = view.run_id()
        {
            self.told.insert(run_id.to_owned(), ());
        }
        if let Some(feed) = self.of(view.state.tenant.as_ref()) {
            // That nobody listens just now is no error.
            let _ = feed.sender.send(Arc::clone(view));
        }
    }

    /// Lets go of a watch that is over, unless another one has taken its place.
    pub(crate) fn forget(&self, job_id: &JobId) {
        let feeds: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for feed in feeds {
            let mut watched = feed.lock();
            if watched.get(job_id).is_some_and(|watch| watch.is_over()) {
                watched.remove(job_id);
            }
        }
    }

    /// Whether somebody follows a feed.
    fn are_followed(&self) -> bool {
        self.lock().values().any(|feed| feed.strong_count() > 0)
    }

    /// The feed of a tenant, if somebody follows it.
    fn of(&self, tenant: Option<&Tenant>) -> Option<Arc<Feed>> {
        self.lock().get(&tenant.cloned()).and_then(Weak::upgrade)
    }

    fn advance(&self, position: Timestamp) {
        self.position
            .fetch_max(position.as_millisecond(), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Option<Tenant>, Weak<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// The states that are told from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<View>> {
        self.sender.subscribe()
    }

    /// Has a job watched until it has ended. Its present state is told; it is the answer if it is known
    /// already. A job that is being deleted is not watched.
    pub(crate) fn watch(&self, context: &Arc<Context>, job_id: &JobId) -> Option<Arc<View>> {
        if context.views.is_deleted(job_id) {
            return None;
        }
        let watch = watch::watch(context, job_id, None);
        let latest = watch.latest();
        if latest.as_ref().is_none_or(|view| !view.has_ended()) {
            self.lock().insert(job_id.clone(), watch);
        }
        latest
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<Watch>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
