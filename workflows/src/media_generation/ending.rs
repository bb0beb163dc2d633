//! The end of a job: its manifest, its webhook, its expiry and the close of the workflow.

use temporalio_workflow::{
    ChildWorkflowCancellationType, ChildWorkflowOptions, ParentClosePolicy,
    WorkflowCancellationToken, WorkflowContext, WorkflowIdReusePolicy, WorkflowResult,
    WorkflowTermination, common::error::ApplicationFailure,
};

use super::{
    MediaGeneration,
    progress::{enter, update},
    stop::Stop,
};
use crate::{
    contract::{self, Activities},
    failure::{FailureType, JobError},
    job::{JobState, JobStatus, Media, MediaOutcome, MediaStatus, Stage},
    job_deletion::{JobDeletion, JobDeletionInput},
    search_attributes::JOB_STATUS,
    webhook_delivery::{self, WebhookDelivery, WebhookDeliveryInput},
};

/// Ending of a job.
pub(super) enum Ending {
    Completed,
    Partial(JobError),
    Failed(JobError),
    Canceled,
    /// Earlier ending, as the manifest records it.
    Recorded(JobStatus, Option<JobError>),
}

impl Ending {
    /// Derives the ending of a job from the status of its outputs, a request to stop, and the
    /// prediction's shortcoming.
    pub(super) fn of(media: &[Media], stop: Option<Stop>, shortcoming: Option<JobError>) -> Self {
        let count = |status| {
            media
                .iter()
                .filter(|media| media.status() == status)
                .count()
        };
        let stored = count(MediaStatus::Completed);
        // Outputs that were stored in spite of the stop count as stored.
        match stop {
            Some(Stop::Canceled) if count(MediaStatus::Canceled) > 0 => return Self::Canceled,
            Some(Stop::DeadlineExceeded) if stored == 0 => {
                return Self::Failed(deadline_exceeded());
            }
            Some(Stop::DeadlineExceeded) if stored < media.len() => {
                return Self::Partial(deadline_exceeded());
            }
            Some(_) | None => {}
        }
        let failed = media.len() - stored;
        match shortcoming.filter(|error| error.is_main_cause(failed == 0)) {
            Some(shortcoming) if stored == 0 => return Self::Failed(shortcoming),
            Some(shortcoming) => return Self::Partial(shortcoming),
            None if failed == 0 => return Self::Completed,
            None => {}
        }
        let first = media.iter().find_map(|media| match &media.outcome {
            MediaOutcome::Failed { error, .. } => Some(format!(
                "output {}: {}: {}",
                media.index + 1,
                error.kind,
                error.detail
            )),
            _ => None,
        });
        let detail = format!(
            "{failed} of {} outputs could not be stored; {}",
            media.len(),
            first.unwrap_or_default()
        );
        let error = JobError::new(FailureType::OutputsFailed, detail);
        if stored == 0 {
            Self::Failed(error)
        } else {
            Self::Partial(error)
        }
    }

    /// Returns the ending of a job that is to stop while the provider refuses its submissions.
    pub(super) fn stopped_after(stop: Stop, refusal: &JobError) -> Self {
        match stop {
            Stop::Canceled => Self::Canceled,
            Stop::DeadlineExceeded => {
                let JobError { detail, .. } = deadline_exceeded();
                let detail = format!("{detail}; last: {}: {}", refusal.kind, refusal.detail);
                Self::Failed(JobError::new(FailureType::DeadlineExceeded, detail))
            }
        }
    }

    /// Returns the ending of a job that ended before, and takes over the outcome of its outputs.
    pub(super) fn as_recorded(ctx: &WorkflowContext<MediaGeneration>, ended: JobState) -> Self {
        update(ctx, |job| {
            job.media = ended.media;
            job.provider = ended.provider;
            job.doubt = ended.doubt;
        });
        Self::Recorded(ended.status, ended.error)
    }

    fn into_status(self) -> (JobStatus, Option<JobError>) {
        match self {
            Self::Completed => (JobStatus::Completed, None),
            Self::Partial(error) => (JobStatus::Partial, Some(error)),
            Self::Failed(error) => (JobStatus::Failed, Some(error)),
            Self::Canceled => (JobStatus::Canceled, None),
            Self::Recorded(status, error) => (status, error),
        }
    }
}

impl From<Stop> for Ending {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Canceled => Self::Canceled,
            Stop::DeadlineExceeded => Self::Failed(deadline_exceeded()),
        }
    }
}

fn deadline_exceeded() -> JobError {
    JobError::new(
        FailureType::DeadlineExceeded,
        "the job was not done by its deadline",
    )
}

/// Writes the manifest, then returns the final state: until the manifest is written, the job has
/// not ended. A store that is down delays the end for days, but never prevents it.
pub(super) async fn finalize(ctx: &WorkflowContext<MediaGeneration>, ending: Ending) -> JobState {
    enter(ctx, Stage::Finalizing);
    let is_recorded = matches!(ending, Ending::Recorded(..));
    let (status, error) = ending.into_status();
    let mut ended = ctx.state(|workflow| workflow.state.clone());
    ended.status = status;
    ended.error = error;
    if !is_recorded {
        ended.end_outputs();
    }
    ended.stage = None;
    ended.completed_at = Some(ended.updated_at);

    let written = ctx
        .execute_local_activity(
            Activities::finalize,
            ended.clone(),
            contract::finalize::options(),
        )
        .await;
    let finalized = if let Ok(finalized) = written {
        Some(finalized)
    } else {
        let options = contract::finalize::later_options();
        // No retry follows. The state is in the workflow's result all the same.
        ctx.execute_activity(Activities::finalize, ended.clone(), options)
            .await
            .ok()
    };
    match finalized {
        Some(finalized) => finalized.into_state(ended),
        None => ended,
    }
}

/// Starts the child workflow that delivers the webhook, if the caller asked for one. It continues
/// after this workflow has closed, whatever its status.
pub(super) async fn notify(ctx: &WorkflowContext<MediaGeneration>, ended: &JobState) {
    let Some(input) = WebhookDeliveryInput::of(ended) else {
        return;
    };
    let id = webhook_delivery::workflow_id(&ended.job_id, ended.retry_count);
    let options =
        abandoned_child_options(id, format!("{} of {}", input.message.event, ended.job_id));
    // The child must have started before this workflow closes.
    let _ = ctx
        .start_child_workflow(WebhookDelivery::run, input, options)
        .await;
}

/// Starts the child workflow that deletes the job when it expires, if it does. A job that was
/// retried expires after its last end.
pub(super) async fn expire(ctx: &WorkflowContext<MediaGeneration>, ended: &JobState) {
    let Some(input) = JobDeletionInput::expiry(ended) else {
        return;
    };
    let options = abandoned_child_options(input.workflow_id(), input.summary());
    let _ = ctx
        .start_child_workflow(JobDeletion::run, input, options)
        .await;
}

/// Options of a child workflow that outlives this one. It terminates and replaces a child that an
/// earlier end of the job started, as that one is out of date.
fn abandoned_child_options(workflow_id: String, summary: String) -> ChildWorkflowOptions {
    ChildWorkflowOptions::builder()
        .workflow_id(workflow_id)
        .id_reuse_policy(WorkflowIdReusePolicy::TerminateIfRunning)
        .parent_close_policy(ParentClosePolicy::Abandon)
        .cancel_type(ChildWorkflowCancellationType::Abandon)
        .cancellation_token(WorkflowCancellationToken::new())
        .static_summary(summary)
        .build()
}

/// Closes the workflow with the outcome of the job.
pub(super) fn close(
    ctx: &WorkflowContext<MediaGeneration>,
    ended: JobState,
) -> WorkflowResult<JobState> {
    ctx.upsert_search_attributes([JOB_STATUS.value_set(ended.status.to_string())]);
    update(ctx, |state| state.clone_from(&ended));
    match (ended.status, &ended.error) {
        (JobStatus::Failed, Some(error)) => Err(failed(error.clone(), ended)),
        (JobStatus::Canceled, _) => Err(WorkflowTermination::cancelled_with_details(ended)),
        _ => Ok(ended),
    }
}

/// Returns the failure of a run whose input is of another job: it would buy for that job, and
/// write over what is stored of it.
pub(super) fn of_another_job(ctx: &WorkflowContext<MediaGeneration>) -> WorkflowTermination {
    let state = ctx.state(|workflow| workflow.state.clone());
    let detail = format!(
        "the workflow id must be that of the job in the input, {}",
        state.job_id
    );
    failed(JobError::new(FailureType::Internal, detail), state)
}

fn failed(error: JobError, state: JobState) -> WorkflowTermination {
    let failure = ApplicationFailure::builder(error.detail)
        .type_name(error.kind.to_string())
        .non_retryable(true)
        .details(state)
        .build();
    WorkflowTermination::failed_application(failure)
}

#[cfg(test)]
mod tests {
    use darkroom_types::{object_key::ObjectKey, sha256::Sha256};
    use jiff::Timestamp;

    use super::*;
    use crate::job::{MediaFacts, StoredMedia};

    fn media(outcomes: &str) -> Vec<Media> {
        let outcome = |letter| match letter {
            'c' => MediaOutcome::Completed(StoredMedia {
                s3_key: ObjectKey::new("jobs/0.png"),
                content_type: String::new(),
                size: 1,
                sha256: Sha256::from([0; 32]),
                facts: MediaFacts::default(),
                preview: None,
                attempts: 1,
                started_at: Timestamp::UNIX_EPOCH,
                completed_at: Timestamp::UNIX_EPOCH,
            }),
            'f' => MediaOutcome::Failed {
                error: JobError::new(FailureType::SourceExpired, "gone"),
                attempts: Some(1),
            },
            'p' => MediaOutcome::Pending,
            _ => MediaOutcome::Canceled,
        };
        outcomes
            .chars()
            .zip(0..)
            .map(|(letter, index)| Media {
                index,
                name: None,
                outcome: outcome(letter),
            })
            .collect()
    }

    #[test]
    fn outputs_of_a_failed_prediction_make_the_job_partial() {
        use crate::job::JobStatus::{Failed, Partial};
        for (outcomes, expected) in [("cc", Partial), ("cf", Partial), ("ff", Failed)] {
            let shortcoming = JobError::new(FailureType::GenerationFailed, "out of memory");
            let ending = Ending::of(&media(outcomes), None, Some(shortcoming));
            let (status, error) = ending.into_status();
            assert_eq!(status, expected, "{outcomes}");
            assert_eq!(error.unwrap().kind, FailureType::GenerationFailed);
        }
    }

    /// Outputs of an earlier run, and a run that did not come to fetch the others.
    #[test]
    fn outputs_end_with_their_job() {
        use crate::job::JobStatus::{Canceled, Failed, Partial};
        let id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
        let request = serde_json::json!({"model": "acme/photo", "prompt": "a fox"});
        let request = serde_json::from_value(request).unwrap();
        let job = JobState::new(id, None, request, Timestamp::UNIX_EPOCH);
        for (outcomes, status, expected, last) in [
            ("cp", Failed, Partial, MediaStatus::Failed),
            ("pp", Failed, Failed, MediaStatus::Failed),
            ("cp", Partial, Partial, MediaStatus::Failed),
            ("cp", Canceled, Canceled, MediaStatus::Canceled),
            ("cc", Failed, Partial, MediaStatus::Completed),
        ] {
            let error = JobError::new(FailureType::GenerationFailed, "out of memory");
            let mut ended = JobState {
                status,
                error: (status != Canceled).then_some(error),
                media: media(outcomes),
                ..job.clone()
            };
            ended.end_outputs();
            let left = ended.media[1].status();
            assert_eq!(
                (ended.status, left),
                (expected, last),
                "{outcomes} {status:?}"
            );
        }
    }

    #[test]
    fn status_follows_from_outputs_and_stop() {
        use crate::job::JobStatus::{Canceled, Completed, Failed, Partial};
        for (outcomes, stop, expected) in [
            ("cc", None, Completed),
            ("cf", None, Partial),
            ("ff", None, Failed),
            ("cc", Some(Stop::Canceled), Completed),
            ("cx", Some(Stop::Canceled), Canceled),
            ("xx", Some(Stop::Canceled), Canceled),
            ("cf", Some(Stop::Canceled), Partial),
            ("cc", Some(Stop::DeadlineExceeded), Completed),
            ("cx", Some(Stop::DeadlineExceeded), Partial),
            ("xx", Some(Stop::DeadlineExceeded), Failed),
        ] {
            let (status, error) = Ending::of(&media(outcomes), stop, None).into_status();
            assert_eq!(status, expected, "{outcomes} {stop:?}");
            assert_eq!(
                error.is_some(),
                matches!(status, Partial | Failed),
                "{outcomes} {stop:?}"
            );
        }
    }
}
