//! `/healthz`, `/readyz` and `/metrics`, for operators and orchestrators.

use std::sync::Arc;

use darkroom_types::resource::{Health, Readiness, ReadinessStatus};
use poem::{Request, Response, handler, http::StatusCode, web::Data};

use crate::{
    context::Context,
    json,
    problem::{Problem, problems},
};

problems!(Problems: NotFound);

/// Check liveness
///
/// Returns `200` if the process can respond at all.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "Operations",
    responses((status = 200, description = "The process is alive.", body = Health)),
)]
#[handler]
pub(crate) fn get_health() -> Result<Response, Problem> {
    let status = "ok".to_owned();
    json::answer(StatusCode::OK, &Health { status })
}

/// Read metrics
///
/// For Prometheus: requests, reads of jobs and those that reached Temporal or the store, accepted
/// jobs, connections, followers. Returns `404` if the operator serves metrics apart from callers,
/// at `METRICS_LISTEN`.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "Operations",
    responses((status = 200, description = "The metrics, in the Prometheus text format.", body = String, content_type = "text/plain"), Problems),
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

/// Check readiness
///
/// The api is `ready` or `degraded` if Temporal answers and has the search attributes by which jobs
/// are found. While it is `degraded`, the store or workers are missing: jobs are accepted and read,
/// and wait. With `?full`, a `degraded` api returns `503` as well.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "Operations",
    params(("full" = Option<String>, Query, nullable = false, description = "Return `200` only if the store and workers are available as well.")),
    responses(
        (status = 200, description = "The api is ready.", body = Readiness),
        (status = 503, description = "Something is missing; `checks` says what.", body = Readiness),
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
