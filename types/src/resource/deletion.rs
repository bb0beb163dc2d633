//! A job on its way out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{job_id::JobId, schema::example};

/// A job that is being deleted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("deletion.json")))]
pub struct Deletion {
    /// Which job.
    pub job_id: JobId,
    /// Whether the bucket keeps earlier versions of what is removed: they stay until its own rules remove them. Null if
    /// the store does not say.
    pub keeps_versions: Option<bool>,
}
