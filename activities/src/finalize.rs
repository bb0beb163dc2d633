//! `finalize`: writes the job's manifest beside its media. It is the record of the job once Temporal has forgotten it, and
//! the same bytes whenever it is written again.

use aws_sdk_s3::primitives::ByteStream;
use darkroom_storage::Storage;
use darkroom_workflows::{failure::FailureType, job::JobState};

use crate::{failure::Failure, metrics, persist::storage_failure};

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
    storage
        .client
        .put_object()
        .bucket(&storage.bucket)
        .key(storage.full_key(&job.job_id.manifest_key()))
        .content_type("application/json")
        .body(ByteStream::from(manifest))
        .send()
        .await
        .map_err(|error| storage_failure(&error.into()))?;
    metrics::ended(job);
    tracing::info!(job_id = %job.job_id, status = %job.status, "manifest written");
    Ok(())
}
