//! `POST /v1/jobs/{id}/retry`: takes a job that did not get everything up again, under the same id. What is stored stays;
//! what is missing is fetched again for as long as the provider keeps it. To have it made again costs money, so that is
//! only done when asked for in so many words.

use std::{sync::Arc, time::SystemTime};

use darkroom_workflows::{
    MediaGenerationInput,
    job::{JobState, JobStatus, MediaStatus, timestamp},
    media_generation::Retry as EarlierRun,
};
use jiff::Timestamp;
use poem::{
    Response,
    http::{StatusCode, header},
};
use serde::Deserialize;
use temporalio_client::WorkflowIdReusePolicy;

use super::{answer::describe, create, find_current, read::Snapshot, view::View};
use crate::{
    Context,
    access::Caller,
    openapi::operation::{self, Content, Operation, Success},
    problem::{Kind, Problem},
    request_id::RequestId,
};

/// Retrying a job.
pub(super) struct Retry;

impl Operation for Retry {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 202,
        description: "The job is taken up again.",
        content: Content::Job,
        headers: &[operation::LOCATION, operation::RETRY_AFTER, operation::ETAG],
    }];
    const PROBLEMS: &'static [Kind] = &[
        Kind::Malformed,
        Kind::NotFound,
        Kind::RequestTimeout,
        Kind::NotEnded,
        Kind::NothingToRetry,
        Kind::SourcesExpired,
        Kind::GenerationNeeded,
        Kind::TooLarge,
        Kind::UnsupportedMediaType,
        Kind::InvalidRequest,
        Kind::TooManyOpenJobs,
        Kind::StorageUnavailable,
    ];
}

/// The body; it may be absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RetryRequest {
    /// Have the outputs made again, and pay for them again.
    #[serde(default)]
    regenerate: bool,
}

pub(super) async fn retry(
    context: &Arc<Context>,
    caller: &Caller,
    job_id: &str,
    request: &RetryRequest,
    request_id: Option<&RequestId>,
) -> Result<Response, Problem> {
    let ended = &find_current(context, caller, job_id).await?.state;
    let job_id = &ended.job_id;
    let now = timestamp(SystemTime::now());
    check(ended, request.regenerate, now)?;
    context
        .limits
        .open_job(context.temporal.client()?, caller.tenant())
        .await?;
    let input = MediaGenerationInput {
        job_id: job_id.clone(),
        tenant: ended.tenant.clone(),
        request: ended.request.clone(),
        retry: Some(EarlierRun {
            ended: ended.clone(),
            regenerate: request.regenerate,
        }),
    };
    create::start(
        context,
        input,
        WorkflowIdReusePolicy::AllowDuplicate,
        request_id,
    )
    .await?;
    context.views.forget(job_id).await;
    tracing::info!(%job_id, regenerate = request.regenerate, "job taken up again");
    let view = View::of(context, Snapshot::fresh(ended.clone().retried(now))).await?;
    Ok(describe(&view, StatusCode::ACCEPTED)
        .header(header::LOCATION, format!("/v1/jobs/{job_id}"))
        .body(view.body.clone()))
}

/// Whether it makes sense, and costs nothing that was not asked for.
fn check(ended: &JobState, regenerate: bool, now: Timestamp) -> Result<(), Problem> {
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
                "the job was canceled; post a new one",
            ));
        }
    }
    if regenerate {
        return Ok(());
    }
    let missing = ended.media.len() - ended.count(MediaStatus::Completed);
    let would = "retry with {\"regenerate\": true} to have the provider make the outputs again, which costs again";
    let may_have_been_paid = ended.provider.is_some()
        || ended
            .error
            .as_ref()
            .is_some_and(|error| error.kind.may_have_cost());
    match &ended.provider {
        Some(provider) if missing > 0 => match provider.expires_at {
            Some(expires_at) if expires_at <= now => {
                let detail = format!(
                    "the provider removed the {missing} missing outputs at {expires_at}; {would}"
                );
                Err(Problem::new(Kind::SourcesExpired, detail))
            }
            _ => Ok(()),
        },
        _ if may_have_been_paid => {
            let detail = format!("the generation itself did not succeed; {would}");
            Err(Problem::new(Kind::GenerationNeeded, detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use darkroom_workflows::{
        failure::{FailureType, JobError},
        job::{Media, MediaOutcome, PredictionStatus, ProviderState},
    };
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
            ..JobState::accepted(id, None, request, NOW)
        }
    }

    fn partial(expires_in: i64) -> JobState {
        let provider = ProviderState::new(
            "replicate".to_owned(),
            "p".to_owned(),
            PredictionStatus::Succeeded,
        );
        let expires_at = Some(NOW + SignedDuration::from_secs(expires_in));
        let error = JobError::new(FailureType::SourceUnavailable, "broke off");
        JobState {
            provider: Some(ProviderState {
                expires_at,
                ..provider
            }),
            media: vec![Media {
                index: 0,
                outcome: MediaOutcome::Failed {
                    error,
                    attempts: Some(1),
                },
            }],
            ..ended(JobStatus::Partial, FailureType::OutputsFailed)
        }
    }

    #[test]
    fn nothing_is_paid_for_again_unasked() {
        assert!(check(&partial(60), false, NOW).is_ok());
        assert_eq!(
            check(&partial(-60), false, NOW).unwrap_err().kind(),
            Kind::SourcesExpired
        );
        assert!(check(&partial(-60), true, NOW).is_ok());
        let refused = ended(JobStatus::Failed, FailureType::ProviderInsufficientCredit);
        assert!(check(&refused, false, NOW).is_ok(), "nothing was bought");
        for kind in [
            FailureType::GenerationFailed,
            FailureType::SubmissionUnknown,
        ] {
            let failed = ended(JobStatus::Failed, kind);
            assert_eq!(
                check(&failed, false, NOW).unwrap_err().kind(),
                Kind::GenerationNeeded
            );
            assert!(check(&failed, true, NOW).is_ok());
        }
    }

    #[test]
    fn only_what_ended_short_is_retried() {
        for (status, kind) in [
            (JobStatus::Processing, Kind::NotEnded),
            (JobStatus::Completed, Kind::NothingToRetry),
            (JobStatus::Canceled, Kind::NothingToRetry),
        ] {
            let job = ended(status, FailureType::Internal);
            assert_eq!(check(&job, true, NOW).unwrap_err().kind(), kind);
        }
    }
}
