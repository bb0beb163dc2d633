//! `sweep`: removes abandoned data from the store: multipart uploads of attempts that were killed,
//! and objects that canceled attempts wrote nevertheless. Objects that a manifest names stay, and
//! so do those that are young or whose job is open.
//!
//! - `uploads`: multipart uploads that no attempt will finish
//! - `terminated`: jobs that were ended from outside, of which the store has no record
//! - `jobs`: the jobs in the index, and the tombstones
//! - `expired`: jobs whose own deletion at their expiry did not come
//! - `checkpoint`: where the next sweep resumes

mod checkpoint;
mod expired;
mod jobs;
mod terminated;
mod uploads;

use std::{collections::BTreeSet, time::Duration};

use darkroom_storage::Storage;
use darkroom_temporal::{
    heartbeat::{Drain, Heartbeat},
    runs::{self, LatestRun},
};
use darkroom_workflows::{
    contract::sweep::{SweepInput, Swept},
    failure::FailureType,
    job::{JobId, ObjectKey},
};
use jiff::Timestamp;
use temporalio_client::Client;
use temporalio_sdk::activities::ActivityContext;

use crate::{failure::Failure, manifest::Manifest, metrics};

/// Number of uploads or jobs processed at a time.
const CONCURRENCY: usize = 16;

/// Maximum number of keys in a page of a listing.
const PAGE: u16 = 1000;

/// Removes multipart uploads and objects that are old enough and abandoned.
///
/// # Errors
/// If the store or Temporal refuses or cannot be reached.
pub async fn sweep(
    storage: &Storage,
    ctx: &ActivityContext,
    drain: Drain,
    input: SweepInput,
) -> Result<Swept, Failure> {
    let heartbeat = Heartbeat::start(ctx, drain);
    heartbeat.note(&())?;
    let sweep = Sweep {
        storage,
        client: ctx.client(),
        input,
    };
    let swept = heartbeat.until_interrupted(Box::pin(sweep.run())).await;
    heartbeat.end(swept).await
}

/// One sweep.
struct Sweep<'a> {
    storage: &'a Storage,
    client: Client,
    input: SweepInput,
}

impl Sweep<'_> {
    async fn run(&self) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        self.abort_uploads(&mut swept).await?;
        self.sweep_terminated(&mut swept).await?;
        self.go_through_jobs(&mut swept).await?;
        tracing::info!(?swept, "swept the store");
        Ok(swept)
    }

    /// Age from which an object counts as abandoned.
    fn age(&self) -> Duration {
        Duration::from_secs(self.input.objects_older_than_seconds.into())
    }

    /// Removes the old objects of a job that its owner does not name. Returns their number, and
    /// whether objects are left.
    async fn sweep_prefix(&self, job_id: &JobId, mut owner: Owner) -> Result<PrefixSwept, Failure> {
        let prefix = job_id.prefix();
        let (mut swept_prefix, mut after, mut is_certain) = (PrefixSwept::default(), None, false);
        loop {
            let page = self.storage.list(&prefix, after.as_ref(), PAGE).await?;
            for object in &page.objects {
                let is_unnamed =
                    |owner: &Owner| !owner.names(&object.key) && object.is_older_than(self.age());
                if is_unnamed(&owner) && !is_certain {
                    // The job may have been retried, or may have ended, since its manifest was
                    // read.
                    if !self.is_over(job_id, &owner).await? {
                        swept_prefix.is_left = true;
                        return Ok(swept_prefix);
                    }
                    owner = match owner {
                        Owner::Deleted => Owner::Deleted,
                        Owner::None | Owner::Job(_) => self.owner(job_id).await?,
                    };
                    is_certain = true;
                }
                if !is_unnamed(&owner) {
                    swept_prefix.is_left = true;
                    continue;
                }
                self.storage.delete(&object.key).await?;
                swept_prefix.removed += 1;
                metrics::removed();
                tracing::info!(key = %object.key, "removed an object that no manifest names");
            }
            match page.objects.into_iter().next_back() {
                Some(last) if page.has_more => after = Some(last.key),
                _ => return Ok(swept_prefix),
            }
        }
    }

    /// Returns true if the job cannot write any more, and nothing but its manifest knows what it
    /// has stored. A run that was terminated has no manifest, and can be retried for as long as
    /// Temporal knows it.
    async fn is_over(&self, job_id: &JobId, owner: &Owner) -> Result<bool, Failure> {
        let latest = runs::latest(&self.client, &job_id.to_string()).await?;
        Ok(match (owner, latest) {
            (_, LatestRun::Unknown) | (Owner::Deleted, LatestRun::Closed(_)) => true,
            (_, LatestRun::Open) | (Owner::None, LatestRun::Closed(_)) => false,
            (Owner::Job(job), LatestRun::Closed(run_id)) => job
                .run_id
                .as_ref()
                .is_none_or(|recorded| *recorded == run_id),
        })
    }

    /// Returns the owner of a job's objects, according to its manifest.
    async fn owner(&self, job_id: &JobId) -> Result<Owner, Failure> {
        Ok(match Manifest::read(self.storage, job_id).await? {
            Manifest::None => Owner::None,
            Manifest::Of(job) => Owner::Job(RecordedJob {
                keys: job.stored_keys(),
                expires_at: job.expires_at(),
                run_id: job.run_id,
            }),
            Manifest::Unreadable => {
                let detail = "a manifest cannot be parsed";
                return Err(Failure::new(FailureType::Internal, detail));
            }
        })
    }
}

/// Owner of the objects under a job's prefix.
#[derive(Debug)]
enum Owner {
    /// No owner: there is no manifest.
    None,
    /// Deleted job: objects that were written later are removed as well.
    Deleted,
    /// Job with a manifest.
    Job(RecordedJob),
}

/// Part of a manifest that the sweep needs.
#[derive(Debug)]
struct RecordedJob {
    keys: BTreeSet<ObjectKey>,
    /// Run that wrote the manifest.
    run_id: Option<String>,
    /// Time at which the job is to be deleted.
    expires_at: Option<Timestamp>,
}

impl Owner {
    fn names(&self, key: &ObjectKey) -> bool {
        matches!(self, Self::Job(job) if job.keys.contains(key))
    }
}

/// Result of sweeping the objects of one job.
#[derive(Clone, Copy, Debug, Default)]
struct PrefixSwept {
    removed: u32,
    /// True if objects are left under the job's prefix.
    is_left: bool,
}
