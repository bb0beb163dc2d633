//! `finalize`: writes the job's manifest beside its media, and removes what lies there and is in no manifest. It is the record of
//! the job once Temporal has forgotten it, and the same bytes whenever it is written again.

use std::{collections::BTreeSet, time::Duration};

use darkroom_storage::{Storage, StorageError};
use darkroom_workflows::{
    failure::FailureType,
    job::{JobState, JobStatus, MediaOutcome},
};

use crate::{failure::Failure, manifest, metrics};

/// The timeout of it all: less than that of an attempt, so that none writes when another has taken its place.
const TIMEOUT: Duration = Duration::from_secs(25);

/// The timeout of tidying up, which is given up then.
const TIDYING_TIMEOUT: Duration = Duration::from_secs(5);

/// The most keys of a page.
const PAGE: u16 = 1000;

/// Records the end of a job. A run after a reset may know less than the one before: what that has stored is kept, and the job is
/// returned as it is recorded then.
///
/// # Errors
/// If the store cannot take it, now or ever.
pub async fn finalize(storage: &Storage, job: &JobState) -> Result<Option<JobState>, Failure> {
    match tokio::time::timeout(TIMEOUT, record(storage, job)).await {
        Ok(recorded) => recorded,
        Err(_) => Err(StorageError::TooSlow.into()),
    }
}

async fn record(storage: &Storage, job: &JobState) -> Result<Option<JobState>, Failure> {
    // No manifest is without its entry.
    manifest::index(storage, job).await?;
    let mut recorded = job.clone();
    let mut is_other = false;
    if job.status != JobStatus::Completed
        && let Some(earlier) = manifest::read(storage, &job.job_id).await?
    {
        is_other = recorded.keep_stored(earlier);
    }
    manifest::write(storage, &recorded).await?;
    tracing::info!(job_id = %job.job_id, status = %recorded.status, "manifest written");
    match tokio::time::timeout(TIDYING_TIMEOUT, tidy_up(storage, &recorded)).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => tracing::warn!(job_id = %job.job_id, %failure, "cannot tidy up"),
        Err(_) => tracing::warn!(job_id = %job.job_id, "cannot tidy up: the store is too slow"),
    }
    metrics::ended(&recorded);
    Ok(is_other.then_some(recorded))
}

/// Removes what the manifest does not list: a write that went out as its attempt was canceled, or declared timed out.
async fn tidy_up(storage: &Storage, job: &JobState) -> Result<(), Failure> {
    let listed = job.stored_keys();
    let mut after: Option<String> = None;
    loop {
        let prefix = job.job_id.prefix();
        let page = storage.list(&prefix, after.as_deref(), PAGE).await?;
        let keys = page.objects.into_iter().map(|object| object.key);
        let keys: Vec<_> = keys.collect();
        let strays: Vec<_> = keys
            .iter()
            .filter(|key| !is_listed(job, &listed, key))
            .collect();
        // Another run may have taken the job up since.
        if !strays.is_empty() && !is_latest(storage, job).await? {
            return Ok(());
        }
        for key in strays {
            storage.delete(key).await?;
            metrics::removed();
            tracing::info!(key, "removed an object that no manifest names");
        }
        match keys.into_iter().next_back() {
            Some(last) if page.has_more => after = Some(last),
            _ => return Ok(()),
        }
    }
}

/// Whether the manifest is still the one that was written for this run.
async fn is_latest(storage: &Storage, job: &JobState) -> Result<bool, Failure> {
    let latest = manifest::read(storage, &job.job_id).await?;
    Ok(latest
        .is_some_and(|latest| (&latest.run_id, latest.updated_at) == (&job.run_id, job.updated_at)))
}

/// Whether an object is the job's, or may be: what was a conflict is looked at before it goes, and an output that a retry may still
/// have can lie there whole. The sweep removes both, later.
fn is_listed(job: &JobState, listed: &BTreeSet<String>, key: &str) -> bool {
    let is_of = |index| key.starts_with(&job.job_id.media_key(index, ""));
    listed.contains(key)
        || job.media.iter().any(|media| match &media.outcome {
            MediaOutcome::Failed { error, .. } => {
                let stays = error.retryable || error.kind == FailureType::StorageConflict;
                stays && is_of(media.index)
            }
            _ => false,
        })
}
