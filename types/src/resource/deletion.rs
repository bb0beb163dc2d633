//! Deletion of a job.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{job_id::JobId, schema::example};

/// Job that is being deleted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("deletion.json")))]
pub struct Deletion {
    /// Id of the job.
    pub job_id: JobId,
    /// True if the bucket keeps earlier versions of deleted objects: they stay until the bucket's
    /// lifecycle rules remove them. Null if the store does not say.
    pub keeps_versions: Option<bool>,
}
