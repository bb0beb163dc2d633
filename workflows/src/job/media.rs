//! One output of a job: where it stands and, once stored, what it is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use darkroom_types::{job_id::JobId, status::MediaStatus};

use crate::failure::JobError;

/// One output: where it stands and, once stored, what it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Media {
    /// Its position among the provider's outputs, from 0.
    pub index: u32,
    /// Where in the provider's answer it stands, such as `stems[0].url`, where that is more than its position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: MediaOutcome,
}

impl Media {
    /// Where the output stands.
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

/// What came of an output.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum MediaOutcome {
    /// Not settled yet.
    Pending,
    /// Stored, whole and verified.
    Completed(StoredMedia),
    /// Could not be stored.
    Failed {
        /// Why.
        error: JobError,
        /// How many attempts were made, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempts: Option<u32>,
    },
    /// The job was canceled first.
    Canceled,
}

/// An output in the store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredMedia {
    /// Its key in the bucket.
    pub s3_key: String,
    /// Its type, told from its first bytes.
    pub content_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes in hexadecimal.
    pub sha256: String,
    /// What was seen of it as its bytes passed.
    #[serde(flatten)]
    pub facts: MediaFacts,
    /// A small picture of it, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// How many attempts it took.
    pub attempts: u32,
    /// When the successful attempt began.
    pub started_at: Timestamp,
    /// When it was stored.
    pub completed_at: Timestamp,
}

/// A small picture of a large one: where it lies follows from the job, the output's position and its format.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Preview {
    /// What it is.
    pub format: PreviewFormat,
    /// The picture out of focus, as [thumbhash](https://evanw.github.io/thumbhash/) in base64.
    pub thumbhash: String,
}

impl Preview {
    /// Its key in the bucket, as the preview of the output at this position of a job.
    #[must_use]
    pub fn key(&self, job_id: &JobId, index: u32) -> String {
        job_id.preview_key(index, self.format.extension())
    }
}

/// The format of a preview.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PreviewFormat {
    /// JPEG, unless something of it is transparent.
    Jpg,
    /// PNG.
    Png,
}

impl PreviewFormat {
    /// What the keys of such previews end with.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpg => "jpg",
            Self::Png => "png",
        }
    }

    /// Its MIME type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// What was seen of an output; what is absent was not.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MediaFacts {
    /// The width of a picture or a video in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Its height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// The length of a video in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Whether it carries Content Credentials: a C2PA manifest store, unverified.
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
