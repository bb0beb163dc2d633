//! The state of a job, as the query answers it, the result and the failure details record it and the manifest keeps it.
//! What a caller asked for is in [`crate::request`]; how HTTP presents a job is the api's business.

use std::{fmt, str::FromStr, time::SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{failure::JobError, request::JobRequest};

/// The id of a job and of its workflow: a UUID in its hyphenated lower-case form.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// The text is not a job id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a UUID such as 01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1")]
pub struct InvalidJobId;

impl JobId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the job's manifest lies in the bucket, below any configured prefix.
    #[must_use]
    pub fn manifest_key(&self) -> String {
        format!("jobs/{self}/job.json")
    }

    /// Where an output lies in the bucket, below any configured prefix. It depends on the job, the output's position
    /// and its type alone, so that an attempt that comes again overwrites nothing but itself.
    #[must_use]
    pub fn media_key(&self, index: u32, extension: &str) -> String {
        format!("jobs/{self}/{index}.{extension}")
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let hyphens = [8, 13, 18, 23];
        let is_uuid = text.len() == 36
            && text.bytes().enumerate().all(|(position, byte)| {
                if hyphens.contains(&position) { byte == b'-' } else { matches!(byte, b'0'..=b'9' | b'a'..=b'f') }
            });
        if is_uuid { Ok(Self(text.to_owned())) } else { Err(InvalidJobId) }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Accepted; no worker has taken it up yet.
    Pending,
    /// A worker is at it.
    Processing,
    /// Every output is stored.
    Completed,
    /// Some outputs are stored, some could not be.
    Partial,
    /// Nothing is stored.
    Failed,
    /// Ended by request; what was stored by then stays.
    Canceled,
}

impl JobStatus {
    /// Whether the job has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Processing => false,
            Self::Completed | Self::Partial | Self::Failed | Self::Canceled => true,
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        })
    }
}

/// What an unfinished job is busy with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the name of a step in the life of a job")]
pub enum Stage {
    Queued,
    Generating,
    Persisting,
    Finalizing,
}

/// A job: what was asked, where it stands, what came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobState {
    /// The job's id.
    pub job_id: JobId,
    /// What was asked.
    pub request: JobRequest,
    /// Where it stands.
    pub status: JobStatus,
    /// What it is busy with; absent once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The outputs, by position; empty until the provider has made them.
    #[serde(default)]
    pub media: Vec<Media>,
    /// What the provider made of it, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderState>,
    /// Why the job is not `completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// How often the job was tried again as a whole.
    #[serde(default)]
    pub retry_count: u32,
    /// When the job was accepted.
    pub created_at: Timestamp,
    /// When this state last changed.
    pub updated_at: Timestamp,
    /// When a worker took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
}

impl JobState {
    /// A job that was just accepted.
    #[must_use]
    pub fn accepted(job_id: JobId, request: JobRequest, at: Timestamp) -> Self {
        Self {
            job_id,
            request,
            status: JobStatus::Pending,
            stage: Some(Stage::Queued),
            media: Vec::new(),
            provider: None,
            error: None,
            retry_count: 0,
            created_at: at,
            updated_at: at,
            started_at: None,
            completed_at: None,
        }
    }

    /// The job as it is taken up again: what is stored stays, the rest is to be done.
    #[must_use]
    pub fn retried(self, at: Timestamp) -> Self {
        let media = self.media.into_iter().map(|media| match media.outcome {
            MediaOutcome::Completed(_) => media,
            _ => Media { outcome: MediaOutcome::Pending, ..media },
        });
        Self {
            status: JobStatus::Pending,
            stage: Some(Stage::Queued),
            media: media.collect(),
            error: None,
            retry_count: self.retry_count + 1,
            updated_at: at,
            started_at: None,
            completed_at: None,
            ..self
        }
    }

    /// How many outputs are in this state.
    #[must_use]
    pub fn count(&self, status: MediaStatus) -> usize {
        self.media.iter().filter(|media| media.status() == status).count()
    }
}

/// One output: where it stands and, once stored, what it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Media {
    /// Its position among the provider's outputs, from 0.
    pub index: u32,
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

/// Where an output stands, without the particulars.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "see MediaOutcome")]
pub enum MediaStatus {
    Pending,
    Completed,
    Failed,
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
    /// How many attempts it took.
    pub attempts: u32,
    /// When the successful attempt began.
    pub started_at: Timestamp,
    /// When it was stored.
    pub completed_at: Timestamp,
}

/// What is known of the provider's side of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ProviderState {
    /// Which provider.
    pub name: String,
    /// The provider's own id of its work.
    pub prediction_id: String,
    /// The provider's last word on it.
    pub status: PredictionStatus,
    /// What the provider did about a request to cancel, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_outcome: Option<CancelOutcome>,
    /// When the provider removes the outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What the provider measured, as it says it: times in seconds, cost inputs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
}

impl ProviderState {
    /// A prediction of which no more is known than how it stands.
    #[must_use]
    pub fn new(name: String, prediction_id: String, status: PredictionStatus) -> Self {
        Self { name, prediction_id, status, cancel_outcome: None, expires_at: None, metrics: Map::new() }
    }
}

/// The state of a prediction. The names are Replicate's, which others map onto.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PredictionStatus {
    /// Accepted, not running yet.
    Starting,
    /// Running.
    Processing,
    /// Done.
    Succeeded,
    /// Tried and failed.
    Failed,
    /// Stopped while it ran.
    Canceled,
    /// Stopped before it ran: nothing is charged.
    Aborted,
}

impl PredictionStatus {
    /// Whether the provider is done with it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Starting | Self::Processing => false,
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Aborted => true,
        }
    }
}

/// What a provider did about a request to cancel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// It stopped.
    Canceled,
    /// It was done already.
    TooLate,
    /// It could not be asked or did not say.
    Unknown,
}

/// A moment as a [`Timestamp`] of whole microseconds: finer ones differ between what a worker sees and what is recorded.
#[must_use]
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).and_then(|time| time.round(jiff::Unit::Microsecond)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureType;

    #[test]
    fn only_lower_case_hyphenated_uuids_are_job_ids() {
        assert!("01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse::<JobId>().is_ok());
        for text in [
            "",
            "x",
            "01932C07-209D-7CF0-8B2F-0D9E3CF9B6A1",
            "../../../../../../../../../../etc/pa",
            "01932c07209d7cf08b2f0d9e3cf9b6a1",
        ] {
            assert_eq!(text.parse::<JobId>(), Err(InvalidJobId), "{text}");
        }
    }

    #[test]
    fn media_reads_flat_in_json() {
        let failed = Media {
            index: 2,
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
