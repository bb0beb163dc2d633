//! Tombstones: empty objects that say of a job's id that it is not to be used again, so that whoever repeats the request of a
//! deleted job is told so, and nothing is paid for again.

use bytes::Bytes;
use darkroom_storage::{Existing, NewObject, Storage};
use darkroom_workflows::job::JobId;

use crate::failure::Failure;

/// Whether a job has one.
///
/// # Errors
/// If the store does not tell.
pub(crate) async fn is_there(storage: &Storage, job_id: &JobId) -> Result<bool, Failure> {
    Ok(storage.head(&job_id.tombstone_key()).await?.is_some())
}

/// Sets one.
///
/// # Errors
/// If the store cannot take it, now or ever.
pub(crate) async fn write(storage: &Storage, job_id: &JobId) -> Result<(), Failure> {
    let object = NewObject::empty(job_id.tombstone_key(), Existing::Replace);
    storage.put(&object, Bytes::new()).await?;
    Ok(())
}
