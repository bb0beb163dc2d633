//! The outputs of a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::{failure::JobError, schema::example, status::MediaStatus};

/// One output.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Media {
    /// Its position among the provider's outputs, from 0.
    pub index: u32,
    /// Where in the provider's answer it stands, such as `vocals` or `stems[0].url`, where that is more than its position.
    pub name: Option<String>,
    /// Where it stands.
    pub status: MediaStatus,
    /// Leads to the output for as long as the job is known.
    pub media_url: Option<String>,
    /// Its key in the bucket.
    pub s3_key: Option<String>,
    /// Leads to the output for 45 minutes at least, for whoever has it; null as well while there is nothing to sign it with.
    pub presigned_media_url: Option<Url>,
    /// Leads to a small picture of it, 512 pixels at its longer side, for as long; null if there is none.
    pub presigned_preview_url: Option<Url>,
    /// The picture out of focus: a [thumbhash](https://evanw.github.io/thumbhash/) in base64, to be shown until it has come.
    pub thumbhash: Option<String>,
    /// Its type, told from its first bytes.
    pub content_type: Option<String>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// How many bytes of an output on its way have come so far.
    pub bytes_done: Option<u64>,
    /// How many there are, if it is known.
    pub bytes_total: Option<u64>,
    /// The SHA-256 of its bytes in hexadecimal.
    pub sha256: Option<String>,
    /// The width of a picture or a video in pixels, where it can be told.
    pub width: Option<u32>,
    /// Its height in pixels.
    pub height: Option<u32>,
    /// The length of an MP4 or a MOV in milliseconds.
    pub duration_ms: Option<u64>,
    /// Whether it carries Content Credentials (C2PA), which are stored as they are and not verified.
    pub c2pa: Option<bool>,
    /// How many attempts it took.
    pub attempts: Option<u32>,
    /// Why it could not be stored.
    pub error: Option<JobError>,
    /// The same in words.
    pub error_message: Option<String>,
    /// When the successful attempt began.
    pub started_at: Option<Timestamp>,
    /// When it was stored.
    pub completed_at: Option<Timestamp>,
}

impl Media {
    /// An output of which no more is known than where it stands.
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

/// How many outputs there are, and how many of them stand how.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct MediaCounts {
    /// All of them.
    pub total: usize,
    /// Not settled yet.
    pub pending: usize,
    /// Stored.
    pub completed: usize,
    /// Not to be had.
    pub failed: usize,
    /// Given up with the job.
    pub canceled: usize,
}

/// A URL of an output.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("media_url.json")))]
pub struct MediaUrl {
    /// Leads to the output, for whoever has it.
    pub url: Url,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Some outputs of a job, and where there are more.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("media_page.json")))]
pub struct MediaPage {
    /// The outputs, by position.
    pub media: Vec<Media>,
    /// What `cursor` to ask for the next page with; null on the last.
    pub next_cursor: Option<String>,
}
