//! Workflows of jobs in Temporal: handles, pending activities and histories.

use darkroom_client::types::job_id::JobId;
use darkroom_dev::Stack;
use darkroom_workflows::MediaGeneration;
use temporalio_client::{
    Client, WorkflowDescribeOptions, WorkflowFetchHistoryOptions, WorkflowHandle,
    WorkflowTerminateOptions,
};
use temporalio_common::protos::temporal::api::{
    history::v1::{HistoryEvent, history_event::Attributes},
    workflow::v1::PendingActivityInfo,
};

use super::harness::{bought, shared, until};

/// Handle of the workflow of a job.
pub(crate) type JobHandle = WorkflowHandle<Client, MediaGeneration>;

/// Handle of the latest run of a job.
pub(crate) async fn workflow_handle(stack: &Stack, job_id: &JobId) -> JobHandle {
    let client = stack.temporal.client().await.unwrap();
    client.get_workflow_handle::<MediaGeneration>(job_id.to_string())
}

/// Terminates the workflow of a job.
pub(crate) async fn terminate_workflow(stack: &Stack, job_id: &JobId) {
    let handle = workflow_handle(stack, job_id).await;
    handle
        .terminate(WorkflowTerminateOptions::default())
        .await
        .unwrap();
}

/// Activities of a job that have not ended.
pub(crate) async fn pending_activities(handle: &JobHandle) -> Vec<PendingActivityInfo> {
    let description = handle
        .describe(WorkflowDescribeOptions::default())
        .await
        .unwrap();
    description.raw().pending_activities.clone()
}

/// Waits until a job's prediction is bought and no activity is pending: the activity that submitted
/// it has stopped waiting for it, as it does for a prediction that takes longer.
pub(crate) async fn until_submitted(stack: &Stack, job_id: &JobId) {
    let handle = workflow_handle(stack, job_id).await;
    until("a job that waits at the provider", async || {
        let is_idle = pending_activities(&handle).await.is_empty();
        let is_bought = bought(stack.provider.as_ref(), job_id).len() == 1;
        (is_bought && is_idle).then_some(())
    })
    .await;
}

/// Workflow history of a job of the shared stack.
pub(crate) async fn history(job_id: &JobId) -> Vec<HistoryEvent> {
    history_of(shared(), job_id).await
}

/// Workflow history of a job.
pub(crate) async fn history_of(stack: &Stack, job_id: &JobId) -> Vec<HistoryEvent> {
    let handle = workflow_handle(stack, job_id).await;
    handle
        .fetch_history(WorkflowFetchHistoryOptions::default())
        .into_events()
        .await
        .unwrap()
}

/// True if an event schedules an activity with this name.
pub(crate) fn is_scheduled(event: &HistoryEvent, activity: &str) -> bool {
    match &event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => scheduled
            .activity_type
            .as_ref()
            .is_some_and(|kind| kind.name == activity),
        _ => false,
    }
}
