//! `POST /v1/jobs`: accepts a request by starting its workflow. The start is the only write: there
//! is no other database.

use std::{sync::Arc, time::SystemTime};

use darkroom_telemetry::logs::PROMPTS;
use darkroom_types::resource::Job;
use darkroom_workflows::{
    job::{JobId, JobState, Tombstone, timestamp},
    media_generation::Start,
    request::{IdempotencyKey, JobRequest, Prompt},
};
use futures::{FutureExt, future::join};
use poem::{Request, Response, handler, web::Data};
use uuid::Uuid;

use super::{
    Run,
    answer::{applied, started},
    delete, idempotency,
    load::{self, Snapshot},
    start,
    view::View,
};
use crate::{
    access::Caller,
    context::Context,
    json::Json,
    metrics,
    middleware::request_id::RequestId,
    prefer::Wait,
    problem::{Kind, Problem, problems},
    watch,
};

problems!(
    Problems: Malformed, RequestTimeout, Deleted, TooLarge, UnsupportedMediaType, InvalidRequest, IdempotencyMismatch,
    TooManyOpenJobs, TooManyFollowers, StorageUnavailable,
);

/// Create a job
///
/// Accepts a request. An accepted job cannot be lost. Use an `Idempotency-Key`: a repeated request
/// with the same key returns the same job, at any time and after any failure, so you can safely
/// repeat a request whose response was lost. The key of a deleted job returns `410` for 90 days.
#[utoipa::path(
    post, path = "/v1/jobs", operation_id = "createJob", tag = "Jobs",
    params(
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "Your own unique name for this request: 1 to 255 visible ASCII characters."),
        ("Prefer" = Option<String>, Header, nullable = false, description = "`wait=n` waits up to `n` seconds, at most 60, for the job to end; `wait` alone waits 60."),
    ),
    request_body = JobRequest,
    responses(
        (status = 202, description = "The job is accepted.", body = Job,
            headers(("Location"), ("Retry-After"), ("ETag"), ("Idempotent-Replayed"), ("Preference-Applied"))),
        (status = 200, description = "The job has ended: within the wait, or earlier if the request is a replay.", body = Job,
            headers(("Location"), ("ETag"), ("Idempotent-Replayed"), ("Preference-Applied"))),
        Problems,
    ),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn create_job(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    request: &Request,
    Json(body): Json<JobRequest>,
) -> Result<Response, Problem> {
    let key = idempotency::key(request)?;
    let (wait, request_id) = (Wait::of(request), request.data::<RequestId>());
    caller.may_ask_for(&body.model)?;
    admissible(context, &body)?;
    let (view, is_replayed) = match key {
        Some(key) => once(context, &caller, key, body, request_id).await?,
        None => (
            accept(context, &caller, Uuid::now_v7().into(), body, request_id).await?,
            false,
        ),
    };
    let view = match wait {
        // The job is accepted: after an error the caller would create it again.
        Some(wait) => {
            let waited = watch::until(context, &caller, Arc::clone(&view), wait, View::has_ended);
            waited.await.unwrap_or(view)
        }
        None => view,
    };
    let response = started(context, &view);
    let response = if is_replayed {
        response.header("Idempotent-Replayed", "true")
    } else {
        response
    };
    Ok(applied(response, wait).body(view.body.clone()))
}

/// Checks that the operator has configured what a request needs.
fn admissible(context: &Context, request: &JobRequest) -> Result<(), Problem> {
    if request.webhook_url.is_none() || context.webhook_secret.is_some() {
        return Ok(());
    }
    let detail = "webhooks are disabled: the operator has not set DARKROOM_WEBHOOK_SECRET";
    Err(Problem::invalid_field("/webhook_url", detail))
}

/// Returns the job of a key: a new one, or the existing one. Temporal decides within its retention,
/// and the manifest after that.
async fn once(
    context: &Arc<Context>,
    caller: &Caller,
    key: IdempotencyKey,
    request: JobRequest,
    request_id: Option<&RequestId>,
) -> Result<(Arc<View>, bool), Problem> {
    let job_id = idempotency::job_id(&key, caller.tenant());
    if context.views.is_deleted(&job_id) {
        return Err(delete::gone(&job_id));
    }
    let reads = join(
        load::manifest(context, &job_id).boxed(),
        delete::tombstone(context, &job_id).boxed(),
    );
    let (manifest, tombstone) = reads.await;
    let is_recorded = match manifest {
        Ok(_) => true,
        Err(problem) if problem.kind() == Kind::NotFound => false,
        Err(problem) => return Err(problem),
    };
    match tombstone? {
        // Its manifest is deleted as well, a moment later.
        Some(Tombstone::Deleted) => return Err(delete::gone(&job_id)),
        // It may have been retried, and have a manifest by now.
        Some(Tombstone::Terminated) if !is_recorded => return Err(delete::gone(&job_id)),
        Some(Tombstone::Terminated) | None => {}
    }
    let mut refused = None;
    if !is_recorded {
        match accept(context, caller, job_id, request.clone(), request_id).await {
            Ok(view) => return Ok((view, false)),
            // A replay opens no further job, so the limit does not apply to it.
            Err(problem) if matches!(problem.kind(), Kind::NotEnded | Kind::TooManyOpenJobs) => {
                refused = Some(problem);
            }
            Err(problem) => return Err(problem),
        }
    }
    match (context.views.recent(context, &job_id).await, refused) {
        (Ok(view), _) => replay(view, &request),
        (Err(problem), Some(refused)) if problem.kind() == Kind::NotFound => Err(refused),
        (Err(problem), _) => Err(problem),
    }
}

fn replay(view: Arc<View>, request: &JobRequest) -> Result<(Arc<View>, bool), Problem> {
    if view.state.request == *request {
        return Ok((view, true));
    }
    let detail =
        "the Idempotency-Key was used for another request; use a new key for a new request";
    Err(Problem::new(Kind::IdempotencyMismatch, detail))
}

async fn accept(
    context: &Context,
    caller: &Caller,
    job_id: JobId,
    request: JobRequest,
    request_id: Option<&RequestId>,
) -> Result<Arc<View>, Problem> {
    let tenant = caller.tenant().cloned();
    let client = context.temporal.client()?;
    let admission = context.limits.open_jobs.admit(client, tenant.as_ref());
    let admission = admission.await?;
    let mut state = JobState::new(job_id, tenant, request, timestamp(SystemTime::now()));
    state.key_id = caller.key_id().cloned();
    state.expire_after_seconds = state.expire_after_seconds.or(context.expire_after);
    let job_id = &state.job_id;
    start(context, state.clone(), Start::New, Run::First, request_id).await?;
    admission.commit();
    // The job of a key may have been looked up, and cached as absent, before it was started.
    context.views.invalidate(job_id).await;
    tracing::info!(%job_id, "job accepted");
    tracing::trace!(target: PROMPTS, %job_id, prompt = state.request.prompt.as_ref().map(Prompt::as_str), "prompt accepted");
    metrics::accepted();
    View::of(context, Snapshot::fresh(state))
        .await
        .map(Arc::new)
}
