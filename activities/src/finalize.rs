//! `finalize`: writes the job's manifest beside its media. It is the record of the job once Temporal has forgotten it, and
//! the same bytes whenever it is written again.

use darkroom_storage::{Existing, NewObject, Storage};
use darkroom_workflows::{failure::FailureType, job::JobState};

use crate::{failure::Failure, metrics};

/// Writes `jobs/{job_id}/job.json`.
///
/// # Errors
/// If the store cannot take it, now or ever.
pub async fn finalize(storage: &Storage, job: &JobState) -> Result<(), Failure> {
    let manifest = serde_json::to_vec_pretty(job).map_err(|error| {
        Failure::new(
            FailureType::Internal,
            format!("cannot encode the manifest: {error}"),
        )
    })?;
    let object = NewObject {
        key: job.job_id.manifest_key(),
        content_type: "application/json".to_owned(),
        content_disposition: None,
        metadata: Vec::new(),
        existing: Existing::Replace,
    };
    storage.put(&object, manifest.into()).await?;
    metrics::ended(job);
    tracing::info!(job_id = %job.job_id, status = %job.status, "manifest written");
    Ok(())
}
