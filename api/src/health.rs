//! `/healthz`, `/readyz` and `/metrics`: for those who run it.

use std::sync::Arc;

use darkroom_types::resource::{Health, Readiness, ReadinessStatus};
use poem::{Request, Response, handler, http::StatusCode, web::Data};

use crate::{
    context::Context,
    json,
    problem::{Problem, problems},
};

problems!(Problems: NotFound);

/// Is it alive?
///
/// Whether the process answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "Operations",
    responses((status = 200, description = "It is.", body = Health)),
)]
#[handler]
pub(crate) fn get_health() -> Result<Response, Problem> {
    let status = "ok".to_owned();
    json::answer(StatusCode::OK, &Health { status })
}

/// What was counted?
///
/// For Prometheus: requests, reads of jobs and those for which Temporal was asked, jobs accepted, connections, followers. Not here
/// where it is told apart from callers, at `METRICS_LISTEN`.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "Operations",
    responses((status = 200, description = "What was counted.", body = String, content_type = "text/plain"), Problems),
)]
#[handler]
pub(crate) fn get_metrics(Data(context): Data<&Arc<Context>>) -> Result<Response, Problem> {
    if context.has_metrics_listener {
        return Err(Problem::not_found("page: metrics are at METRICS_LISTEN"));
    }
    Ok(Response::builder()
        .content_type("text/plain; charset=utf-8")
        .body(context.metrics.render()))
}

/// Is it ready?
///
/// Ready means that it can answer: that Temporal does, and has what jobs are found by. Without the store or workers jobs are
/// accepted and read, and wait. With `?full`, it is ready only if all of it is there.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "Operations",
    params(("full" = Option<String>, Query, nullable = false, description = "Ready only if store and workers are there as well.")),
    responses(
        (status = 200, description = "It is.", body = Readiness),
        (status = 503, description = "Something is missing.", body = Readiness),
    ),
)]
#[handler]
pub(crate) async fn get_readiness(
    Data(context): Data<&Arc<Context>>,
    request: &Request,
) -> Result<Response, Problem> {
    let readiness = context.readiness.read(context).await;
    let status = match readiness.status {
        ReadinessStatus::Ready => StatusCode::OK,
        ReadinessStatus::Degraded if !is_full(request) => StatusCode::OK,
        ReadinessStatus::Degraded | ReadinessStatus::NotReady => StatusCode::SERVICE_UNAVAILABLE,
    };
    json::answer(status, &Readiness::clone(&readiness))
}

fn is_full(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "full")
}
