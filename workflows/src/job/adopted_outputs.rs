//! Adoption of outputs that an earlier run of a job has stored, by a run that a reset created.

use super::{JobState, JobStatus, Media, MediaStatus, ProviderState};

impl JobState {
    /// Adopts outputs that an earlier run of this job has stored and this one has not: after a
    /// reset, a run may be out of time or find its sources expired. Returns true if there were any.
    pub fn adopt_stored(&mut self, earlier: Self) -> bool {
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
            self.rederive_status();
        }
        kept
    }

    /// Derives the status from the outputs again, after outputs were adopted.
    fn rederive_status(&mut self) {
        let is_all = self.count(MediaStatus::Completed) == self.media.len();
        let shortcoming = self.provider.as_ref().and_then(ProviderState::shortcoming);
        let shortcoming = shortcoming.filter(|error| error.is_main_cause(is_all));
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
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::failure::{FailureType, JobError};

    /// Builds a job with an output for each letter: `c` for stored, `f` for failed.
    fn job(status: &str, outputs: &str) -> JobState {
        let at = Timestamp::UNIX_EPOCH;
        let media = |(letter, index)| match letter {
            'c' => json!({
                "index": index, "status": "completed", "s3_key": "k", "content_type": "image/png", "size": 1,
                "sha256": "0".repeat(64), "attempts": 1, "started_at": at, "completed_at": at,
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
    fn a_failed_prediction_stays_partial_with_all_outputs_stored() {
        let failed =
            json!({"name": "replicate", "prediction_id": "p", "status": "failed", "error": "why"});
        let mut run = job("partial", "cf");
        run.provider = serde_json::from_value(failed).unwrap();
        assert!(run.adopt_stored(job("partial", "cc")));
        let kind = run.error.map(|error| error.kind);
        assert_eq!(
            (run.status, kind),
            (JobStatus::Partial, Some(FailureType::GenerationFailed))
        );
    }

    #[test]
    fn a_run_after_a_reset_keeps_stored_outputs() {
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
            let kept = run.adopt_stored(job("partial", earlier));
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
