//! Going through the jobs that have ended, by the index, and through the tombstones of those that were deleted: so many at a
//! time, each time on from where the last sweep stopped, and again from the beginning when it has come to the end.

use std::time::Duration;

use darkroom_storage::ListedObject;
use darkroom_workflows::{
    contract::sweep::Swept,
    job::{INDEX, IndexEntry, JobId, TOMBSTONES},
};
use futures::{StreamExt, stream};

use super::{CONCURRENCY, PAGE, Sweep, place::Place};
use crate::{failure::Failure, manifest::Manifest};

impl Sweep<'_> {
    pub(super) async fn go_through_jobs(&self, swept: &mut Swept) -> Result<(), Failure> {
        let mut place = Place::read(self.storage).await?;
        for prefix in [INDEX, TOMBSTONES] {
            if place.is_after(prefix) {
                continue;
            }
            let mut after = place.within(prefix);
            loop {
                if swept.jobs >= self.input.jobs {
                    return Ok(());
                }
                let page = self.storage.list(prefix, after.as_deref(), PAGE).await?;
                let Some(last) = page.objects.last().map(|entry| entry.key.clone()) else {
                    break;
                };
                self.tidy_page(page.objects, swept).await;
                place.after = Some(last.clone());
                place.write(self.storage).await?;
                if !page.has_more {
                    break;
                }
                after = Some(last);
            }
        }
        Place::default().write(self.storage).await
    }

    async fn tidy_page(&self, mut entries: Vec<ListedObject>, swept: &mut Swept) {
        entries.retain(|entry| entry.is_older_than(self.age()));
        let tidied = stream::iter(entries).map(|entry| async move {
            let tidied = self.tidy_entry(&entry).await;
            tidied.inspect_err(|failure| tracing::warn!(key = entry.key, %failure, "cannot sweep"))
        });
        let outcomes: Vec<_> = tidied.buffer_unordered(CONCURRENCY).collect().await;
        for outcome in outcomes {
            swept.jobs += 1;
            match outcome {
                Ok(removed) => swept.removed += removed,
                Err(_) => swept.failed += 1,
            }
        }
    }

    async fn tidy_entry(&self, entry: &ListedObject) -> Result<u32, Failure> {
        if let Ok(indexed) = entry.key.parse::<IndexEntry>() {
            return self.tidy_indexed(entry, &indexed.job_id).await;
        }
        match JobId::of_tombstone(&entry.key) {
            Some(job_id) => self.tidy_deleted(entry, &job_id).await,
            // Others have put it there.
            None => Ok(0),
        }
    }

    /// A job that has ended: its manifest says what is its own.
    async fn tidy_indexed(&self, entry: &ListedObject, job_id: &JobId) -> Result<u32, Failure> {
        let manifest = Manifest::read(self.storage, job_id).await?;
        let tidied = self.tidy(job_id, &manifest).await?;
        let is_gone = matches!(manifest, Manifest::None) && !tidied.is_left;
        if is_gone && self.is_closed(job_id).await? {
            self.storage.delete(&entry.key).await?;
        }
        Ok(tidied.removed)
    }

    /// A job that was deleted: a write that was under way then may have come after. One that was taken up again instead, as it
    /// was terminated and not deleted, has a manifest.
    async fn tidy_deleted(&self, entry: &ListedObject, job_id: &JobId) -> Result<u32, Failure> {
        let manifest = Manifest::read(self.storage, job_id).await?;
        let tidied = self.tidy(job_id, &manifest).await?;
        let kept = Duration::from_secs(self.input.tombstones_older_than_seconds.into());
        let is_taken_up = matches!(manifest, Manifest::Of(_));
        if is_taken_up || entry.is_older_than(kept) {
            self.storage.delete(&entry.key).await?;
        }
        Ok(tidied.removed)
    }
}
