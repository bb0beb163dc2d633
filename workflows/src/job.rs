//! The state of a job, as the query answers it, the result and the failure details record it and the manifest keeps it.
//! What a caller asked for is in [`crate::request`]; how HTTP presents a job is the api's business.

mod doubt;
mod index;
mod media;
mod prediction;
mod retry;
mod tombstone;

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use darkroom_types::{
    api_key::KeyId,
    job_id::{InvalidJobId, JobId},
    provider::{CancelOutcome, PredictionId, PredictionStatus, ProviderName},
    status::{JobStatus, MediaStatus, Stage},
};

pub use self::{
    doubt::{Doubt, DoubtCause, IfNotFound, SubmissionId},
    index::{INDEX, IndexEntry, InvalidIndexKey},
    media::{Media, MediaFacts, MediaOutcome, Preview, PreviewFormat, StoredMedia},
    prediction::{PredictionRef, ProviderState},
    retry::{Retries, Retry},
    tombstone::{TOMBSTONE_LIMIT, TOMBSTONES, Tombstone},
};
use crate::{
    contract::collect::{MadeOutput, OutputSource},
    failure::{FailureType, JobError},
    request::{ExpireAfterSeconds, JobRequest},
    tenant::Tenant,
};

/// The most that a manifest may have, in bytes: far beyond what a job can carry.
pub const MANIFEST_LIMIT: usize = 16 * 1024 * 1024;

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
    /// The API key that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// What the secret is known by that its webhook is to be signed with, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret_id: Option<String>,
    /// What began its runs but the first.
    #[serde(default, skip_serializing_if = "Retries::is_empty")]
    pub retries: Retries,
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
    /// How long after that it is deleted; it stays if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after_seconds: Option<ExpireAfterSeconds>,
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

    /// Takes over what an earlier run of this job has stored and this one has not, as a run after a reset may find neither its
    /// sources nor its time any more. Returns whether there was anything.
    pub fn keep_stored(&mut self, earlier: Self) -> bool {
        let is_stored = |media: &Media| media.status() == MediaStatus::Completed;
        let mut kept = false;
        let mut further = earlier.media;
        let others = further.split_off(self.media.len().min(further.len()));
        for (ours, media) in self.media.iter_mut().zip(further) {
            if is_stored(&media) && !is_stored(ours) {
                *ours = media;
                kept = true;
            }
        }
        if others.iter().any(is_stored) {
            self.media.extend(others);
            kept = true;
        }
        if kept {
            self.provider = self.provider.take().or(earlier.provider);
            self.judge_again();
        }
        kept
    }

    /// The status that follows from the outputs, now that there are more than the run knew of.
    fn judge_again(&mut self) {
        let is_all = self.count(MediaStatus::Completed) == self.media.len();
        let shortcoming = self.provider.as_ref().and_then(ProviderState::shortcoming);
        let shortcoming = shortcoming.filter(|error| error.tells_most(is_all));
        match self.status {
            JobStatus::Failed | JobStatus::Partial => match shortcoming {
                Some(shortcoming) => {
                    self.status = JobStatus::Partial;
                    self.error = Some(shortcoming);
                }
                None if is_all => {
                    self.status = JobStatus::Completed;
                    self.error = None;
                }
                None => self.status = JobStatus::Partial,
            },
            JobStatus::Pending
            | JobStatus::Processing
            | JobStatus::Completed
            | JobStatus::Canceled => {}
        }
    }

    /// When the job is deleted, if it has ended and does not stay.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let kept = Duration::from_secs(self.expire_after_seconds?.get().into());
        self.completed_at?.checked_add(kept).ok()
    }

    /// The keys of all that the job has in the store: its outputs, and its manifest.
    #[must_use]
    pub fn stored_keys(&self) -> BTreeSet<String> {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A job with an output for each letter: `c` for one that is stored, `f` for one that is not.
    fn job(status: &str, outputs: &str) -> JobState {
        let at = Timestamp::UNIX_EPOCH;
        let media = |(letter, index)| match letter {
            'c' => json!({
                "index": index, "status": "completed", "s3_key": "k", "content_type": "image/png", "size": 1,
                "sha256": "", "attempts": 1, "started_at": at, "completed_at": at,
            }),
            _ => json!({
                "index": index, "status": "failed", "error": JobError::new(FailureType::SourceExpired, "gone"),
            }),
        };
        let media: Vec<Value> = outputs.chars().zip(0..).map(media).collect();
        let error =
            (status != "completed").then(|| JobError::new(FailureType::DeadlineExceeded, "late"));
        serde_json::from_value(json!({
            "job_id": "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1", "request": {"model": "acme/photo", "prompt": "a fox"},
            "status": status, "media": media, "error": error, "created_at": at, "updated_at": at,
        }))
        .unwrap()
    }

    #[test]
    fn what_a_failed_prediction_made_is_never_all() {
        let failed =
            json!({"name": "replicate", "prediction_id": "p", "status": "failed", "error": "why"});
        let mut run = job("partial", "cf");
        run.provider = serde_json::from_value(failed).unwrap();
        assert!(run.keep_stored(job("partial", "cc")));
        let kind = run.error.map(|error| error.kind);
        assert_eq!(
            (run.status, kind),
            (JobStatus::Partial, Some(FailureType::GenerationFailed))
        );
    }

    #[test]
    fn a_run_after_a_reset_keeps_what_the_one_before_has_stored() {
        for (status, outputs, earlier, expected, stored) in [
            ("failed", "", "cc", Some(JobStatus::Completed), 2),
            ("failed", "ff", "cf", Some(JobStatus::Partial), 1),
            ("partial", "fc", "cf", Some(JobStatus::Completed), 2),
            ("canceled", "f", "c", Some(JobStatus::Canceled), 1),
            ("partial", "cf", "cf", None, 1),
            ("failed", "", "ff", None, 0),
            ("failed", "", "fc", Some(JobStatus::Partial), 1),
            ("failed", "f", "ffc", Some(JobStatus::Partial), 1),
        ] {
            let mut run = job(status, outputs);
            let kept = run.keep_stored(job("partial", earlier));
            assert_eq!(kept, expected.is_some(), "{outputs} {earlier}");
            assert_eq!(
                run.count(MediaStatus::Completed),
                stored,
                "{outputs} {earlier}"
            );
            if let Some(expected) = expected {
                assert_eq!(run.status, expected, "{outputs} {earlier}");
                assert_eq!(run.error.is_none(), expected == JobStatus::Completed);
            }
        }
    }
}
