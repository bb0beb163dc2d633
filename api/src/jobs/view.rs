//! The cache of jobs as they were read: the state for handlers, and the body for callers. Views are
//! shared: however many callers read a job, Temporal is asked only when its view has expired, and
//! never twice at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use darkroom_workflows::{
    contract::persist::PersistProgress,
    job::{JobId, JobState, JobStatus},
};
use futures::{FutureExt, future::BoxFuture};
use moka::{Expiry, future::Cache};
use sha2::{Digest, Sha256};

use super::{
    load::{self, Recorded, Snapshot},
    resource,
};
use crate::{
    context::Context,
    json, metrics,
    problem::{Kind, Problem},
};

/// Size limit of the cached views, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Time for which the view of a job that is under way is valid.
const RUNNING_TTL: Duration = Duration::from_millis(200);

/// Time for which the view of a job that has ended, but may be retried through another process, is
/// valid.
const RETRYABLE_TTL: Duration = Duration::from_secs(1);

/// Time for which the view of a job that never changes any more, until it is deleted, is valid.
const TERMINAL_TTL: Duration = Duration::from_secs(5);

/// Idle time after which a view is evicted. What its workflow returned may be valid until then.
const IDLE_TTL: Duration = Duration::from_mins(2);

/// Job as it was read.
pub(crate) struct View {
    pub(crate) state: JobState,
    /// Progress of the outputs that are being stored.
    pub(super) progress: Vec<PersistProgress>,
    /// Job resource as JSON.
    pub(crate) body: Bytes,
    /// Entity tag, which changes with the body.
    pub(crate) etag: String,
    /// Time at which the read began. A view that was read later is not older.
    pub(crate) read_at: Instant,
    /// State as the workflow returned it.
    pub(super) recorded: Option<Recorded>,
}

impl View {
    /// Creates the view of a job that was just written.
    pub(super) async fn of(context: &Context, snapshot: Snapshot) -> Result<Self, Problem> {
        Self::read_at(context, snapshot, Instant::now()).await
    }

    async fn read_at(
        context: &Context,
        snapshot: Snapshot,
        read_at: Instant,
    ) -> Result<Self, Problem> {
        let (state, progress) = (snapshot.state.clone(), snapshot.progress.clone());
        let recorded = snapshot.recorded.clone();
        let body = json::write(&resource::present(context, snapshot).await)?;
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..12]));
        Ok(Self {
            state,
            progress,
            body: body.into(),
            etag,
            read_at,
            recorded,
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state.status.is_terminal()
    }

    /// Returns the run that returned the state.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.recorded.as_ref().map(Recorded::run_id)
    }

    /// Returns a lower bound of the length of its run's history; 0 if the workflow did not answer.
    pub(crate) fn history_length(&self) -> i64 {
        self.recorded.as_ref().map_or(0, Recorded::history_length)
    }

    /// Returns true if the job is under way and its workflow did not answer.
    pub(crate) fn is_stale(&self) -> bool {
        self.recorded.is_none() && !self.has_ended()
    }

    fn validity(&self) -> Duration {
        match self.state.status {
            JobStatus::Pending | JobStatus::Processing => RUNNING_TTL,
            JobStatus::Partial | JobStatus::Failed => RETRYABLE_TTL,
            JobStatus::Completed | JobStatus::Canceled => TERMINAL_TTL,
        }
    }
}

/// Time for which a job that is being deleted counts as gone, longer than a deletion mostly takes,
/// and the limit of such jobs.
const DELETION: Duration = Duration::from_mins(5);
const MAX_DELETIONS: u64 = 100_000;

/// Time for which an unknown id is cached as absent, and the limit of such ids: a client that
/// repeats generated ids causes no call to Temporal or the store for each request.
const ABSENCE: Duration = Duration::from_secs(2);
const MAX_ABSENT: u64 = 10_000;

/// Cache of views.
pub(crate) struct Views {
    /// Views that are valid.
    valid: Cache<JobId, Arc<View>>,
    /// Latest view of each job.
    last: Cache<JobId, Arc<View>>,
    /// Ids that have no job.
    absent: Cache<JobId, ()>,
    /// Jobs whose callers have requested their deletion.
    deleted: Cache<JobId, ()>,
}

impl Views {
    pub(crate) fn new() -> Self {
        // A state takes about as much as its JSON, and there are two of them. The JSON of a job
        // with many outputs shows only a part of them.
        let weigh = |_: &JobId, view: &Arc<View>| {
            let further = 1024 * view.state.media.len();
            u32::try_from(3 * view.body.len() + further + 256).unwrap_or(u32::MAX)
        };
        let of_limited_size = || Cache::builder().weigher(weigh).max_capacity(MAX_BYTES);
        Self {
            valid: of_limited_size().expire_after(Validity).build(),
            // Mostly the same views as the valid ones.
            last: of_limited_size().time_to_idle(IDLE_TTL).build(),
            absent: Cache::builder()
                .max_capacity(MAX_ABSENT)
                .time_to_live(ABSENCE)
                .build(),
            deleted: Cache::builder()
                .max_capacity(MAX_DELETIONS)
                .time_to_live(DELETION)
                .build(),
        }
    }

    /// Returns a job, at most a moment old.
    pub(crate) async fn recent(
        &self,
        context: &Context,
        job_id: &JobId,
    ) -> Result<Arc<View>, Problem> {
        metrics::read();
        if self.absent.contains_key(job_id) {
            return Err(Problem::not_found("job"));
        }
        let view = self
            .valid
            .try_get_with_by_ref(job_id, self.load(context, job_id));
        let view = view.await.map_err(|problem| Problem::clone(&problem));
        if matches!(&view, Err(problem) if problem.kind() == Kind::NotFound) {
            self.absent.insert(*job_id, ()).await;
        }
        view
    }

    /// Reads a job as it is now.
    pub(crate) async fn current(
        &self,
        context: &Context,
        job_id: &JobId,
    ) -> Result<Arc<View>, Problem> {
        let view = self.load(context, job_id).await?;
        self.valid.insert(*job_id, Arc::clone(&view)).await;
        Ok(view)
    }

    /// Evicts a job that was just changed.
    pub(crate) async fn invalidate(&self, job_id: &JobId) {
        self.valid.invalidate(job_id).await;
        self.absent.invalidate(job_id).await;
    }

    /// Reads a job. Boxed, as the future has many branches and is large.
    fn load<'a>(
        &'a self,
        context: &'a Context,
        job_id: &'a JobId,
    ) -> BoxFuture<'a, Result<Arc<View>, Problem>> {
        metrics::loaded();
        async move {
            let read_at = Instant::now();
            let known = self.last.get(job_id).await;
            let known = known.as_ref().and_then(|view| view.recorded.as_ref());
            let snapshot = load::load(context, job_id, known).await?;
            let view = Arc::new(View::read_at(context, snapshot, read_at).await?);
            self.last.insert(*job_id, Arc::clone(&view)).await;
            Ok(view)
        }
        .boxed()
    }

    /// Makes a job that is being deleted count as gone.
    pub(super) async fn delete(&self, job_id: &JobId) {
        self.deleted.insert(*job_id, ()).await;
        self.invalidate(job_id).await;
    }

    /// Returns true if a job counts as gone.
    pub(crate) fn is_deleted(&self, job_id: &JobId) -> bool {
        self.deleted.contains_key(job_id)
    }
}

struct Validity;

impl Expiry<JobId, Arc<View>> for Validity {
    fn expire_after_create(&self, _: &JobId, view: &Arc<View>, _: Instant) -> Option<Duration> {
        Some(view.validity())
    }

    fn expire_after_update(
        &self,
        _: &JobId,
        view: &Arc<View>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(view.validity())
    }
}
