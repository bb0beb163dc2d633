//! Liveness and readiness. Live means that the process answers; ready means that Temporal and the store do too and that
//! workers were seen on both queues, which Temporal remembers for some minutes.

use std::{sync::Arc, time::Duration};

use darkroom_telemetry::listener;
use darkroom_types::resource::{Checks, Health, Readiness};
use darkroom_workflows::{PERSIST_QUEUE, WORKFLOW_QUEUE};
use futures::future::join4;
use moka::future::Cache;
use poem::{Response, handler, http::StatusCode, web::Data};
use temporalio_common::protos::temporal::api::enums::v1::TaskQueueType;

use crate::{
    context::Context,
    json,
    problem::Problem,
    temporal::queues::{self, Queue},
};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Is it alive?
///
/// Whether the process answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "Operations",
    responses((status = 200, description = "It is.", body = Health)),
)]
#[handler]
pub(crate) fn get_health() -> Result<Response, Problem> {
    json::answer(StatusCode::OK, &Health::OK)
}

/// What was counted?
///
/// For Prometheus: requests, reads of jobs and those for which Temporal was asked, jobs accepted, connections, followers.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "Operations",
    responses((status = 200, description = "What was counted.", body = String, content_type = "text/plain")),
)]
#[handler]
pub(crate) fn get_metrics(Data(context): Data<&Arc<Context>>) -> Response {
    Response::builder()
        .content_type("text/plain; charset=utf-8")
        .body(context.metrics.render())
}

/// Is it ready?
///
/// Whether Temporal and the store answer too, and workers were seen on both queues in the last minutes.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "Operations",
    responses(
        (status = 200, description = "It is.", body = Readiness),
        (status = 503, description = "Something is missing.", body = Readiness),
    ),
)]
#[handler]
pub(crate) async fn get_readiness(Data(context): Data<&Arc<Context>>) -> Result<Response, Problem> {
    let (ready, checks) = context.readiness.0.get_with((), look(context)).await;
    let (status, word) = if ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let body = Readiness {
        status: word.to_owned(),
        checks,
    };
    json::answer(status, &body)
}

/// How things stood when somebody asked last, for a moment: whoever asks often does not ask Temporal and the store as often.
pub(crate) struct ReadinessCache(Cache<(), (bool, Checks)>);

impl ReadinessCache {
    pub(crate) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(1)
                .time_to_live(Duration::from_millis(500))
                .build(),
        )
    }
}

/// The same for an orchestrator, in words.
pub(crate) fn readiness(context: &Arc<Context>) -> listener::Readiness {
    let context = Arc::clone(context);
    Arc::new(move || {
        let context = Arc::clone(&context);
        Box::pin(async move {
            let (ready, checks) = context.readiness.0.get_with((), look(&context)).await;
            let Checks {
                temporal,
                storage,
                worker_generate,
                worker_persist,
            } = checks;
            if ready {
                Ok(())
            } else {
                Err([temporal, storage, worker_generate, worker_persist].join(", "))
            }
        })
    })
}

async fn look(context: &Context) -> (bool, Checks) {
    // Of what is polled for on the first queue, only workflow tasks never take every place.
    let generate = worker(context, WORKFLOW_QUEUE, TaskQueueType::Workflow);
    let persist = worker(context, PERSIST_QUEUE, TaskQueueType::Activity);
    let checks = join4(temporal(context), storage(context), generate, persist);
    let (temporal, storage, generate, persist) = checks.await;
    let ready = [&temporal, &storage, &generate, &persist]
        .into_iter()
        .all(Result::is_ok);
    let say = |check: Result<(), String>| check.err().unwrap_or_else(|| "ok".to_owned());
    let checks = Checks {
        temporal: say(temporal),
        storage: say(storage),
        worker_generate: say(generate),
        worker_persist: say(persist),
    };
    (ready, checks)
}

async fn temporal(context: &Context) -> Result<(), String> {
    queue(context, WORKFLOW_QUEUE, TaskQueueType::Workflow)
        .await
        .map(|_| ())
}

async fn storage(context: &Context) -> Result<(), String> {
    match tokio::time::timeout(TIMEOUT, context.storage.check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store is not ready");
            Err("the bucket cannot be used".to_owned())
        }
        Err(_) => Err("the store does not answer".to_owned()),
    }
}

async fn worker(context: &Context, name: &str, kind: TaskQueueType) -> Result<(), String> {
    match queue(context, name, kind).await?.workers {
        0 => Err(format!("no worker polls {name}")),
        _ => Ok(()),
    }
}

async fn queue(context: &Context, name: &str, kind: TaskQueueType) -> Result<Queue, String> {
    let away = || "Temporal cannot be reached".to_owned();
    let client = context.temporal.client().map_err(|_| away())?;
    queues::describe(client, name, kind)
        .await
        .map_err(|_| away())
}
