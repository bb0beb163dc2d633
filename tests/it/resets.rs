//! What is taken back in Temporal, by whoever operates it, is not paid for again.

use darkroom::dev::provider::control::Outage;
use darkroom_workflows::MediaGeneration;
use serde_json::{Value, json};
use temporalio_client::{Client, NamespacedClient, grpc::WorkflowService, tonic::IntoRequest};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::{EventType, PendingActivityState},
    history::v1::{HistoryEvent, history_event::Attributes},
    workflowservice::v1::{
        ResetActivityRequest, ResetWorkflowExecutionRequest, reset_activity_request,
    },
};

use crate::{
    harness::{Api, bought, bought_one, count, endless, job, options, shared, start, until},
    paid_once::history,
};

#[tokio::test]
async fn a_reset_to_before_the_persists_pays_nothing() {
    let api = Api::of(shared());
    // The second one goes on by the provider's report, and the reset finds its generate unfinished.
    for dev in [json!({}), json!({"latency_ms": 4000})] {
        reset_before_persists(&api, &api.run(&job(3, dev)).await).await;
    }
}

/// Before anybody could tell by the time that passed.
#[tokio::test]
async fn a_job_that_is_reset_at_once_is_not_paid_again() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    bought_one(shared().provider.as_ref(), &id).await;
    let first = history(&id).await;
    let task = first
        .iter()
        .find(|event| event.event_type() == EventType::WorkflowTaskCompleted)
        .unwrap();
    reset(&id, task).await;
    until("another attempt", async || {
        let started = |event: &HistoryEvent| event.event_type() == EventType::ActivityTaskScheduled;
        let events = history(&id).await;
        (events.len() > first.len() && events.last().is_some_and(started)).then_some(())
    })
    .await;
    api.act(&id, "cancel").await;
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["provider"]["cancel_outcome"]),
        (&json!("canceled"), &json!("canceled"))
    );
    assert_eq!(bought(shared().provider.as_ref(), &id).len(), 1);
}

/// Takes a workflow back to a task of its own.
async fn reset(job_id: &str, task: &HistoryEvent) {
    let mut client: Client = shared().temporal.client().await.unwrap();
    let request = ResetWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(WorkflowExecution {
            workflow_id: job_id.to_owned(),
            run_id: String::new(),
        }),
        reason: "test".to_owned(),
        workflow_task_finish_event_id: task.event_id,
        request_id: job_id.to_owned(),
        ..Default::default()
    };
    WorkflowService::reset_workflow_execution(&mut client, request.into_request())
        .await
        .unwrap();
}

async fn reset_before_persists(api: &Api, job: &Value) {
    let id = job["job_id"].as_str().unwrap();
    let events = history(id).await;
    let persist = events.iter().position(|event| match &event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => scheduled
            .activity_type
            .as_ref()
            .is_some_and(|kind| kind.name == "persist"),
        _ => false,
    });
    let before = events[..persist.unwrap()]
        .iter()
        .rfind(|event| event.event_type() == EventType::WorkflowTaskCompleted);
    reset(id, before.unwrap()).await;
    let again = api.ended(id).await;
    assert_eq!(
        (&again["status"], count(&again, "completed")),
        (&json!("completed"), 3),
        "{again:#}"
    );
    for index in 0..3 {
        assert_eq!(
            again["media"][index]["sha256"],
            job["media"][index]["sha256"]
        );
    }
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 1);
}

#[tokio::test]
async fn a_generation_that_is_reset_is_neither_canceled_nor_paid_again() {
    let api = Api::of(shared());
    for reset_heartbeat in [false, true] {
        let id = api.accepted(&job(1, json!({"latency_ms": 5000}))).await;
        bought_one(shared().provider.as_ref(), &id).await;
        let mut client: Client = shared().temporal.client().await.unwrap();
        let reset = ResetActivityRequest {
            namespace: client.namespace(),
            execution: Some(WorkflowExecution {
                workflow_id: id.clone(),
                run_id: String::new(),
            }),
            activity: Some(reset_activity_request::Activity::Type(
                "generate".to_owned(),
            )),
            reset_heartbeat,
            ..Default::default()
        };
        WorkflowService::reset_activity(&mut client, reset.into_request())
            .await
            .unwrap();
        assert_eq!(api.ended(&id).await["status"], "completed");
        assert_eq!(
            (
                bought(shared().provider.as_ref(), &id).len(),
                bought_one(shared().provider.as_ref(), &id)
                    .await
                    .cancel_calls
            ),
            (1, 0)
        );
    }
}

#[tokio::test]
async fn a_generation_that_is_reset_while_it_waits_is_not_paid_again() {
    let stack = start(&options("reset-in-backoff")).await;
    let api = Api::of(&stack);
    let id = api
        .accepted(&job(1, json!({"latency_ms": 13_000, "webhooks": 0})))
        .await;
    bought_one(stack.provider.as_ref(), &id).await;
    stack
        .provider
        .as_ref()
        .unwrap()
        .fail(Outage::new(500, 12, None));
    let mut client: Client = stack.temporal.client().await.unwrap();
    let handle = client.get_workflow_handle::<MediaGeneration>(&id);
    until("an attempt that waits for its turn", async || {
        let description = handle
            .describe(temporalio_client::WorkflowDescribeOptions::default())
            .await
            .unwrap();
        let mut pending = description.raw().pending_activities.iter();
        pending
            .any(|activity| {
                activity.state() == PendingActivityState::Scheduled && activity.attempt > 3
            })
            .then_some(())
    })
    .await;
    let reset = ResetActivityRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: id.clone(),
            run_id: String::new(),
        }),
        activity: Some(reset_activity_request::Activity::Type(
            "generate".to_owned(),
        )),
        reset_heartbeat: true,
        ..Default::default()
    };
    WorkflowService::reset_activity(&mut client, reset.into_request())
        .await
        .unwrap();
    assert_eq!(api.ended(&id).await["status"], "completed");
    assert_eq!(bought(stack.provider.as_ref(), &id).len(), 1);
}
