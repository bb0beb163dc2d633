//! Readiness of an api process: it is ready if it can answer callers.

use std::{collections::HashMap, time::Duration};

use darkroom_dev::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};
use temporalio_client::{
    NamespacedClient,
    grpc::{OperatorService, WorkflowService},
    tonic::IntoRequest,
};
use temporalio_common::protos::temporal::api::{
    enums::v1::IndexedValueType,
    operatorservice::v1::AddSearchAttributesRequest,
    workflowservice::v1::{ListWorkersRequest, RegisterNamespaceRequest},
};
use tokio::process::Command;

use crate::support::{
    api::Api,
    harness::{BINARY, job, options, shared, start, until},
};

async fn ready(api: &Api, query: &str) -> Option<(StatusCode, Value)> {
    let url = format!("{}/readyz{query}", api.url);
    let answer = api.http.get(url).send().await.ok()?;
    Some((answer.status(), answer.json().await.unwrap()))
}

/// Number of workers of which Temporal has received two heartbeats. From then on it knows their
/// interval; it takes longer to miss a worker that dies earlier.
async fn workers_with_two_heartbeats(stack: &Stack) -> usize {
    let mut client = stack.temporal.client().await.unwrap();
    let request = ListWorkersRequest {
        namespace: client.namespace(),
        page_size: 100,
        ..ListWorkersRequest::default()
    };
    let listed = WorkflowService::list_workers(&mut client, request.into_request()).await;
    #[expect(
        deprecated,
        reason = "what replaces it lacks the time of the last heartbeat"
    )]
    let workers = listed.unwrap().into_inner().workers_info.into_iter();
    let heartbeats = workers.filter_map(|worker| worker.worker_heartbeat);
    heartbeats
        .filter(|heartbeat| heartbeat.elapsed_since_last_heartbeat.is_some())
        .count()
}

/// Images have no other HTTP client for their health checks.
#[tokio::test]
async fn the_binary_probes_an_api() {
    let api = Api::of(shared());
    let probe = async |path: &str| {
        let mut command = Command::new(BINARY);
        let url = format!("{}{path}", api.url);
        command.args(["probe", &url]).env_clear().output().await
    };
    let ready = probe("/readyz").await.unwrap();
    assert!(ready.status.success(), "{ready:?}");
    let absent = probe("/nothing").await.unwrap();
    assert_eq!(absent.status.code(), Some(1), "{absent:?}");
    let message = String::from_utf8(absent.stderr).unwrap();
    assert!(
        message.lines().count() == 1 && message.contains("404"),
        "{message}"
    );
}

#[tokio::test]
async fn without_workers_the_api_is_degraded_and_names_their_queues() {
    let stack = start(&options("ready")).await;
    let api = Api::of(&stack);
    let (status, body) = ready(&api, "?full").await.unwrap();
    assert_eq!(
        (status, &body["status"]),
        (StatusCode::OK, &json!("ready")),
        "{body:#}"
    );

    until("workers whose heartbeats are known", async || {
        (workers_with_two_heartbeats(&stack).await >= 2).then_some(())
    })
    .await;
    stack.worker.kill();
    let body = until("a worker that is missed", async || {
        let (status, body) = ready(&api, "").await?;
        assert_eq!(status, StatusCode::OK, "{body:#}");
        (body["status"] == "degraded" && body["checks"]["worker_persist"] != "ok").then_some(body)
    })
    .await;
    assert_eq!(
        body["checks"],
        json!({
            "temporal": "ok",
            "storage": "ok",
            "worker_generate": "no worker serves media-generation",
            "worker_persist": "no worker serves media-persist",
        })
    );
    let (status, _) = ready(&api, "?full").await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let metrics = api.metrics().await;
    for line in [
        "darkroom_ready_check{check=\"temporal\"} 1",
        "darkroom_ready_check{check=\"worker_persist\"} 0",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line}");
    }
    let accepted = api.post(&job(1, json!({}))).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
}

/// Sets up a Temporal server step by step, as an operator does: first the namespace is missing,
/// then the search attributes.
#[tokio::test]
async fn readiness_names_what_temporal_lacks_with_its_remedy() {
    let stack = shared();
    let namespace = "unfinished";
    let variables = [("TEMPORAL_NAMESPACE", namespace.to_owned())];
    let (_process, address) = stack.spawn_api(&variables).await.unwrap();
    let api = Api::of(stack).at(address);
    let until_missing = async |what: &str| {
        until(what, async || {
            let (status, body) = ready(&api, "").await?;
            let check = body["checks"]["temporal"].as_str()?;
            let is_named = check.contains(what) && check.contains("temporal operator ");
            (status == StatusCode::SERVICE_UNAVAILABLE && is_named).then_some(())
        })
        .await;
        let refused = api.post(&job(1, json!({}))).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{what}");
    };
    until_missing("the namespace unfinished is missing").await;
    let unknown = "/v1/jobs/01a209ea-1ee1-7280-bf3d-b03044971ad4";
    let read = api.get_path(unknown).await;
    assert_eq!(
        read.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "whether it exists is unknown"
    );

    let mut client = stack.temporal.client().await.unwrap();
    let retention = Duration::from_hours(24).try_into().unwrap();
    let register = RegisterNamespaceRequest {
        namespace: namespace.to_owned(),
        workflow_execution_retention_period: Some(retention),
        ..RegisterNamespaceRequest::default()
    };
    WorkflowService::register_namespace(&mut client, register.into_request())
        .await
        .unwrap();
    until_missing("the search attribute JobStatus is missing").await;

    let keyword = i32::from(IndexedValueType::Keyword);
    let names = ["JobStatus", "Model", "Tenant"];
    let add = AddSearchAttributesRequest {
        namespace: namespace.to_owned(),
        search_attributes: HashMap::from(names.map(|name| (name.to_owned(), keyword))),
    };
    OperatorService::add_search_attributes(&mut client, add.into_request())
        .await
        .unwrap();
    until("an api that is ready", async || {
        let (status, body) = ready(&api, "").await?;
        (status == StatusCode::OK && body["checks"]["temporal"] == "ok").then_some(())
    })
    .await;
}
