//! One output of a job: its status and, once stored, its properties.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use darkroom_types::{job_id::JobId, object_key::ObjectKey, sha256::Sha256, status::MediaStatus};

use crate::failure::JobError;

/// One output: its status and, once stored, its properties.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Media {
    /// Position among the provider's outputs, from 0.
    pub index: u32,
    /// Location in the provider's answer, for example `stems[0].url`, if that is more than its
    /// position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Outcome of the output.
    #[serde(flatten)]
    pub outcome: MediaOutcome,
}

impl Media {
    /// Returns the status of the output.
    #[must_use]
    pub fn status(&self) -> MediaStatus {
        match self.outcome {
            MediaOutcome::Pending => MediaStatus::Pending,
            MediaOutcome::Completed(_) => MediaStatus::Completed,
            MediaOutcome::Failed { .. } => MediaStatus::Failed,
            MediaOutcome::Canceled => MediaStatus::Canceled,
        }
    }
}

/// Outcome of an output.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum MediaOutcome {
    /// Output that is neither stored nor given up yet.
    Pending,
    /// Stored output, complete and verified.
    Completed(StoredMedia),
    /// Output that could not be stored.
    Failed {
        /// The reason.
        error: JobError,
        /// Number of attempts made, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempts: Option<u32>,
    },
    /// Output that was not stored, as the job was canceled first.
    Canceled,
}

/// An output in the store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredMedia {
    /// Key in the bucket.
    pub s3_key: ObjectKey,
    /// MIME type, detected from the first bytes.
    pub content_type: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Sha256,
    /// Properties that were detected while the bytes passed.
    #[serde(flatten)]
    pub facts: MediaFacts,
    /// Preview, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Number of attempts it took.
    pub attempts: u32,
    /// Time at which the successful attempt began.
    pub started_at: Timestamp,
    /// Time at which it was stored.
    pub completed_at: Timestamp,
}

/// Preview: a small picture of a large one. Its key follows from the job, the output's position and
/// the format.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Preview {
    /// Format of the preview.
    pub format: PreviewFormat,
    /// Blurred placeholder as a [thumbhash](https://evanw.github.io/thumbhash/) in base64.
    pub thumbhash: String,
}

impl Preview {
    /// Returns its key in the bucket, as the preview of the output at this position of a job.
    #[must_use]
    pub fn key(&self, job_id: &JobId, index: u32) -> ObjectKey {
        job_id.preview_key(index, self.format.extension())
    }
}

/// Format of a preview.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PreviewFormat {
    /// JPEG, unless the picture has transparency.
    Jpg,
    /// PNG.
    Png,
}

impl PreviewFormat {
    /// Returns the file extension in the keys of previews.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpg => "jpg",
            Self::Png => "png",
        }
    }

    /// Returns the MIME type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// Properties of an output; absent if they were not detected.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MediaFacts {
    /// Width of a picture or a video in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Duration of a video in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// True if it carries Content Credentials: a C2PA manifest store, unverified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub c2pa: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureType;

    #[test]
    fn media_reads_flat_in_json() {
        let failed = Media {
            index: 2,
            name: None,
            outcome: MediaOutcome::Failed {
                error: JobError::new(FailureType::SourceExpired, "gone"),
                attempts: Some(1),
            },
        };
        let json = serde_json::to_value(&failed).unwrap();
        assert_eq!(json["status"], "failed");
        assert_eq!(json["error"]["type"], "SourceExpired");
        assert_eq!(serde_json::from_value::<Media>(json).unwrap(), failed);
    }
}
