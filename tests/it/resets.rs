//! Resets and pauses of workflows and activities by an operator of Temporal: nothing is paid for
//! again.

use std::time::Duration;

use darkroom_client::types::{
    failure::FailureType,
    job_id::JobId,
    provider::CancelOutcome,
    resource::Job,
    status::{JobStatus, MediaStatus},
};
use darkroom_dev::Stack;
use jiff::Timestamp;
use serde_json::json;
use temporalio_client::{
    Client, NamespacedClient, WorkflowGetResultOptions,
    grpc::WorkflowService,
    tonic::{IntoRequest, Status},
};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::EventType,
    history::v1::{HistoryEvent, history_event::Attributes},
    workflowservice::v1::{
        PauseActivityRequest, ResetActivityRequest, ResetWorkflowExecutionRequest,
        pause_activity_request, reset_activity_request,
    },
};

use crate::support::{
    api::Api,
    harness::{
        bought, bought_one, cancel_outcome, change_script, count, endless, failure_type, job,
        options_with, prediction_id, setting, shared, start, until,
    },
    workflows::{history, history_of, is_scheduled, until_submitted, workflow_handle},
};

#[tokio::test]
async fn a_reset_to_before_the_persists_pays_nothing() {
    let api = Api::of(shared());
    // The second one is resumed by the provider's webhook, so the reset finds its `generate`
    // unfinished.
    for dev in [json!({}), json!({"latency_ms": 4000})] {
        reset_before_persists(&api, &api.run(&job(3, dev)).await).await;
    }
}

/// Resets jobs whose sources have expired, one of them past its deadline as well. The stored
/// outputs still exist.
#[tokio::test]
async fn a_completed_job_that_is_reset_too_late_stays_completed() {
    let api = Api::of(shared());
    let mut past_deadline = job(2, json!({"webhooks": 0}));
    let deadline = Duration::from_secs(20);
    past_deadline["deadline_seconds"] = deadline.as_secs().into();
    let expired = job(2, json!({"webhooks": 0}));
    for request in [past_deadline, expired] {
        let completed = api.run(&request).await;
        assert_eq!(completed.status, JobStatus::Completed, "{completed:#?}");
        let id = &completed.job_id;
        change_script(shared().provider.as_ref(), id, &json!({"retention_ms": 0}));
        let is_over = |now: Timestamp| now > completed.created_at + deadline;
        until("the end of the time", async || {
            is_over(Timestamp::now()).then_some(())
        })
        .await;
        let events = history(id).await;
        for task in [task_before_persists(&events), first_task(&events).unwrap()] {
            reset(shared(), id, task).await;
            let handle = workflow_handle(shared(), id).await;
            let job = handle.get_result(WorkflowGetResultOptions::default()).await;
            let job = serde_json::to_value(job.unwrap()).unwrap();
            assert_eq!(job["status"], "completed", "{job:#}");
            for index in 0..2 {
                let before = json!(completed.media[index].sha256);
                assert_eq!(job["media"][index]["sha256"], before);
            }
            assert_eq!(bought(shared().provider.as_ref(), id).len(), 1);
        }
    }
}

/// Resets once while the attempt that submits is under way, and once after it has ended. The run
/// before the reset holds the record of the submission.
#[tokio::test]
async fn a_job_that_is_reset_to_its_beginning_is_not_paid_again() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    bought_one(shared().provider.as_ref(), &id).await;
    reset_to_the_beginning(&api, &id).await;

    let id = api.accepted(&endless()).await;
    until_submitted(shared(), &id).await;
    reset_to_the_beginning(&api, &id).await;
}

/// Resets while the provider has not answered yet. The record of the run before says that a
/// submission is under way.
#[tokio::test]
async fn a_job_that_is_reset_while_the_provider_answers_is_not_paid_again() {
    let api = Api::of(shared());
    let dev = json!({"latency_ms": 3_600_000, "answer_delay_ms": 20_000});
    let id = api.accepted(&job(1, dev)).await;
    bought_one(shared().provider.as_ref(), &id).await;
    reset_to_the_beginning(&api, &id).await;
}

/// Resets to each workflow task of a job that waits at the provider. `DARKROOM_RESET_AFTER` sets
/// how many seconds it has waited.
#[tokio::test]
async fn a_job_that_is_reset_to_any_of_its_tasks_is_not_paid_again() {
    let wait = setting("DARKROOM_RESET_AFTER", 0);
    let api = Api::of(shared());
    // At least the first task, and the one that learns of the purchase.
    let tasks = async |id: &JobId| {
        until("a job that knows its purchase", async || {
            let completed: Vec<_> = history(id)
                .await
                .into_iter()
                .filter(|event| event.event_type() == EventType::WorkflowTaskCompleted)
                .map(|event| event.event_id)
                .collect();
            (completed.len() > 1).then_some(completed)
        })
        .await
    };
    let first = api.accepted(&endless()).await;
    until_submitted(shared(), &first).await;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    let count = tasks(&first).await.len();
    let mut ids = vec![first];
    for _ in 1..count {
        ids.push(api.accepted(&endless()).await);
    }
    for (number, id) in ids.iter().enumerate() {
        until_submitted(shared(), id).await;
        // One may have a task fewer than the first job, if one task handled two events.
        let tasks = tasks(id).await;
        let task = tasks.get(number).or(tasks.last()).unwrap();
        reset(shared(), id, *task).await;
        until_found_again(&api, id).await;
    }
}

/// Resets before anything was bought. The job knows that at once and need not search.
#[tokio::test]
async fn a_job_that_is_reset_in_the_queue_is_bought_once() {
    let variables = [("REPLICATE_CREATES_PER_MINUTE", "6")];
    let stack = start(&options_with("reset-in-queue", &variables)).await;
    let api = Api::of(&stack);
    let ids = [
        api.accepted(&job(1, json!({}))).await,
        api.accepted(&job(1, json!({}))).await,
    ];
    bought_one(stack.provider.as_ref(), &ids[0]).await;
    let task = until("a first workflow task", async || {
        first_task(&history_of(&stack, &ids[1]).await)
    });
    reset(&stack, &ids[1], task.await).await;
    for id in &ids {
        let job = api.ended_within(id, Duration::from_mins(1)).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
        assert_eq!(bought(stack.provider.as_ref(), id).len(), 1);
    }
}

/// Resets a job that the provider refused. The run before the reset has no record of a purchase, so
/// the provider is searched for 45 s; then the job submits, and is refused again.
#[tokio::test]
async fn a_refused_job_that_is_reset_ends_again() {
    let api = Api::of(shared());
    let refused = api.run(&job(1, json!({"refuse": 422}))).await;
    let (id, ended_at) = (&refused.job_id, refused.completed_at.unwrap());
    until("an end that is some seconds ago", async || {
        (Timestamp::now() > ended_at + Duration::from_secs(3)).then_some(())
    })
    .await;
    let events = history(id).await;
    reset(shared(), id, first_task(&events).unwrap()).await;
    until("the next end", async || {
        let again = api.get(id).await;
        (again.status == JobStatus::Failed && again.completed_at > Some(ended_at)).then_some(again)
    })
    .await;
    let again = api.get(id).await;
    assert_eq!(
        failure_type(again.error.as_ref()),
        Some(FailureType::ProviderRejected),
        "{again:#?}"
    );
    assert_eq!(again.in_doubt_since, None, "{again:#?}");
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 0);
}

/// Resets a job to its first workflow task.
async fn reset_to_the_beginning(api: &Api, id: &JobId) {
    let events = history(id).await;
    reset(shared(), id, first_task(&events).unwrap()).await;
    until_found_again(api, id).await;
}

/// Waits until a job that was reset has found its prediction, then cancels the job.
async fn until_found_again(api: &Api, id: &JobId) {
    until("a job that has found its prediction again", async || {
        let events = history(id).await;
        let is_reset = |event: &HistoryEvent| match &event.attributes {
            Some(Attributes::WorkflowTaskFailedEventAttributes(failed)) => {
                !failed.base_run_id.is_empty()
            }
            _ => false,
        };
        let is_found = prediction_id(&api.get(id).await).is_some();
        (events.iter().any(is_reset) && is_found).then_some(())
    })
    .await;
    api.act(id, "cancel").await;
    let job = api.ended(id).await;
    assert_eq!(job.status, JobStatus::Canceled);
    assert_eq!(cancel_outcome(&job), Some(CancelOutcome::Canceled));
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 1);
}

/// Resets a workflow to one of its completed workflow tasks.
pub(crate) async fn reset(stack: &Stack, job_id: &JobId, task_id: i64) {
    let mut client: Client = stack.temporal.client().await.unwrap();
    let request = ResetWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(WorkflowExecution {
            workflow_id: job_id.to_string(),
            run_id: String::new(),
        }),
        reason: "test".to_owned(),
        workflow_task_finish_event_id: task_id,
        request_id: format!("{job_id}-{task_id}"),
        ..Default::default()
    };
    WorkflowService::reset_workflow_execution(&mut client, request.into_request())
        .await
        .unwrap();
}

/// The first completed workflow task; none if no worker has completed one yet.
pub(crate) fn first_task(events: &[HistoryEvent]) -> Option<i64> {
    let mut tasks = events
        .iter()
        .filter(|event| event.event_type() == EventType::WorkflowTaskCompleted);
    Some(tasks.next()?.event_id)
}

/// The completed workflow task that scheduled the `persist` activities.
pub(crate) fn task_before_persists(events: &[HistoryEvent]) -> i64 {
    let is_persist = |event: &HistoryEvent| is_scheduled(event, "persist");
    let persist = events.iter().position(is_persist);
    let before = events[..persist.unwrap()]
        .iter()
        .rfind(|event| event.event_type() == EventType::WorkflowTaskCompleted);
    before.unwrap().event_id
}

async fn reset_before_persists(api: &Api, job: &Job) {
    let id = &job.job_id;
    let events = history(id).await;
    reset(shared(), id, task_before_persists(&events)).await;
    let again = api.ended(id).await;
    assert_eq!(
        (again.status, count(&again, MediaStatus::Completed)),
        (JobStatus::Completed, 3),
        "{again:#?}"
    );
    for index in 0..3 {
        assert_eq!(again.media[index].sha256, job.media[index].sha256);
    }
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 1);
}

/// Resets a `generate` that is under way.
///
/// # Errors
/// If no `generate` is pending, as when it has just ended.
pub(crate) async fn reset_generate(
    stack: &Stack,
    job_id: &JobId,
    reset_heartbeat: bool,
) -> Result<(), Status> {
    let mut client: Client = stack.temporal.client().await.unwrap();
    let request = ResetActivityRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: job_id.to_string(),
            run_id: String::new(),
        }),
        activity: Some(reset_activity_request::Activity::Type(
            "generate".to_owned(),
        )),
        reset_heartbeat,
        ..Default::default()
    };
    WorkflowService::reset_activity(&mut client, request.into_request()).await?;
    Ok(())
}

#[tokio::test]
async fn a_generation_that_is_reset_is_neither_canceled_nor_paid_again() {
    let api = Api::of(shared());
    for reset_heartbeat in [false, true] {
        let id = api.accepted(&job(1, json!({"latency_ms": 5000}))).await;
        bought_one(shared().provider.as_ref(), &id).await;
        reset_generate(shared(), &id, reset_heartbeat)
            .await
            .unwrap();
        assert_eq!(api.ended(&id).await.status, JobStatus::Completed);
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

/// Pauses `generate` after the purchase. The attempt that bought is not canceled before it ends.
#[tokio::test]
async fn a_purchase_that_is_paused_is_made_once() {
    let api = Api::of(shared());
    let id = api.accepted(&job(1, json!({"latency_ms": 5000}))).await;
    bought_one(shared().provider.as_ref(), &id).await;
    let mut client: Client = shared().temporal.client().await.unwrap();
    let pause = PauseActivityRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: id.to_string(),
            run_id: String::new(),
        }),
        activity: Some(pause_activity_request::Activity::Type(
            "generate".to_owned(),
        )),
        ..Default::default()
    };
    WorkflowService::pause_activity(&mut client, pause.into_request())
        .await
        .unwrap();
    assert_eq!(api.ended(&id).await.status, JobStatus::Completed);
    let prediction = bought_one(shared().provider.as_ref(), &id).await;
    assert_eq!(
        (
            bought(shared().provider.as_ref(), &id).len(),
            prediction.cancel_calls
        ),
        (1, 0)
    );
}
