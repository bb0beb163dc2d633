//! Sweeps the jobs that have ended, by the index, and the tombstones: a limited number at a time,
//! resumed where the last sweep stopped, and from the beginning again after the end.

use std::time::Duration;

use darkroom_storage::ListedObject;
use darkroom_workflows::{
    contract::sweep::Swept,
    job::{INDEX, IndexEntry, JobId, TOMBSTONES, Tombstone},
};
use futures::{StreamExt, stream};

use super::{CONCURRENCY, Owner, PAGE, Sweep, checkpoint::Checkpoint};
use crate::{failure::Failure, tombstone};

impl Sweep<'_> {
    pub(super) async fn go_through_jobs(&self, swept: &mut Swept) -> Result<(), Failure> {
        let mut checkpoint = Checkpoint::read(self.storage).await?;
        for prefix in [INDEX, TOMBSTONES] {
            if checkpoint.is_after(prefix) {
                continue;
            }
            let mut after = checkpoint.within(prefix);
            loop {
                let left = self.input.jobs.saturating_sub(swept.jobs);
                if left == 0 {
                    return Ok(());
                }
                let limit = u16::try_from(left).unwrap_or(PAGE).min(PAGE);
                let page = self.storage.list(prefix, after.as_ref(), limit).await?;
                let Some(last) = page.objects.last().map(|entry| entry.key.clone()) else {
                    break;
                };
                self.sweep_page(page.objects, swept).await;
                checkpoint.after = Some(last.clone());
                checkpoint.write(self.storage).await?;
                if !page.has_more {
                    break;
                }
                after = Some(last);
            }
        }
        Checkpoint::default().write(self.storage).await
    }

    async fn sweep_page(&self, mut entries: Vec<ListedObject>, swept: &mut Swept) {
        entries.retain(|entry| entry.is_older_than(self.age()));
        let sweeps = stream::iter(entries).map(|entry| async move {
            let swept = self.sweep_entry(&entry).await;
            swept.inspect_err(|failure| tracing::warn!(key = %entry.key, %failure, "cannot sweep"))
        });
        let outcomes: Vec<_> = sweeps.buffer_unordered(CONCURRENCY).collect().await;
        for outcome in outcomes {
            swept.jobs += 1;
            match outcome {
                Ok(removed) => swept.removed += removed,
                Err(_) => swept.failed += 1,
            }
        }
    }

    async fn sweep_entry(&self, entry: &ListedObject) -> Result<u32, Failure> {
        if let Ok(indexed) = entry.key.as_str().parse::<IndexEntry>() {
            return self.sweep_indexed(entry, indexed).await;
        }
        match Tombstone::job_of(&entry.key) {
            Some(job_id) => self.sweep_tombstone(entry, &job_id).await,
            // Neither an index entry nor a tombstone: left alone.
            None => Ok(0),
        }
    }

    /// Sweeps a job that has ended: its manifest names its objects.
    async fn sweep_indexed(
        &self,
        entry: &ListedObject,
        indexed: IndexEntry,
    ) -> Result<u32, Failure> {
        let job_id = &indexed.job_id;
        let owner = self.owner(job_id).await?;
        if let Owner::Job(job) = &owner
            && self.is_overdue(job)
            && self.is_over(job_id, &owner).await?
        {
            self.delete_job(indexed).await?;
            return Ok(0);
        }
        let is_recorded = matches!(owner, Owner::Job(_));
        let swept_prefix = self.sweep_prefix(job_id, owner).await?;
        let is_gone = !is_recorded && !swept_prefix.is_left;
        if is_gone && self.is_over(job_id, &Owner::None).await? {
            self.storage.delete(&entry.key).await?;
        }
        Ok(swept_prefix.removed)
    }

    /// Sweeps a job with a tombstone. If it was deleted, a write that was in flight may have
    /// arrived since; if it was terminated, it may have been retried and have a manifest by now.
    async fn sweep_tombstone(&self, entry: &ListedObject, job_id: &JobId) -> Result<u32, Failure> {
        let owner = match tombstone::read(self.storage, job_id).await? {
            None => return Ok(0),
            Some(Tombstone::Deleted) => Owner::Deleted,
            Some(Tombstone::Terminated) => self.owner(job_id).await?,
        };
        let is_retried = matches!(owner, Owner::Job(_));
        let swept_prefix = self.sweep_prefix(job_id, owner).await?;
        let kept = Duration::from_secs(self.input.tombstones_older_than_seconds.into());
        if is_retried || entry.is_older_than(kept) {
            self.storage.delete(&entry.key).await?;
        }
        Ok(swept_prefix.removed)
    }
}
