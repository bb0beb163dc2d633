//! The manifest of a job in the store: `jobs/{job_id}/job.json`.

use darkroom_storage::{Existing, NewObject, Storage, StorageError};
use darkroom_workflows::{
    failure::FailureType,
    job::{JobId, JobState, MANIFEST_LIMIT},
};

use crate::failure::Failure;

/// The manifest of a job, if it has one: it had ended. One that makes no sense tells nothing.
///
/// # Errors
/// If the store does not tell.
pub(crate) async fn read(storage: &Storage, job_id: &JobId) -> Result<Option<JobState>, Failure> {
    match storage.read(&job_id.manifest_key(), MANIFEST_LIMIT).await {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(StorageError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the manifest of a job, in place of one that it has.
///
/// # Errors
/// If the store cannot take it, now or ever.
pub(crate) async fn write(storage: &Storage, job: &JobState) -> Result<(), Failure> {
    let manifest = serde_json::to_vec_pretty(job).map_err(|error| {
        let detail = format!("cannot encode the manifest: {error}");
        Failure::new(FailureType::Internal, detail)
    })?;
    let object = NewObject {
        key: job.job_id.manifest_key(),
        content_type: "application/json".to_owned(),
        content_disposition: None,
        metadata: Vec::new(),
        existing: Existing::Replace,
    };
    storage.put(&object, manifest.into()).await?;
    Ok(())
}
