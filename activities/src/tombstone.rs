//! Reads and writes the tombstones of jobs in the store.

use darkroom_storage::{NewObject, Storage};
use darkroom_workflows::job::{JobId, TOMBSTONE_LIMIT, Tombstone};

use crate::failure::Failure;

/// Returns the tombstone of a job, if it has one.
///
/// # Errors
/// If the store refuses the read or cannot be reached.
pub(crate) async fn read(storage: &Storage, job_id: &JobId) -> Result<Option<Tombstone>, Failure> {
    let bytes = storage
        .read(&Tombstone::key(job_id), TOMBSTONE_LIMIT)
        .await?;
    Ok(bytes.map(|bytes| Tombstone::read(&bytes)))
}

/// Writes the tombstone of a job.
///
/// # Errors
/// If the store refuses the write or cannot be reached.
pub(crate) async fn write(
    storage: &Storage,
    job_id: &JobId,
    tombstone: Tombstone,
) -> Result<(), Failure> {
    let object = NewObject::json(Tombstone::key(job_id));
    let bytes = serde_json::to_vec(&tombstone).unwrap_or_default();
    storage.put(&object, bytes.into()).await?;
    Ok(())
}
