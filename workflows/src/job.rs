//! State of a job, as the query returns it, the result and the failure details record it and the
//! manifest keeps it. The request of the caller is in [`crate::request`]; the HTTP resource is
//! built by the `api` crate.
//!
//! - `prediction`: the provider's side of a job; `made_output`: an output that it made
//! - `media`: one output of the job
//! - `doubt`: a submission in doubt; `retry`: the retries of a job; `adopted_outputs`: outputs that
//!   an earlier run has stored
//! - `index`, `tombstone`: the objects in the bucket that list ended jobs, and that reserve the ids
//!   of deleted ones

mod adopted_outputs;
mod doubt;
mod index;
mod made_output;
mod media;
mod prediction;
mod retry;
mod tombstone;

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use darkroom_types::resource::MediaCounts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use darkroom_types::{
    api_key::KeyId,
    job_id::{InvalidJobId, JobId},
    object_key::ObjectKey,
    provider::{CancelOutcome, PredictionId, PredictionStatus, ProviderName},
    sha256::Sha256,
    status::{JobStatus, MediaStatus, Stage},
};

pub use self::{
    doubt::{Doubt, DoubtCause, IfNotFound, SubmissionId},
    index::{INDEX, IndexEntry, InvalidIndexKey},
    made_output::{MAX_OUTPUTS, MadeOutput, OutputSource},
    media::{Media, MediaFacts, MediaOutcome, Preview, PreviewFormat, StoredMedia},
    prediction::{Prediction, PredictionRef, ProviderState},
    retry::{Retries, Retry},
    tombstone::{TOMBSTONE_LIMIT, TOMBSTONES, Tombstone},
};
use crate::{
    failure::{FailureType, JobError},
    request::{ExpireAfterSeconds, JobRequest},
    tenant::Tenant,
};

/// Size limit of a manifest in bytes: far beyond what a job can carry.
pub const MANIFEST_LIMIT: usize = 16 * 1024 * 1024;

/// A job: its request, its status and its outcome.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobState {
    /// The job's id.
    pub job_id: JobId,
    /// Tenant of the job; absent if callers have no API keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Run id of the workflow that the state is of; a reset creates another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The request.
    pub request: JobRequest,
    /// Status of the job.
    pub status: JobStatus,
    /// Current stage; absent once the job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Outputs by position; empty until the provider has made them.
    #[serde(default)]
    pub media: Vec<Media>,
    /// State of the prediction at the provider, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderState>,
    /// Reason that the job is not `completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Number of retries of the job as a whole.
    #[serde(default)]
    pub retry_count: u32,
    /// API key that submitted the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// Id of the secret that the job's webhook is to be signed with, if it has a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret_id: Option<String>,
    /// The retries that began its runs after the first.
    #[serde(default, skip_serializing_if = "Retries::is_empty")]
    pub retries: Retries,
    /// Time at which the job was accepted.
    pub created_at: Timestamp,
    /// Time of the last change to this state.
    pub updated_at: Timestamp,
    /// Time at which a worker started the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Time at which the job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Seconds after its end at which the job is deleted; it is kept if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after_seconds: Option<ExpireAfterSeconds>,
    /// Submission in doubt: the provider may have accepted it, and it was not found since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

impl JobState {
    /// Returns the state of a job that was just accepted.
    #[must_use]
    pub fn new(job_id: JobId, tenant: Option<Tenant>, request: JobRequest, at: Timestamp) -> Self {
        Self {
            job_id,
            tenant,
            run_id: None,
            expire_after_seconds: request.expire_after_seconds,
            request,
            status: JobStatus::Pending,
            stage: Some(Stage::Queued),
            media: Vec::new(),
            provider: None,
            error: None,
            retry_count: 0,
            key_id: None,
            webhook_secret_id: None,
            retries: Retries::default(),
            created_at: at,
            updated_at: at,
            started_at: None,
            completed_at: None,
            doubt: None,
        }
    }

    /// Returns the state for a retry: what is stored and what is in doubt stays, the rest is to be
    /// done. Outputs that the prediction did not make stay failed unless the job regenerates, as
    /// only another prediction can make them.
    #[must_use]
    pub fn for_retry(self, at: Timestamp, regenerates: bool) -> Self {
        let media = self.media.into_iter().map(|media| match &media.outcome {
            MediaOutcome::Completed(_) => media,
            MediaOutcome::Failed { error, .. }
                if error.kind == FailureType::OutputNotMade && !regenerates =>
            {
                media
            }
            _ => Media {
                outcome: MediaOutcome::Pending,
                ..media
            },
        });
        // A cancellation of the earlier run does not carry over.
        let provider = self.provider.map(|provider| ProviderState {
            cancel_outcome: None,
            ..provider
        });
        Self {
            status: JobStatus::Pending,
            stage: Some(Stage::Queued),
            media: media.collect(),
            provider,
            error: None,
            retry_count: self.retry_count + 1,
            updated_at: at,
            started_at: None,
            completed_at: None,
            ..self
        }
    }

    /// Records that the provider has the work, which settles any doubt.
    pub fn record_purchase(&mut self, provider: ProviderState) {
        self.provider = Some(provider);
        self.doubt = None;
    }

    /// Returns the submission of an ended job that was not found: what it bought may still show up.
    #[must_use]
    pub fn unsettled_doubt(&self) -> Option<&Doubt> {
        let is_unsettled = matches!(self.status, JobStatus::Failed | JobStatus::Partial);
        self.doubt.as_ref().filter(|_| is_unsettled)
    }

    /// Ends the outputs that the job did not come to fetch, in the way in which the job has ended.
    /// If an earlier run has stored others, the job is partial: it has not failed as a whole.
    pub fn end_outputs(&mut self) {
        let outcome = match (self.status, &self.error) {
            (JobStatus::Canceled, _) => MediaOutcome::Canceled,
            (JobStatus::Partial | JobStatus::Failed, Some(error)) => MediaOutcome::Failed {
                error: error.clone(),
                attempts: None,
            },
            _ => return,
        };
        for media in &mut self.media {
            if media.status() == MediaStatus::Pending {
                media.outcome = outcome.clone();
            }
        }
        if self.status == JobStatus::Failed && self.count(MediaStatus::Completed) > 0 {
            self.status = JobStatus::Partial;
        }
    }

    /// Records the outputs that the provider has made. What an earlier run stored stays; outputs
    /// that were not made fail.
    pub fn record_outputs(&mut self, outputs: &[MadeOutput], prediction: &PredictionId) {
        let asked = usize::from(self.request.num_outputs.get());
        for index in (0..).take(outputs.len().max(asked)).skip(self.media.len()) {
            self.media.push(Media {
                index,
                name: None,
                outcome: MediaOutcome::Pending,
            });
        }
        for (position, media) in self.media.iter_mut().enumerate() {
            if media.status() != MediaStatus::Pending {
                continue;
            }
            let output = outputs.get(position);
            media.name = output.and_then(|output| output.name.clone());
            let detail = match output.map(|output| &output.source) {
                Some(OutputSource::Url(_) | OutputSource::Prediction) => continue,
                Some(OutputSource::Withheld) => "the provider withheld it".to_owned(),
                None => format!(
                    "prediction {prediction} made {} of {} outputs",
                    outputs.len(),
                    asked.max(position + 1)
                ),
            };
            media.outcome = MediaOutcome::Failed {
                error: JobError::new(FailureType::OutputNotMade, detail),
                attempts: None,
            };
        }
    }

    /// Returns the time at which the job is deleted, if it has ended and expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let kept = Duration::from_secs(self.expire_after_seconds?.get().into());
        self.completed_at?.checked_add(kept).ok()
    }

    /// Returns the keys of everything that the job has in the store: outputs, previews and
    /// manifest.
    #[must_use]
    pub fn stored_keys(&self) -> BTreeSet<ObjectKey> {
        let stored = self.media.iter().flat_map(|media| match &media.outcome {
            MediaOutcome::Completed(stored) => {
                let preview = stored.preview.as_ref();
                let preview = preview.map(|preview| preview.key(&self.job_id, media.index));
                preview.into_iter().chain([stored.s3_key.clone()]).collect()
            }
            _ => Vec::new(),
        });
        stored.chain([self.job_id.manifest_key()]).collect()
    }

    /// Returns the number of outputs in each status.
    #[must_use]
    pub fn media_counts(&self) -> MediaCounts {
        MediaCounts {
            total: self.media.len(),
            pending: self.count(MediaStatus::Pending),
            completed: self.count(MediaStatus::Completed),
            failed: self.count(MediaStatus::Failed),
            canceled: self.count(MediaStatus::Canceled),
        }
    }

    /// Returns the number of outputs with this status.
    #[must_use]
    pub fn count(&self, status: MediaStatus) -> usize {
        self.media
            .iter()
            .filter(|media| media.status() == status)
            .count()
    }
}

/// Converts a time to a [`Timestamp`] of whole microseconds: finer ones differ between what a
/// worker sees and what the history records.
#[must_use]
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time)
        .and_then(|time| time.round(jiff::Unit::Microsecond))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
