//! A job as it was read, once: what handlers decide by, and the body as callers get it. Views are shared: however many
//! callers read a job, Temporal is asked once in a while, and never twice at a time.

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

/// How much the views that are kept may take, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How long a job that is under way counts as just read.
const BLINK: Duration = Duration::from_millis(200);

/// The same for one that has ended but may be taken up again through another process.
const ENDED: Duration = Duration::from_secs(1);

/// The same for one that never changes any more, until it is deleted.
const SETTLED: Duration = Duration::from_secs(5);

/// How long a view is kept after it was last looked at, for what stays true of it.
const KEPT: Duration = Duration::from_mins(2);

/// A job as it was read.
pub(crate) struct View {
    pub(crate) state: JobState,
    /// How far outputs that are on their way had come.
    pub(super) progress: Vec<PersistProgress>,
    /// The job resource as JSON.
    pub(crate) body: Bytes,
    /// Changes with the body.
    pub(crate) etag: String,
    /// When the reading of it began: what was read later is no older.
    pub(crate) read_at: Instant,
    /// What the workflow said of it.
    pub(super) recorded: Option<Recorded>,
}

impl View {
    /// A job that was just written, as it is now.
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

    /// The run of its workflow that told the state.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.recorded.as_ref().map(Recorded::run_id)
    }

    /// How many events the history of its run had at least; none if its workflow was not there to tell.
    pub(crate) fn history_length(&self) -> i64 {
        self.recorded.as_ref().map_or(0, Recorded::history_length)
    }

    /// Whether it is under way and its workflow was not there to tell.
    pub(crate) fn is_stale(&self) -> bool {
        self.recorded.is_none() && !self.has_ended()
    }

    fn validity(&self) -> Duration {
        match self.state.status {
            JobStatus::Pending | JobStatus::Processing => BLINK,
            JobStatus::Partial | JobStatus::Failed => ENDED,
            JobStatus::Completed | JobStatus::Canceled => SETTLED,
        }
    }
}

/// How long a job that is to be deleted counts as gone, and how many do: longer than it mostly takes.
const DELETION: Duration = Duration::from_mins(5);
const MAX_DELETIONS: u64 = 100_000;

/// How long a job that is nowhere counts as nowhere, and how many do: whoever makes ids up asks neither Temporal nor the store
/// for each.
const ABSENCE: Duration = Duration::from_secs(2);
const MAX_ABSENT: u64 = 10_000;

/// The views that were made lately.
pub(crate) struct Views {
    /// Those that are as good as just read.
    valid: Cache<JobId, Arc<View>>,
    /// The last one of each job.
    last: Cache<JobId, Arc<View>>,
    /// Jobs that there are not.
    absent: Cache<JobId, ()>,
    /// Jobs that are being deleted at the wish of their callers.
    deleted: Cache<JobId, ()>,
}

impl Views {
    pub(crate) fn new() -> Self {
        // A state takes about as much as its JSON, of which a job with many outputs shows a part, and there are two.
        let weigh = |_: &JobId, view: &Arc<View>| {
            let further = 1024 * view.state.media.len();
            u32::try_from(3 * view.body.len() + further + 256).unwrap_or(u32::MAX)
        };
        let of_limited_size = || Cache::builder().weigher(weigh).max_capacity(MAX_BYTES);
        Self {
            valid: of_limited_size().expire_after(Validity).build(),
            // These are mostly the same ones.
            last: of_limited_size().time_to_idle(KEPT).build(),
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

    /// A job as it was a moment ago.
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
            self.absent.insert(job_id.clone(), ()).await;
        }
        view
    }

    /// A job as it is now.
    pub(crate) async fn current(
        &self,
        context: &Context,
        job_id: &JobId,
    ) -> Result<Arc<View>, Problem> {
        let view = self.load(context, job_id).await?;
        self.valid.insert(job_id.clone(), Arc::clone(&view)).await;
        Ok(view)
    }

    /// Forgets a job that was just changed.
    pub(crate) async fn forget(&self, job_id: &JobId) {
        self.valid.invalidate(job_id).await;
        self.absent.invalidate(job_id).await;
    }

    /// On the heap, as it has many ways to go and so takes much room.
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
            self.last.insert(job_id.clone(), Arc::clone(&view)).await;
            Ok(view)
        }
        .boxed()
    }

    /// Has a job count as gone that is being deleted.
    pub(super) async fn delete(&self, job_id: &JobId) {
        self.deleted.insert(job_id.clone(), ()).await;
        self.forget(job_id).await;
    }

    /// Whether a job counts as gone.
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
