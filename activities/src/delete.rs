//! `delete_job`: deletes a job from Temporal and the store. Each step is idempotent, as an attempt
//! may be cut off after any of them, and the last attempt verifies that nothing is left.
//!
//! The order matters to concurrent readers. The tombstone is written before the job is gone, so
//! that a repeated request does not start the job again; and a job is read from Temporal before it
//! is read from its manifest.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use darkroom_storage::Storage;
use darkroom_temporal::{
    heartbeat::{Drain, Heartbeat},
    runs::{self, LatestRun, RunId},
};
use darkroom_workflows::{
    contract::delete::DeleteJobInput,
    failure::FailureType,
    job::{IndexEntry, Tombstone},
    job_deletion::{deletion_id, expiry_id},
};
use futures::{StreamExt, TryStreamExt, stream};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use temporalio_client::Client;
use temporalio_sdk::activities::ActivityContext;

use crate::{failure::Failure, tombstone};

/// Number of objects deleted at a time.
const CONCURRENCY: usize = 16;

/// Maximum number of keys in a page of a listing.
const PAGE: u16 = 1000;

/// Maximum number of runs in a page of a listing.
const RUNS: u16 = 500;

/// Delay before the next attempt, which checks again whether a job has closed or is gone: the first
/// one, and the longest. Temporal takes half a minute to delete a workflow that has just closed.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Rate limit of a worker's searches for runs to delete, per second. A server answers ten
/// visibility queries a second by default, most of which the callers of the api need.
const SEARCH_RATE: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Rate limiter of searches for runs to delete, which all deletions of a worker share.
#[derive(Clone, Debug)]
pub struct Searches(Arc<DefaultDirectRateLimiter>);

impl Default for Searches {
    fn default() -> Self {
        Self(Arc::new(RateLimiter::direct(Quota::per_second(
            SEARCH_RATE,
        ))))
    }
}

/// Deletes a job.
///
/// # Errors
/// If the job has not closed yet, if something of it is left, or if the store or Temporal refuses
/// or cannot be reached.
pub async fn delete_job(
    storage: &Storage,
    searches: &Searches,
    ctx: &ActivityContext,
    drain: Drain,
    input: &DeleteJobInput,
) -> Result<(), Failure> {
    let heartbeat = Heartbeat::start(ctx, drain);
    heartbeat.note(&())?;
    let deletion = Deletion {
        storage,
        searches,
        heartbeat: &heartbeat,
        client: ctx.client(),
        entry: &input.entry,
        own_run: ctx.info().workflow_run_id.clone().unwrap_or_default(),
        attempt: ctx.info().attempt,
        pause: FIRST_DELAY
            .saturating_mul(ctx.info().attempt)
            .min(LONGEST_DELAY),
    };
    let deleted = heartbeat.until_interrupted(Box::pin(deletion.run(input.is_requested)));
    let deleted = deleted.await;
    heartbeat.end(deleted).await
}

/// One attempt at a deletion.
struct Deletion<'a> {
    storage: &'a Storage,
    searches: &'a Searches,
    heartbeat: &'a Heartbeat,
    client: Client,
    entry: &'a IndexEntry,
    /// Run id of the workflow that this activity belongs to.
    own_run: String,
    attempt: u32,
    /// Delay of the next attempt if this one cannot finish.
    pause: Duration,
}

impl Deletion<'_> {
    async fn run(&self, is_requested: bool) -> Result<(), Failure> {
        let job_id = &self.entry.job_id;
        let latest = runs::latest(&self.client, &job_id.to_string()).await?;
        // A deletion that has begun is completed, whether a request or expiry began it.
        let has_begun = is_requested
            || tombstone::read(self.storage, job_id).await? == Some(Tombstone::Deleted);
        if latest == LatestRun::Open {
            if !has_begun {
                return Err(self.under_way("the job was retried"));
            }
            // An open run is canceled, never terminated: termination would leave its prediction
            // running. For callers the job is gone from here on.
            tombstone::write(self.storage, job_id, Tombstone::Deleted).await?;
            runs::request_cancel(&self.client, &job_id.to_string(), "the job is deleted").await?;
            return Err(self.under_way("the job is being canceled first"));
        }
        if !has_begun {
            // A retry that ended meanwhile has replaced this expiry, before it closed.
            self.heartbeat.record(&()).await?;
        }
        tombstone::write(self.storage, job_id, Tombstone::Deleted).await?;
        let had_runs = self.delete_runs().await?;
        self.delete_objects().await?;
        self.storage.delete(&self.entry.key()).await?;
        // Visibility may not show recent runs yet, so a second attempt searches again.
        if had_runs || self.attempt == 1 {
            return Err(self.under_way("Temporal still keeps the job"));
        }
        tracing::info!(%job_id, "job deleted");
        Ok(())
    }

    /// Deletes the runs of the job, of its webhooks, of its expiry and of earlier deletions.
    /// Returns whether there were any, or may be.
    async fn delete_runs(&self) -> Result<bool, Failure> {
        let job_id = &self.entry.job_id;
        // A run that has just started may have missed the tombstone.
        match runs::latest(&self.client, &job_id.to_string()).await? {
            LatestRun::Open => return Err(self.under_way("the job was retried")),
            // Its other runs are searched for once it is gone: visibility queries are scarce.
            LatestRun::Closed(run_id) => {
                let workflow_id = job_id.to_string();
                let run = RunId {
                    workflow_id,
                    run_id,
                };
                runs::delete(&self.client, run).await?;
                return Ok(true);
            }
            LatestRun::Unknown => {}
        }
        let (deletion, expiry) = (deletion_id(job_id), expiry_id(job_id));
        let query = format!(
            "WorkflowId IN ('{job_id}', '{expiry}', '{deletion}') OR WorkflowId STARTS_WITH 'webhook-{job_id}-'"
        );
        // Not awaited here: the slot is needed for manifests, too. The objects go first, and the
        // next attempt searches.
        if self.searches.0.check().is_err() {
            return Ok(true);
        }
        let page = runs::list(&self.client, query, RUNS, Vec::new()).await?;
        let mut had_runs = false;
        for run in page.runs {
            // Open runs of the job and of other deletions stay: of two concurrent deletions neither
            // stops the other.
            let is_of_others =
                run.id.workflow_id == deletion || run.id.workflow_id == job_id.to_string();
            if run.id.run_id != self.own_run && !(run.is_open && is_of_others) {
                had_runs = true;
                runs::delete(&self.client, run.id).await?;
            }
        }
        Ok(had_runs)
    }

    /// Aborts the job's multipart uploads and deletes its objects.
    async fn delete_objects(&self) -> Result<(), Failure> {
        let prefix = self.entry.job_id.prefix();
        let mut after = None;
        loop {
            let page = self.storage.list_uploads(&prefix, after).await?;
            for listed in page.uploads {
                if !self.storage.abort_upload(&listed.upload).await {
                    return Err(self.under_way("a multipart upload cannot be aborted yet"));
                }
            }
            if page.next.is_none() {
                break;
            }
            after = page.next;
        }
        let mut removed = BTreeSet::new();
        loop {
            let page = self.storage.list(&prefix, None, PAGE).await?;
            let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
            if keys.is_empty() {
                return Ok(());
            }
            // Avoids an endless loop if the store keeps listing deleted objects.
            if keys.iter().any(|key| !removed.insert(key.clone())) {
                return Err(self.under_way("the store still lists deleted objects"));
            }
            let deletions =
                stream::iter(keys).map(|key| async move { self.storage.delete(&key).await });
            deletions
                .buffer_unordered(CONCURRENCY)
                .try_collect::<Vec<()>>()
                .await?;
        }
    }

    fn under_way(&self, detail: &str) -> Failure {
        Failure::retry_after(FailureType::DeletionUnderWay, detail, self.pause)
    }
}
