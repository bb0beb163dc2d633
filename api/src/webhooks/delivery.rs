//! Reads of the state of a webhook delivery: by a query while its workflow runs, from its result
//! after it has closed.

use darkroom_types::resource::{DeliveryStatus, WebhookDelivery};
use darkroom_workflows::{
    WebhookDelivery as Workflow, WebhookDeliveryInput, job::JobId, webhook_delivery::workflow_id,
};
use temporalio_client::{
    Client, WorkflowExecutionStatus, WorkflowHandle,
    errors::{WorkflowInteractionError, WorkflowQueryError},
};

use crate::{
    problem::Problem,
    temporal::{self, Ending},
};

pub(super) type Handle = WorkflowHandle<Client, Workflow>;

pub(super) fn handle(client: &Client, job_id: &JobId, retry_count: u32) -> Handle {
    client.get_workflow_handle(workflow_id(job_id, retry_count))
}

/// Returns the state of a delivery; `None` if there is none, or it is beyond Temporal's retention.
pub(super) async fn delivery(handle: &Handle) -> Result<Option<WebhookDelivery>, Problem> {
    match handle
        .query(Workflow::delivery, (), temporal::query_options())
        .await
    {
        Ok(state) => Ok(Some(state)),
        Err(WorkflowQueryError::NotFound(_)) => Ok(None),
        Err(WorkflowQueryError::Rejected { .. }) => closed(handle).await,
        // No worker answers queries.
        Err(error) => {
            tracing::debug!(%error, "a webhook delivery did not answer a query");
            unanswered(handle).await
        }
    }
}

/// Returns what is known of a delivery that does not answer: that it is under way, and its message.
async fn unanswered(handle: &Handle) -> Result<Option<WebhookDelivery>, Problem> {
    match handle.describe(temporal::describe_options()).await {
        Ok(description) if description.status() == WorkflowExecutionStatus::Running => {}
        Ok(_) => return closed(handle).await,
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(temporal::interaction_problem(error)),
    }
    let input: Result<WebhookDeliveryInput, _> = temporal::history(handle).input().await;
    Ok(Some(pending(&input.map_err(temporal::history_problem)?)))
}

pub(super) fn pending(input: &WebhookDeliveryInput) -> WebhookDelivery {
    WebhookDelivery {
        message_id: input.message.id.clone(),
        event: input.message.event,
        url: input.url.clone(),
        status: DeliveryStatus::Pending,
        attempts: input.attempts.clone(),
        next_attempt_at: None,
    }
}

/// Returns what a delivery recorded when it ended; `None` if it was started again just then.
async fn closed(handle: &Handle) -> Result<Option<WebhookDelivery>, Problem> {
    Ok(
        match temporal::ending(handle.get_result(temporal::result_options())).await? {
            Ending::Recorded(state) => Some(state),
            Ending::Terminated | Ending::Unknown | Ending::Open => None,
        },
    )
}
