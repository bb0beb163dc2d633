//! Liveness and readiness. Live means that the process answers; ready means that Temporal and the store do too and that
//! workers were seen on both queues, which Temporal remembers for some minutes.

use std::{sync::Arc, time::Duration};

use darkroom_workflows::{GENERATE_QUEUE, PERSIST_QUEUE};
use futures::future::join4;
use poem::{IntoResponse, Response, RouteMethod, get, handler, http::StatusCode, web::Data};
use serde_json::json;
use temporalio_client::{Client, NamespacedClient, grpc::WorkflowService, tonic::IntoRequest};
use temporalio_common::protos::temporal::api::{
    enums::v1::TaskQueueType, taskqueue::v1::TaskQueue, workflowservice::v1::DescribeTaskQueueRequest,
};

use crate::Context;

const TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) fn live() -> RouteMethod {
    get(healthz)
}

pub(crate) fn ready() -> RouteMethod {
    get(readyz)
}

#[handler]
fn healthz() -> Response {
    Response::builder().content_type("application/json").body(json!({"status": "ok"}).to_string())
}

#[handler]
async fn readyz(Data(context): Data<&Arc<Context>>) -> impl IntoResponse {
    let checks =
        join4(temporal(context), storage(context), worker(context, GENERATE_QUEUE), worker(context, PERSIST_QUEUE));
    let (temporal, storage, generate, persist) = checks.await;
    let ready = [&temporal, &storage, &generate, &persist].into_iter().all(Result::is_ok);
    let say = |check: Result<(), String>| check.err().unwrap_or_else(|| "ok".to_owned());
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "checks": {
            "temporal": say(temporal),
            "storage": say(storage),
            "worker_generate": say(generate),
            "worker_persist": say(persist),
        },
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Response::builder().status(status).content_type("application/json").body(body.to_string())
}

async fn temporal(context: &Context) -> Result<(), String> {
    pollers(context, GENERATE_QUEUE, TaskQueueType::Workflow).await.map(|_| ())
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

async fn worker(context: &Context, queue: &str) -> Result<(), String> {
    match pollers(context, queue, TaskQueueType::Activity).await? {
        0 => Err(format!("no worker polls {queue}")),
        _ => Ok(()),
    }
}

/// How many pollers Temporal has seen on a queue in the last minutes.
async fn pollers(context: &Context, queue: &str, kind: TaskQueueType) -> Result<usize, String> {
    let away = || "Temporal cannot be reached".to_owned();
    let mut client: Client = context.temporal.client().map_err(|_| away())?.clone();
    let mut request = DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(TaskQueue { name: queue.to_owned(), ..Default::default() }),
        task_queue_type: kind.into(),
        ..Default::default()
    }
    .into_request();
    request.set_timeout(TIMEOUT);
    let answer = WorkflowService::describe_task_queue(&mut client, request).await.map_err(|_| away())?;
    Ok(answer.into_inner().pollers.len())
}
