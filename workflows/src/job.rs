//! The state of a job, as the query answers it, the result and the failure details record it and the manifest keeps it.
//! What a caller asked for is in [`crate::request`]; how HTTP presents a job is the api's business.

mod doubt;
mod id;
mod media;
mod prediction;

use std::{fmt, time::SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    doubt::{Doubt, DoubtCause, IfNotFound, SubmissionId},
    id::{InvalidJobId, JobId},
    media::{Media, MediaFacts, MediaOutcome, MediaStatus, StoredMedia},
    prediction::{
        CancelOutcome, PredictionId, PredictionRef, PredictionStatus, ProviderName, ProviderState,
    },
};
use crate::{
    contract::collect::{MadeOutput, OutputSource},
    failure::{FailureType, JobError},
    request::JobRequest,
    tenant::Tenant,
};

/// The most that a manifest may have, in bytes: far beyond what a job can carry.
pub const MANIFEST_LIMIT: usize = 16 * 1024 * 1024;

/// Where a job stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Accepted; nothing was asked of the provider yet.
    Pending,
    /// Under way.
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
pub enum Stage {
    /// Waits for its turn at the provider.
    Queued,
    /// The provider has it.
    Generating,
    /// The provider may have it: the answer to its submission is lost, and it is looked for.
    Reconciling,
    /// Outputs are moved into the store.
    Persisting,
    /// The manifest is written.
    Finalizing,
}

/// A job: what was asked, where it stands, what came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobState {
    /// The job's id.
    pub job_id: JobId,
    /// Whose it is; nobody's in particular where callers have no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The run of the workflow that the state is of; a reset makes another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
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
    /// A submission that the provider may have taken, and that nobody has found since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

impl JobState {
    /// A job that was just accepted.
    #[must_use]
    pub fn accepted(
        job_id: JobId,
        tenant: Option<Tenant>,
        request: JobRequest,
        at: Timestamp,
    ) -> Self {
        Self {
            job_id,
            tenant,
            run_id: None,
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
            doubt: None,
        }
    }

    /// The job as it is taken up again: what is stored and what is in doubt stays, the rest is to be done. What its prediction
    /// did not make only another can.
    #[must_use]
    pub fn retried(self, at: Timestamp, regenerates: bool) -> Self {
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
        // What came of an earlier cancellation is told.
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

    /// The provider has it: whatever was in doubt is settled.
    pub fn bought(&mut self, provider: ProviderState) {
        self.provider = Some(provider);
        self.doubt = None;
    }

    /// The provider has made these outputs: what an earlier run stored stays, and what was not made will never come.
    pub fn made(&mut self, outputs: &[MadeOutput], prediction: &PredictionId) {
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

    /// How many outputs are in this state.
    #[must_use]
    pub fn count(&self, status: MediaStatus) -> usize {
        self.media
            .iter()
            .filter(|media| media.status() == status)
            .count()
    }
}

/// A moment as a [`Timestamp`] of whole microseconds: finer ones differ between what a worker sees and what is recorded.
#[must_use]
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time)
        .and_then(|time| time.round(jiff::Unit::Microsecond))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
