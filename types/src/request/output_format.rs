//! File formats that a job can request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// File format to request from a provider.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "each variant is the name of a well-known format"
)]
pub enum OutputFormat {
    Jpg,
    Png,
    Webp,
    Gif,
    Mp4,
    Webm,
    Mp3,
    Wav,
    Glb,
}

impl OutputFormat {
    /// True for pictures, sounds and videos; false for 3D models.
    #[must_use]
    pub fn is_media(self) -> bool {
        match self {
            Self::Jpg
            | Self::Png
            | Self::Webp
            | Self::Gif
            | Self::Mp4
            | Self::Webm
            | Self::Mp3
            | Self::Wav => true,
            Self::Glb => false,
        }
    }
}
