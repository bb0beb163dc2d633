//! Outputs of a job, and URLs of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::{
    failure::JobError, object_key::ObjectKey, schema::example, sha256::Sha256, status::MediaStatus,
};

/// Output of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Media {
    /// Position among the provider's outputs, from 0.
    pub index: u32,
    /// Path of the output in the provider's answer, such as `vocals` or `stems[0].url`; null if it
    /// is no more than a position.
    pub name: Option<String>,
    /// Status of the output.
    pub status: MediaStatus,
    /// URL that redirects to the output for as long as the job exists. It requires an API key, if
    /// the api does.
    pub media_url: Option<String>,
    /// Key of the output in the bucket.
    pub s3_key: Option<ObjectKey>,
    /// Presigned URL of the output: valid for at least 45 minutes, and usable without an API key.
    /// Null also while the api has no credentials to sign it with.
    pub presigned_media_url: Option<Url>,
    /// Presigned URL of a preview, 512 pixels at its longer side, valid for as long; null if there
    /// is none.
    pub presigned_preview_url: Option<Url>,
    /// Blurred placeholder to show until the picture has loaded: a
    /// [thumbhash](https://evanw.github.io/thumbhash/) in base64.
    pub thumbhash: Option<String>,
    /// Media type, detected from the first bytes.
    pub content_type: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Number of bytes transferred so far.
    pub bytes_done: Option<u64>,
    /// Number of bytes to transfer, if it is known.
    pub bytes_total: Option<u64>,
    /// SHA-256 of the content.
    pub sha256: Option<Sha256>,
    /// Width of a picture or a video in pixels, if it is known.
    pub width: Option<u32>,
    /// Height of a picture or a video in pixels, if it is known.
    pub height: Option<u32>,
    /// Duration of an MP4 or a MOV in milliseconds.
    pub duration_ms: Option<u64>,
    /// True if the file carries Content Credentials (C2PA), which are stored unchanged and not
    /// verified.
    pub c2pa: Option<bool>,
    /// Number of attempts at storing the output.
    pub attempts: Option<u32>,
    /// Reason why the output could not be stored.
    pub error: Option<JobError>,
    /// Detail of `error`.
    pub error_message: Option<String>,
    /// Start of the successful attempt.
    pub started_at: Option<Timestamp>,
    /// Time at which the output was stored.
    pub completed_at: Option<Timestamp>,
}

impl Media {
    /// Output of which only the status is known.
    #[must_use]
    pub fn new(index: u32, name: Option<String>, status: MediaStatus) -> Self {
        Self {
            index,
            name,
            status,
            media_url: None,
            s3_key: None,
            presigned_media_url: None,
            presigned_preview_url: None,
            thumbhash: None,
            content_type: None,
            size: None,
            bytes_done: None,
            bytes_total: None,
            sha256: None,
            width: None,
            height: None,
            duration_ms: None,
            c2pa: None,
            attempts: None,
            error: None,
            error_message: None,
            started_at: None,
            completed_at: None,
        }
    }
}

/// Number of outputs, in total and in each status.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct MediaCounts {
    /// All outputs.
    pub total: usize,
    /// Outputs that are neither stored nor given up yet.
    pub pending: usize,
    /// Outputs that are stored.
    pub completed: usize,
    /// Outputs that could not be stored.
    pub failed: usize,
    /// Outputs that were given up as the job was canceled.
    pub canceled: usize,
}

/// Presigned URL of an output.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("media_url.json")))]
pub struct MediaUrl {
    /// URL of the output, usable without an API key.
    pub url: Url,
    /// Time at which the URL expires.
    pub expires_at: Timestamp,
}

/// Page of a job's outputs, with the cursor of the next page.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("media_page.json")))]
pub struct MediaPage {
    /// Outputs by position.
    pub media: Vec<Media>,
    /// Value of `cursor` to request the next page with; null on the last page.
    pub next_cursor: Option<String>,
}
