//! How the delivery of a webhook stands: from its workflow while it runs, from what it left when it has ended.

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

/// How a delivery stands; `None` if there is none, or Temporal has forgotten it.
pub(super) async fn delivery(handle: &Handle) -> Result<Option<WebhookDelivery>, Problem> {
    match handle
        .query(Workflow::delivery, (), temporal::query_options())
        .await
    {
        Ok(state) => Ok(Some(state)),
        Err(WorkflowQueryError::NotFound(_)) => Ok(None),
        Err(WorkflowQueryError::Rejected { .. }) => closed(handle).await,
        // No worker can be asked.
        Err(error) => {
            tracing::debug!(%error, "a delivery did not answer");
            unanswered(handle).await
        }
    }
}

/// What can be told of a delivery that does not answer: that it is there, and what it is to tell.
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

/// What a delivery recorded when it ended; nothing if it was begun anew just then.
async fn closed(handle: &Handle) -> Result<Option<WebhookDelivery>, Problem> {
    Ok(
        match temporal::ending(handle.get_result(temporal::result_options())).await? {
            Ending::Recorded(state) => Some(state),
            Ending::Unrecorded | Ending::Forgotten | Ending::Open => None,
        },
    )
}
