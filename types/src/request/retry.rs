//! Request that retries a job.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::example;

/// Options of a retry.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(example = json!(example!("retry_request.json")))]
pub struct RetryRequest {
    /// True to generate missing outputs again, which is paid for again.
    #[serde(default)]
    #[schema(default = false)]
    pub regenerate: bool,
}
