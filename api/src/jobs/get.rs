//! `GET /v1/jobs/{id}`: a job as it is or, with `Prefer: wait`, once it has changed.

use std::sync::Arc;

use darkroom_types::{job_id::JobId, resource::Job};
use poem::{
    Request, Response, handler,
    http::{StatusCode, header},
    web::{
        Data, Path,
        headers::{HeaderMapExt, IfNoneMatch},
    },
};

use super::{
    answer::{applied, describe, is_known},
    find, find_watched,
    view::View,
};
use crate::{
    access::Caller,
    context::Context,
    prefer::Wait,
    problem::{Problem, problems},
    watch,
};

problems!(Problems: NotFound, TooManyFollowers, StorageUnavailable);

/// Read a job
///
/// Answers even if no worker is available: a state that no worker could confirm is marked
/// `"stale": true`.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}", operation_id = "getJob", tag = "Jobs",
    params(
        ("job_id" = JobId, Path, description = "The job's id."),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The `ETag` of the job as you know it; returns `304` while it is the same."),
        ("Prefer" = Option<String>, Header, nullable = false, description = "`wait=n` waits up to `n` seconds, at most 60, for the job to change; `wait` alone waits 60."),
    ),
    responses(
        (status = 200, description = "The job.", body = Job, headers(("ETag"), ("Retry-After"), ("Preference-Applied"))),
        (status = 304, description = "The job has not changed.", headers(("ETag"), ("Preference-Applied"))),
        Problems,
    ),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn get_job(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
    request: &Request,
) -> Result<Response, Problem> {
    let wait = Wait::of(request);
    let known = request.headers().typed_get::<IfNoneMatch>();
    let known = known.as_ref();
    // A caller that waits again has the latest state already, and a thousand of them may do so at
    // once: the watch answers without a read.
    let watched = wait.and_then(|_| find_watched(context, &caller, &job_id));
    let view = match watched.filter(|view| is_known(known, view)) {
        Some(view) => view,
        None => find(context, &caller, &job_id).await?,
    };
    let view = match wait {
        Some(wait) if !view.has_ended() => {
            let etag = view.etag.clone();
            let is_news =
                |view: &View| !is_known(known, view) && (known.is_some() || view.etag != etag);
            watch::until(context, &caller, view, wait, is_news).await?
        }
        _ => view,
    };
    if is_known(known, &view) {
        let response = Response::builder()
            .status(StatusCode::NOT_MODIFIED)
            .header(header::ETAG, &view.etag);
        return Ok(applied(response, wait).finish());
    }
    Ok(applied(describe(&view, StatusCode::OK), wait).body(view.body.clone()))
}
