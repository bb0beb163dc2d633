//! Taking a job up again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::example;

/// Whether to pay again.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(example = json!(example!("retry_request.json")))]
pub struct RetryRequest {
    /// Have the outputs made again, and pay for them again.
    #[serde(default)]
    #[schema(default = false)]
    pub regenerate: bool,
}
