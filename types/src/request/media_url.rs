//! What a URL of an output is for.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How whoever follows a URL is to present what it leads to.
/// <https://www.rfc-editor.org/rfc/rfc6266#section-4.2>
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// As it was stored: pictures, sounds and videos are shown.
    #[default]
    Inline,
    /// As a file to save, named after the job.
    Attachment,
}

/// Which URL of an output to make.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct GetMediaUrl {
    /// What it is for: `inline` if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
}
