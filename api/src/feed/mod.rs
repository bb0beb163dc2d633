//! Feeds: the present state of each job of a tenant that changes, for as long as the feed is
//! followed. The watches of jobs publish states; `reader` finds the jobs to watch, and `follower`
//! receives the states.

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

/// States that a follower may lag behind before it is disconnected, to resume from its position.
const BACKLOG: usize = 1024;

/// Time for which a run that was seen to close is remembered, and the limit of such runs.
const SEEN: Duration = Duration::from_mins(5);
const MAX_SEEN: u64 = 100_000;

/// Feeds that are followed.
pub(crate) struct Feeds {
    feeds: Mutex<HashMap<Option<Tenant>, Weak<Feed>>>,
    /// Time up to which all changes were found, in milliseconds since 1970.
    position: AtomicI64,
    /// Runs whose ends were published.
    sent: Cache<String, ()>,
}

/// Feed of a tenant. Its jobs are watched for as long as this is held.
pub(crate) struct Feed {
    sender: broadcast::Sender<Arc<View>>,
    watched: Mutex<HashMap<JobId, Arc<Watch>>>,
}

impl Feeds {
    pub(crate) fn new() -> Self {
        Self {
            feeds: Mutex::default(),
            position: AtomicI64::new(i64::MIN),
            sent: Cache::builder()
                .max_capacity(MAX_SEEN)
                .time_to_live(SEEN)
                .build(),
        }
    }

    /// Returns the feed of a tenant, so that it can be followed.
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

    /// Returns the time up to which all changes were found, or `since` if that is later.
    pub(crate) fn position_since(&self, since: Timestamp) -> Timestamp {
        let position = self.position.load(Ordering::Relaxed);
        Timestamp::from_millisecond(position).map_or(since, |position| position.max(since))
    }

    /// Publishes a new state of a job to the feed of its tenant.
    pub(crate) fn publish(&self, view: &Arc<View>) {
        if view.has_ended()
            && let Some(run_id) = view.run_id()
        {
            self.sent.insert(run_id.to_owned(), ());
        }
        if let Some(feed) = self.of(view.state.tenant.as_ref()) {
            // Ignored: there are no followers at the moment.
            let _ = feed.sender.send(Arc::clone(view));
        }
    }

    /// Removes a watch that is over, unless another one has replaced it.
    pub(crate) fn remove_ended(&self, job_id: &JobId) {
        let feeds: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for feed in feeds {
            let mut watched = feed.lock();
            if watched.get(job_id).is_some_and(|watch| watch.is_over()) {
                watched.remove(job_id);
            }
        }
    }

    /// Returns true if a feed is followed.
    fn are_followed(&self) -> bool {
        self.lock().values().any(|feed| feed.strong_count() > 0)
    }

    /// Returns the feed of a tenant, if it is followed.
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
    /// Subscribes to the states that are published from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<View>> {
        self.sender.subscribe()
    }

    /// Watches a job until it has ended. Its present state is returned if it is known already, and
    /// published otherwise. A job that is being deleted is not watched.
    pub(crate) fn watch(&self, context: &Arc<Context>, job_id: &JobId) -> Option<Arc<View>> {
        if context.views.is_deleted(job_id) {
            return None;
        }
        let watch = watch::watch(context, job_id, None);
        let latest = watch.latest();
        if latest.as_ref().is_none_or(|view| !view.has_ended()) {
            self.lock().insert(*job_id, watch);
        }
        latest
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<Watch>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
