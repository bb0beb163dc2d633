//! `POST /v1/jobs/{id}/retry`: retries a job that did not get all of its outputs, under the same
//! id. Stored outputs are kept; missing ones are fetched again for as long as the provider keeps
//! them. To generate them again costs money, so that is done only on explicit request.

use std::{sync::Arc, time::SystemTime};

use darkroom_types::{
    job_id::JobId,
    request::{IdempotencyKey, RetryRequest},
    resource::Job,
};
use darkroom_workflows::{
    failure::FailureType,
    job::{
        JobState, JobStatus, Media, MediaOutcome, PredictionStatus, ProviderState, Retry, timestamp,
    },
    media_generation::Start,
};
use jiff::Timestamp;
use poem::{
    Request, Response, ResponseBuilder, handler,
    http::header,
    web::{Data, Path},
};
use uuid::Uuid;

use super::{
    Run,
    answer::{accepted_or_ended, describe},
    find_current, idempotency,
    load::Snapshot,
    view::View,
};
use crate::{
    access::Caller,
    context::Context,
    json::OptionalJson,
    problem::{Kind, Problem, problems},
};

problems!(
    Problems: Malformed, NotFound, RequestTimeout, NotEnded, NothingToRetry, SourcesExpired, GenerationNeeded, TooLarge,
    UnsupportedMediaType, InvalidRequest, IdempotencyMismatch, TooManyOpenJobs, StorageUnavailable,
);

/// Retry a job
///
/// Retries a job that is `partial` or `failed`, under the same id. Stored outputs are kept; missing
/// ones are fetched again for as long as the provider keeps them. To generate them again costs
/// money, and is done only with `"regenerate": true`. With an `Idempotency-Key`, a repeated request
/// returns the same run, whatever its outcome, for as long as it is among the job's latest 16
/// retries. Without one, only one of several concurrent retries is accepted.
#[utoipa::path(
    post, path = "/v1/jobs/{job_id}/retry", operation_id = "retryJob", tag = "Jobs",
    params(
        ("job_id" = JobId, Path, description = "The job's id."),
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "Your own unique name for this retry: 1 to 255 visible ASCII characters."),
    ),
    request_body = RetryRequest,
    responses(
        (status = 202, description = "The job is under way again.", body = Job,
            headers(("Location"), ("Retry-After"), ("ETag"), ("Idempotent-Replayed"))),
        (status = 200, description = "The job was retried with this key before, and has ended.", body = Job,
            headers(("Location"), ("ETag"), ("Idempotent-Replayed"))),
        Problems,
    ),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn retry_job(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
    request: &Request,
    OptionalJson(body): OptionalJson<RetryRequest>,
) -> Result<Response, Problem> {
    let key = idempotency::key(request)?;
    let view = find_current(context, &caller, &job_id).await?;
    let ended = &view.state;
    let job_id = &ended.job_id;
    let retry = Retry {
        id: match &key {
            Some(key) => idempotency::retry_id(key, job_id),
            None => Uuid::new_v4().simple().to_string(),
        },
        regenerate: body.regenerate,
    };
    if let Some(known) = ended.retries.find(&retry.id) {
        return replay(&view, known, &retry);
    }
    caller.may_ask_for(&ended.request.model)?;
    let now = timestamp(SystemTime::now());
    let start = start_of(ended, body.regenerate, now)?;
    let client = context.temporal.client()?;
    let admission = context.limits.open_jobs.admit(client, caller.tenant());
    let admission = admission.await?;
    let run = Run::Another(retry.clone());
    super::start(context, ended.clone(), start, run, request.data()).await?;
    admission.keep();
    context.views.invalidate(job_id).await;
    tracing::info!(%job_id, ?start, "job retried");
    let mut retried = ended.clone().retried(now, start == Start::Regenerate);
    retried.retries.push(retry);
    let view = View::of(context, Snapshot::fresh(retried)).await?;
    Ok(answer(&view).body(view.body.clone()))
}

fn answer(view: &View) -> ResponseBuilder {
    let location = format!("/v1/jobs/{}", view.state.job_id);
    describe(view, accepted_or_ended(view)).header(header::LOCATION, location)
}

/// Returns the run that an earlier retry with this key started, as it is now.
fn replay(view: &View, known: &Retry, retry: &Retry) -> Result<Response, Problem> {
    if known != retry {
        let detail = "the Idempotency-Key was used for another retry; use a new key for a new one";
        return Err(Problem::new(Kind::IdempotencyMismatch, detail));
    }
    let response = answer(view).header("Idempotent-Replayed", "true");
    Ok(response.body(view.body.clone()))
}

/// Decides what another run does. Nothing is paid for twice unless the caller requests it.
fn start_of(ended: &JobState, regenerate: bool, now: Timestamp) -> Result<Start, Problem> {
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
    match &ended.provider {
        _ if regenerate => Ok(Start::Regenerate),
        _ if ended.doubt.is_some() => Ok(Start::Settle),
        None => Ok(Start::New),
        Some(provider) => {
            resumable(ended, provider, now)?;
            Ok(Start::Resume)
        }
    }
}

/// Checks that the prediction that was bought may still yield the missing outputs.
fn resumable(ended: &JobState, provider: &ProviderState, now: Timestamp) -> Result<(), Problem> {
    const WOULD: &str = "retry with {\"regenerate\": true} to have the provider make the outputs again, which costs again";
    let has_failed = matches!(
        provider.status,
        PredictionStatus::Failed | PredictionStatus::Canceled | PredictionStatus::Aborted
    );
    let missing = ended
        .media
        .iter()
        .filter(|media| may_be_fetched(media, has_failed))
        .count();
    let ended_for = |kind| ended.error.as_ref().is_some_and(|error| error.kind == kind);
    match provider.status {
        _ if has_failed && missing == 0 => {
            let detail = format!("the generation itself did not succeed; {WOULD}");
            Err(Problem::new(Kind::GenerationNeeded, detail))
        }
        PredictionStatus::Succeeded if missing == 0 && ended_for(FailureType::TooManyOutputs) => {
            let detail = "the maximum of outputs per job is stored; ask for fewer at a time";
            Err(Problem::new(Kind::NothingToRetry, detail))
        }
        PredictionStatus::Succeeded if ended_for(FailureType::NoOutputs) => {
            let detail = format!("the generation yielded no files that can be stored; {WOULD}");
            Err(Problem::new(Kind::GenerationNeeded, detail))
        }
        PredictionStatus::Succeeded if missing == 0 && !ended.media.is_empty() => {
            let detail = format!("the provider did not make the missing outputs; {WOULD}");
            Err(Problem::new(Kind::GenerationNeeded, detail))
        }
        _ => match provider.expires_at {
            Some(expires_at) if expires_at <= now => {
                let detail = match missing {
                    0 => format!("the provider removed the outputs at {expires_at}; {WOULD}"),
                    _ => format!(
                        "the provider removed the {missing} missing outputs at {expires_at}; {WOULD}"
                    ),
                };
                Err(Problem::new(Kind::SourcesExpired, detail))
            }
            _ => Ok(()),
        },
    }
}

/// True if an output was made and is not stored. Of a failed prediction, only outputs whose fetch
/// was attempted are known to be made.
fn may_be_fetched(media: &Media, has_failed: bool) -> bool {
    match &media.outcome {
        MediaOutcome::Completed(_) => false,
        MediaOutcome::Failed { error, .. } => error.kind != FailureType::OutputNotMade,
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
            ..JobState::accepted(id, None, request, NOW)
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
    fn nothing_is_paid_for_again_unasked() {
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

    #[test]
    fn only_what_ended_short_is_retried() {
        for (status, kind) in [
            (JobStatus::Processing, Kind::NotEnded),
            (JobStatus::Completed, Kind::NothingToRetry),
            (JobStatus::Canceled, Kind::NothingToRetry),
        ] {
            let job = ended(status, FailureType::Internal);
            assert_eq!(start_of(&job, true, NOW).unwrap_err().kind(), kind);
        }
    }
}
