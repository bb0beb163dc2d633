//! Query parameters of an output's presigned URL.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Content disposition: what a browser that opens the URL does with the output.
/// <https://www.rfc-editor.org/rfc/rfc6266#section-4.2>
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// Disposition that was stored: pictures, sounds and videos are shown.
    #[default]
    Inline,
    /// Download as a file that is named after the job.
    Attachment,
}

/// Query parameters of an output's presigned URL.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct GetMediaUrl {
    /// Disposition of the output; `inline` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
}
