//! The follower of a feed.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use darkroom_workflows::job::JobId;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::Feed;
use crate::{
    access::Caller, context::Context, jobs::view::View, metrics::GaugeGuard, problem::Problem,
};

/// Limit of jobs whose latest sent state is remembered, and the time for which it is, beyond the
/// limit.
const MAX_KNOWN: usize = 20_000;
const KNOWN: Duration = Duration::from_mins(5);

/// Follower of the feed of a tenant.
pub(crate) struct Follower {
    /// States that were known when it joined.
    present: VecDeque<Arc<View>>,
    updates: broadcast::Receiver<Arc<View>>,
    /// Latest state sent of each job, so that none is sent twice in a row, or after a later one.
    sent: HashMap<JobId, Sent>,
    _feed: Arc<Feed>,
    _permit: OwnedSemaphorePermit,
    _counted: GaugeGuard,
}

struct Sent {
    etag: String,
    read_at: Instant,
}

impl Follower {
    /// Follows the jobs of a caller's tenant: those that are open, and those that have ended since
    /// a time.
    ///
    /// # Errors
    /// If the tenant has too many followers, or Temporal cannot list the jobs.
    pub(crate) async fn join(
        context: &Arc<Context>,
        caller: &Caller,
        since: Timestamp,
    ) -> Result<Self, Problem> {
        let permit = context.limits.follower(caller)?;
        let feed = context.feeds.join(caller.tenant());
        // Subscribed before the jobs are listed, so that no change in between is missed.
        let updates = feed.subscribe();
        let found = context
            .list_pages
            .changed_since(context, caller, since)
            .await?;
        let present = found
            .iter()
            .filter_map(|found| feed.watch(context, &found.job_id));
        Ok(Self {
            present: present.collect(),
            updates,
            sent: HashMap::new(),
            _feed: feed,
            _permit: permit,
            _counted: GaugeGuard::follower(),
        })
    }

    /// Returns the next job that has changed; `None` if the follower lagged and missed states.
    pub(crate) async fn next(&mut self) -> Option<Arc<View>> {
        loop {
            let view = match self.present.pop_front() {
                Some(view) => view,
                None => self.updates.recv().await.ok()?,
            };
            if self.is_news(&view) {
                return Some(view);
            }
        }
    }

    fn is_news(&mut self, view: &View) -> bool {
        let job_id = &view.state.job_id;
        let sent = self.sent.get(job_id);
        if sent.is_some_and(|sent| view.read_at <= sent.read_at || view.etag == sent.etag) {
            return false;
        }
        if self.sent.len() >= MAX_KNOWN {
            self.sent.retain(|_, sent| sent.read_at.elapsed() < KNOWN);
        }
        let sent = Sent {
            etag: view.etag.clone(),
            read_at: view.read_at,
        };
        self.sent.insert(*job_id, sent);
        true
    }
}
