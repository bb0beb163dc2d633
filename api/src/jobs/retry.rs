//! `POST /v1/jobs/{id}/retry`: retries a job that did not get all of its outputs, under the same
//! id. Stored outputs are kept; missing ones are fetched again for as long as the provider keeps
//! them. To generate them again costs money, so that is done only on explicit request. What a retry
//! does is decided in `retryable`.

use std::{sync::Arc, time::SystemTime};

use darkroom_types::{
    job_id::JobId,
    request::{IdempotencyKey, RetryRequest},
    resource::Job,
};
use darkroom_workflows::{
    job::{Retry, timestamp},
    media_generation::Start,
};
use poem::{
    Request, Response, handler,
    web::{Data, Path},
};
use uuid::Uuid;

use super::{
    Run, answer::started, find_current, idempotency, load::Snapshot, retryable::start_of,
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
        return replay(context, &view, known, &retry);
    }
    caller.may_ask_for(&ended.request.model)?;
    let now = timestamp(SystemTime::now());
    let start = start_of(ended, body.regenerate, now)?;
    let client = context.temporal.client()?;
    let admission = context.limits.open_jobs.admit(client, caller.tenant());
    let admission = admission.await?;
    let run = Run::Another(retry.clone());
    super::start(context, ended.clone(), start, run, request.data()).await?;
    admission.commit();
    context.views.invalidate(job_id).await;
    tracing::info!(%job_id, ?start, "job retried");
    let mut retried = ended.clone().for_retry(now, start == Start::Regenerate);
    retried.retries.push(retry);
    let view = View::of(context, Snapshot::fresh(retried)).await?;
    Ok(started(context, &view).body(view.body.clone()))
}

/// Returns the run that an earlier retry with this key started, as it is now.
fn replay(
    context: &Context,
    view: &View,
    known: &Retry,
    retry: &Retry,
) -> Result<Response, Problem> {
    if known != retry {
        let detail = "the Idempotency-Key was used for another retry; use a new key for a new one";
        return Err(Problem::new(Kind::IdempotencyMismatch, detail));
    }
    let response = started(context, view).header("Idempotent-Replayed", "true");
    Ok(response.body(view.body.clone()))
}
