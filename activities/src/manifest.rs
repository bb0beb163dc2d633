//! The manifest of a job in the store, `jobs/{job_id}/job.json`, and its entry in the index.

use bytes::Bytes;
use darkroom_storage::{Existing, NewObject, Storage};
use darkroom_workflows::{
    failure::FailureType,
    job::{IndexEntry, JobId, JobState, MANIFEST_LIMIT},
};

use crate::failure::Failure;

/// The manifest of a job, as found in the store.
#[derive(Debug)]
pub(crate) enum Manifest {
    /// No manifest: the job has not ended, was ended from outside, or was deleted.
    None,
    /// The job as it ended.
    Of(Box<JobState>),
    /// Manifest that cannot be parsed.
    Unreadable,
}

impl Manifest {
    /// Reads the manifest of a job.
    ///
    /// # Errors
    /// If the store refuses the read or cannot be reached.
    pub(crate) async fn read(storage: &Storage, job_id: &JobId) -> Result<Self, Failure> {
        let bytes = storage.read(&job_id.manifest_key(), MANIFEST_LIMIT).await?;
        Ok(bytes.map_or(Self::None, |bytes| {
            serde_json::from_slice(&bytes).map_or(Self::Unreadable, Self::Of)
        }))
    }
}

/// Returns the job as its manifest records it; `None` if there is no manifest or it cannot be
/// parsed.
///
/// # Errors
/// If the store refuses the read or cannot be reached.
pub(crate) async fn read(storage: &Storage, job_id: &JobId) -> Result<Option<JobState>, Failure> {
    Ok(match Manifest::read(storage, job_id).await? {
        Manifest::Of(job) => Some(*job),
        Manifest::None | Manifest::Unreadable => None,
    })
}

/// Writes the manifest of a job, and replaces an earlier one.
///
/// # Errors
/// If the store refuses the write or cannot be reached.
pub(crate) async fn write(storage: &Storage, job: &JobState) -> Result<(), Failure> {
    let manifest = serde_json::to_vec_pretty(job).map_err(|error| {
        let detail = format!("cannot encode the manifest: {error}");
        Failure::new(FailureType::Internal, detail)
    })?;
    let object = NewObject::json(job.job_id.manifest_key());
    storage.put(&object, manifest.into()).await?;
    Ok(())
}

/// Adds a job to the index.
///
/// # Errors
/// If the store refuses the write or cannot be reached.
pub(crate) async fn index(storage: &Storage, job: &JobState) -> Result<(), Failure> {
    let object = NewObject::empty(IndexEntry::of(job).key(), Existing::Replace);
    storage.put(&object, Bytes::new()).await?;
    Ok(())
}
