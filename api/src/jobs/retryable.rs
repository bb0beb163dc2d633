//! Decides whether a job can be retried, and what the run that retries it does: both follow from
//! how the job has ended.

use darkroom_workflows::{
    failure::FailureType,
    job::{
        IfNotFound, JobState, JobStatus, Media, MediaOutcome, MediaStatus, PredictionStatus,
        ProviderState,
    },
    media_generation::Start,
};
use jiff::Timestamp;

use crate::problem::{Kind, Problem};

/// Decides what another run does. Nothing is paid for twice unless the caller requests it.
pub(super) fn start_of(
    ended: &JobState,
    regenerate: bool,
    now: Timestamp,
) -> Result<Start, Problem> {
    match ended.status {
        JobStatus::Partial | JobStatus::Failed => {}
        JobStatus::Pending | JobStatus::Processing => {
            return Err(Problem::new(Kind::NotEnded, "the job has not ended yet"));
        }
        JobStatus::Completed => {
            return Err(Problem::new(
                Kind::NothingToRetry,
                "every output is stored; there is nothing to retry",
            ));
        }
        JobStatus::Canceled => {
            return Err(Problem::new(
                Kind::NothingToRetry,
                "a canceled job cannot be retried; create a new one",
            ));
        }
    }
    let stored = ended.count(MediaStatus::Completed);
    match &ended.provider {
        // Nothing is left to be paid for.
        Some(_) if is_unrecorded(ended) && stored == ended.media.len() => Ok(Start::Resume),
        _ if regenerate => Ok(Start::Regenerate),
        None if is_submitted_again(ended) => Ok(Start::New),
        _ if ended.doubt.is_some() => Ok(Start::Settle),
        None => Ok(Start::New),
        Some(_) if is_unrecorded(ended) => Ok(Start::Resume),
        Some(provider) => {
            resumable(ended, provider, now)?;
            Ok(Start::Resume)
        }
    }
}

/// Returns true if a job with stored outputs was terminated: no manifest names them, so that
/// another run must, whatever is left to fetch. A run that ends by itself makes such a job partial.
fn is_unrecorded(ended: &JobState) -> bool {
    ended.status == JobStatus::Failed && ended.count(MediaStatus::Completed) > 0
}

/// Returns true if the job failed while it was to submit again, as the provider had failed.
fn is_submitted_again(ended: &JobState) -> bool {
    let doubt = ended.doubt.as_ref();
    doubt.is_some_and(|doubt| doubt.if_not_found == IfNotFound::Resubmit)
        && !failed_for(ended, FailureType::SubmissionUnknown)
}

fn failed_for(ended: &JobState, kind: FailureType) -> bool {
    ended.error.as_ref().is_some_and(|error| error.kind == kind)
}

/// Checks that the prediction that was bought may still yield the missing outputs.
fn resumable(ended: &JobState, provider: &ProviderState, now: Timestamp) -> Result<(), Problem> {
    const REGENERATE: &str = "retry with {\"regenerate\": true} to have the provider make the outputs again, which costs again";
    let has_failed = matches!(
        provider.status,
        PredictionStatus::Failed | PredictionStatus::Canceled | PredictionStatus::Aborted
    );
    let missing = ended
        .media
        .iter()
        .filter(|media| may_be_fetched(ended, media, has_failed))
        .count();
    match provider.status {
        _ if has_failed && missing == 0 => {
            let detail = format!("the generation itself did not succeed; {REGENERATE}");
            Err(Problem::new(Kind::GenerationNeeded, detail))
        }
        PredictionStatus::Succeeded
            if missing == 0 && failed_for(ended, FailureType::TooManyOutputs) =>
        {
            let detail = "the maximum of outputs per job is stored; ask for fewer at a time";
            Err(Problem::new(Kind::NothingToRetry, detail))
        }
        PredictionStatus::Succeeded if failed_for(ended, FailureType::NoOutputs) => {
            let detail =
                format!("the generation yielded no files that can be stored; {REGENERATE}");
            Err(Problem::new(Kind::GenerationNeeded, detail))
        }
        PredictionStatus::Succeeded if missing == 0 && !ended.media.is_empty() => {
            let detail = format!("the provider did not make the missing outputs; {REGENERATE}");
            Err(Problem::new(Kind::GenerationNeeded, detail))
        }
        _ => match provider.expires_at {
            Some(expires_at) if expires_at <= now => {
                let detail = match missing {
                    0 => format!("the provider removed the outputs at {expires_at}; {REGENERATE}"),
                    _ => format!(
                        "the provider removed the {missing} missing outputs at {expires_at}; {REGENERATE}"
                    ),
                };
                Err(Problem::new(Kind::SourcesExpired, detail))
            }
            _ => Ok(()),
        },
    }
}

/// Returns true if an output was made and is not stored. Of a failed prediction, only outputs whose
/// fetch was attempted are known to be made.
fn may_be_fetched(ended: &JobState, media: &Media, has_failed: bool) -> bool {
    match &media.outcome {
        MediaOutcome::Completed(_) => false,
        MediaOutcome::Failed { error, attempts } => {
            let is_attempted = attempts.is_some() || !failed_for(ended, error.kind);
            error.kind != FailureType::OutputNotMade && (is_attempted || !has_failed)
        }
        MediaOutcome::Pending | MediaOutcome::Canceled => !has_failed,
    }
}

#[cfg(test)]
mod tests {
    use darkroom_workflows::failure::{FailureType, JobError};
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn ended(status: JobStatus, kind: FailureType) -> JobState {
        let id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
        let request =
            serde_json::from_value(json!({"model": "acme/photo", "prompt": "a fox"})).unwrap();
        JobState {
            status,
            error: Some(JobError::new(kind, "why")),
            ..JobState::new(id, None, request, NOW)
        }
    }

    fn provider(status: PredictionStatus, expires_in: i64) -> ProviderState {
        let state = json!({"name": "replicate", "prediction_id": "p", "status": status});
        ProviderState {
            expires_at: Some(NOW + SignedDuration::from_secs(expires_in)),
            ..serde_json::from_value(state).unwrap()
        }
    }

    fn partial(expires_in: i64) -> JobState {
        let error = JobError::new(FailureType::SourceUnavailable, "broke off");
        JobState {
            provider: Some(provider(PredictionStatus::Succeeded, expires_in)),
            media: vec![Media {
                index: 0,
                name: None,
                outcome: MediaOutcome::Failed {
                    error,
                    attempts: Some(1),
                },
            }],
            ..ended(JobStatus::Partial, FailureType::OutputsFailed)
        }
    }

    #[test]
    fn a_retry_pays_again_only_on_request() {
        let start = |job: &JobState| start_of(job, false, NOW).map_err(|problem| problem.kind());
        assert_eq!(start(&partial(60)), Ok(Start::Resume));
        assert_eq!(start(&partial(-60)), Err(Kind::SourcesExpired));
        assert_eq!(
            start_of(&partial(-60), true, NOW).ok(),
            Some(Start::Regenerate)
        );

        let refused = ended(JobStatus::Failed, FailureType::ProviderInsufficientCredit);
        assert_eq!(start(&refused), Ok(Start::New), "nothing was bought");

        let doubt = json!({"since": NOW, "until": NOW, "cause": "unanswered", "search_seconds": 900, "if_not_found": "fail"});
        let in_doubt = JobState {
            doubt: serde_json::from_value(doubt).unwrap(),
            ..ended(JobStatus::Failed, FailureType::SubmissionUnknown)
        };
        assert_eq!(start(&in_doubt), Ok(Start::Settle), "polling costs nothing");

        let doubt = json!({"since": NOW, "until": NOW, "cause": "provider_failed", "search_seconds": 60, "if_not_found": "resubmit"});
        let submitted_again = JobState {
            doubt: serde_json::from_value(doubt).unwrap(),
            ..ended(JobStatus::Failed, FailureType::DeadlineExceeded)
        };
        assert_eq!(start(&submitted_again), Ok(Start::New));
        let generated_before = JobState {
            provider: partial(60).provider,
            ..submitted_again.clone()
        };
        assert_eq!(start(&generated_before), Ok(Start::Settle));
        let unknown = JobState {
            error: in_doubt.error.clone(),
            ..submitted_again
        };
        assert_eq!(start(&unknown), Ok(Start::Settle), "nothing is paid");

        for (status, kind, expected) in [
            (
                PredictionStatus::Processing,
                FailureType::PredictionNotFound,
                Ok(Start::Resume),
            ),
            (
                PredictionStatus::Processing,
                FailureType::DeadlineExceeded,
                Ok(Start::Resume),
            ),
            (
                PredictionStatus::Failed,
                FailureType::GenerationFailed,
                Err(Kind::GenerationNeeded),
            ),
            (
                PredictionStatus::Canceled,
                FailureType::DeadlineExceeded,
                Err(Kind::GenerationNeeded),
            ),
            (
                PredictionStatus::Succeeded,
                FailureType::NoOutputs,
                Err(Kind::GenerationNeeded),
            ),
        ] {
            let job = JobState {
                provider: Some(provider(status, 60)),
                ..ended(JobStatus::Failed, kind)
            };
            assert_eq!(start(&job), expected, "{status:?} {kind}");
        }
    }

    /// A run that was terminated has written no manifest.
    #[test]
    fn a_terminated_job_with_stored_outputs_is_recorded_for_free() {
        let stored = json!({
            "index": 0, "status": "completed", "s3_key": "k", "content_type": "image/png", "size": 1,
            "sha256": "0".repeat(64), "attempts": 1, "started_at": NOW, "completed_at": NOW,
        });
        let stored: Media = serde_json::from_value(stored).unwrap();
        let terminated = JobState {
            media: vec![stored.clone()],
            ..partial(-60)
        };
        let terminated = JobState {
            status: JobStatus::Failed,
            ..terminated
        };
        for regenerate in [false, true] {
            let start = start_of(&terminated, regenerate, NOW).ok();
            assert_eq!(start, Some(Start::Resume), "{regenerate}");
        }
        let incomplete = JobState {
            media: vec![stored, partial(-60).media.remove(0)],
            ..terminated
        };
        let start = |regenerate| start_of(&incomplete, regenerate, NOW).ok();
        assert_eq!(start(false), Some(Start::Resume));
        assert_eq!(start(true), Some(Start::Regenerate));
    }

    /// The outputs that such a run did not come to fetch were not made.
    #[test]
    fn a_failed_regeneration_is_not_resumed() {
        let error = JobError::new(FailureType::GenerationFailed, "out of memory");
        let failed = JobState {
            provider: Some(provider(PredictionStatus::Failed, 60)),
            media: vec![Media {
                index: 0,
                name: None,
                outcome: MediaOutcome::Failed {
                    error,
                    attempts: None,
                },
            }],
            ..ended(JobStatus::Partial, FailureType::GenerationFailed)
        };
        let refused = start_of(&failed, false, NOW).unwrap_err();
        assert_eq!(refused.kind(), Kind::GenerationNeeded);
    }

    #[test]
    fn only_failed_and_partial_jobs_are_retried() {
        for (status, kind) in [
            (JobStatus::Processing, Kind::NotEnded),
            (JobStatus::Completed, Kind::NothingToRetry),
            (JobStatus::Canceled, Kind::NothingToRetry),
        ] {
            let job = ended(status, FailureType::Internal);
            assert_eq!(start_of(&job, true, NOW).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn a_canceled_job_is_to_be_created_anew() {
        let canceled = ended(JobStatus::Canceled, FailureType::Internal);
        let refused = start_of(&canceled, false, NOW).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a canceled job cannot be retried; create a new one"
        );
    }
}
