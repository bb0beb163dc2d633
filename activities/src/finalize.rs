//! `finalize`: writes the manifest of a job beside its media, and removes objects there that the
//! manifest does not name. The manifest is the record of the job after Temporal's retention.
//! Writing it again yields the same bytes.

use std::{collections::BTreeSet, time::Duration};

use darkroom_storage::{Storage, StorageError};
use darkroom_workflows::{
    contract::finalize::Finalized,
    failure::FailureType,
    job::{JobState, JobStatus, MediaOutcome, ObjectKey},
};

use crate::{failure::Failure, manifest, metrics};

/// Timeout of the whole activity. It is shorter than that of an attempt, so that a timed-out
/// attempt does not write while the next one runs.
const TIMEOUT: Duration = Duration::from_secs(25);

/// Timeout of removing objects that the manifest does not name. Those that remain are left to the
/// sweep.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of keys in a page of a listing.
const PAGE: u16 = 1000;

/// Records the end of a job. A run after a reset may know less than the one before it: outputs that
/// the earlier run stored are adopted.
///
/// # Errors
/// If the store refuses the write or cannot be reached in time.
pub async fn finalize(storage: &Storage, job: &JobState) -> Result<Finalized, Failure> {
    match tokio::time::timeout(TIMEOUT, record(storage, job)).await {
        Ok(recorded) => recorded,
        Err(_) => Err(StorageError::TooSlow.into()),
    }
}

async fn record(storage: &Storage, job: &JobState) -> Result<Finalized, Failure> {
    // Written first, so that every manifest has an index entry.
    manifest::index(storage, job).await?;
    let mut recorded = job.clone();
    let mut has_adopted = false;
    let mut counted = None;
    if (job.status != JobStatus::Completed || job.retry_count > 0)
        && let Some(earlier) = manifest::read(storage, &job.job_id).await?
    {
        // An attempt that wrote the manifest may have been cut off before it counted.
        if earlier.run_id != job.run_id {
            counted = metrics::measured(&earlier).map(|(prediction, _)| prediction.clone());
        }
        has_adopted = job.status != JobStatus::Completed && recorded.adopt_stored(earlier);
    }
    manifest::write(storage, &recorded).await?;
    tracing::info!(job_id = %job.job_id, status = %recorded.status, "manifest written");
    let swept = tokio::time::timeout(SWEEP_TIMEOUT, sweep_prefix(storage, &recorded)).await;
    if let Err(failure) = swept.unwrap_or_else(|_| Err(StorageError::TooSlow.into())) {
        tracing::warn!(job_id = %job.job_id, %failure, "cannot remove objects that the manifest does not name");
    }
    metrics::ended(&recorded, counted.as_ref());
    Ok(Finalized {
        completed_at: recorded.completed_at,
        adopted: has_adopted.then_some(recorded),
    })
}

/// Removes objects that the manifest does not name: writes of attempts that were canceled or
/// declared timed out.
async fn sweep_prefix(storage: &Storage, job: &JobState) -> Result<(), Failure> {
    let listed = job.stored_keys();
    let mut after: Option<ObjectKey> = None;
    loop {
        let prefix = job.job_id.prefix();
        let page = storage.list(&prefix, after.as_ref(), PAGE).await?;
        let keys = page.objects.into_iter().map(|object| object.key);
        let keys: Vec<_> = keys.collect();
        let unnamed: Vec<_> = keys
            .iter()
            .filter(|key| !is_listed(job, &listed, key))
            .collect();
        // Another run may have retried the job since.
        if !unnamed.is_empty() && !is_latest(storage, job).await? {
            return Ok(());
        }
        for key in unnamed {
            storage.delete(key).await?;
            metrics::removed();
            tracing::info!(%key, "removed an object that no manifest names");
        }
        match keys.into_iter().next_back() {
            Some(last) if page.has_more => after = Some(last),
            _ => return Ok(()),
        }
    }
}

/// Returns true if the manifest in the store is still the one that this run wrote.
async fn is_latest(storage: &Storage, job: &JobState) -> Result<bool, Failure> {
    let latest = manifest::read(storage, &job.job_id).await?;
    Ok(latest
        .is_some_and(|latest| (&latest.run_id, latest.updated_at) == (&job.run_id, job.updated_at)))
}

/// Returns true if the manifest names the object, or may come to name it: a conflicting object is
/// inspected before it is removed, and an output that failed with a retryable error may be stored
/// as a whole. The sweep removes both later.
fn is_listed(job: &JobState, listed: &BTreeSet<ObjectKey>, key: &ObjectKey) -> bool {
    let is_of = |index| key.as_str().starts_with(&job.job_id.media_prefix(index));
    listed.contains(key)
        || job.media.iter().any(|media| match &media.outcome {
            MediaOutcome::Failed { error, .. } => {
                let stays = error.retryable || error.kind == FailureType::StorageConflict;
                stays && is_of(media.index)
            }
            _ => false,
        })
}
