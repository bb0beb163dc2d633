//! `/v1/jobs/{id}/webhooks`: what was told of a job, and telling it again.

use darkroom_workflows::{
    WORKFLOW_QUEUE, WebhookDelivery, WebhookDeliveryInput,
    job::{JobId, JobState},
    webhook_delivery::{DeliveryState, DeliveryStatus, workflow_id},
};
use futures::{StreamExt, TryStreamExt, stream};
use poem::{Response, http::StatusCode};
use serde::Serialize;
use temporalio_client::{
    Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy, WorkflowSignalOptions, WorkflowStartOptions,
    errors::{WorkflowInteractionError, WorkflowQueryError},
};

use crate::{
    Context, json,
    openapi::operation::{Content, Operation, Success},
    problem::{Kind, Problem},
    temporal::{self, Ending, history},
};

/// How many ends of a job are listed: the latest.
const MAX_LISTED: u32 = 10;

/// Listing what was told.
pub(super) struct Deliveries;

impl Operation for Deliveries {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 200,
        description: "What was told.",
        content: Content::Deliveries,
        headers: &[],
    }];
    const PROBLEMS: &'static [Kind] = &[Kind::NotFound, Kind::StorageUnavailable];
}

/// Telling it again.
pub(super) struct Redeliver;

impl Operation for Redeliver {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 202,
        description: "An attempt is made.",
        content: Content::Delivery,
        headers: &[],
    }];
    const PROBLEMS: &'static [Kind] = &[
        Kind::NotFound,
        Kind::NotEnded,
        Kind::NoWebhook,
        Kind::StorageUnavailable,
    ];
}

type Handle = WorkflowHandle<Client, WebhookDelivery>;

pub(super) async fn list(context: &Context, job: &JobState) -> Result<Response, Problem> {
    let client = context.temporal.client()?;
    let ends = (0..=job.retry_count).rev().take(MAX_LISTED as usize);
    let read = stream::iter(ends).map(|retry_count| async move {
        delivery(&handle(client, &job.job_id, retry_count)).await
    });
    let deliveries: Vec<Option<DeliveryState>> = read.buffered(4).try_collect().await?;
    let deliveries: Vec<DeliveryState> = deliveries.into_iter().flatten().collect();
    answer(
        StatusCode::OK,
        &serde_json::json!({ "deliveries": deliveries }),
    )
}

pub(super) async fn redeliver(context: &Context, job: &JobState) -> Result<Response, Problem> {
    if !job.status.is_terminal() {
        return Err(Problem::new(
            Kind::NotEnded,
            "the job has not ended; its end is told when it comes",
        ));
    }
    let nothing = || {
        let detail = "the job has no webhook_url, or its webhook_events do not name how it ended";
        Problem::new(Kind::NoWebhook, detail)
    };
    let input = WebhookDeliveryInput::of(job).ok_or_else(nothing)?;
    let client = context.temporal.client()?;
    let handle = handle(client, &job.job_id, job.retry_count);
    let attempts = delivery(&handle)
        .await?
        .map(|delivery| delivery.attempts)
        .unwrap_or_default();
    let input = WebhookDeliveryInput { attempts, ..input };
    let begun = begin(client, job, input.clone()).await?;
    // A delivery that ends between the two is begun anew.
    if !begun && !urge(&handle).await? {
        begin(client, job, input.clone()).await?;
    }
    answer(StatusCode::ACCEPTED, &pending(&input))
}

/// Starts a delivery; `false` if there is one under way.
async fn begin(
    client: &Client,
    job: &JobState,
    input: WebhookDeliveryInput,
) -> Result<bool, Problem> {
    let options =
        WorkflowStartOptions::new(WORKFLOW_QUEUE, workflow_id(&job.job_id, job.retry_count))
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
            .static_summary(format!("{} of {}, again", input.message.event, job.job_id))
            .rpc_options(temporal::rpc_options())
            .build();
    temporal::started(
        client
            .start_workflow(WebhookDelivery::run, input, options)
            .await,
    )
}

/// Has a delivery that waits make its next attempt now; `false` if it has ended.
async fn urge(handle: &Handle) -> Result<bool, Problem> {
    let options = WorkflowSignalOptions::builder()
        .rpc_options(temporal::rpc_options())
        .build();
    match handle.signal(WebhookDelivery::redeliver, (), options).await {
        Ok(()) => Ok(true),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
        Err(error) => Err(temporal::interaction_problem(error)),
    }
}

fn handle(client: &Client, job_id: &JobId, retry_count: u32) -> Handle {
    client.get_workflow_handle(workflow_id(job_id, retry_count))
}

/// How a delivery stands; `None` if there is none, or Temporal has forgotten it.
async fn delivery(handle: &Handle) -> Result<Option<DeliveryState>, Problem> {
    match handle
        .query(WebhookDelivery::delivery, (), temporal::query_options())
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
async fn unanswered(handle: &Handle) -> Result<Option<DeliveryState>, Problem> {
    match handle.describe(temporal::describe_options()).await {
        Ok(description) if description.status() == WorkflowExecutionStatus::Running => {}
        Ok(_) => return closed(handle).await,
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(temporal::interaction_problem(error)),
    }
    let input: WebhookDeliveryInput =
        history::input(handle.client(), &mut history::events(handle)).await?;
    Ok(Some(pending(&input)))
}

fn pending(input: &WebhookDeliveryInput) -> DeliveryState {
    DeliveryState {
        message_id: input.message.id.clone(),
        event: input.message.event,
        url: input.url.clone(),
        status: DeliveryStatus::Pending,
        attempts: input.attempts.clone(),
        next_attempt_at: None,
    }
}

/// What a delivery recorded when it ended; nothing if it was begun anew just then.
async fn closed(handle: &Handle) -> Result<Option<DeliveryState>, Problem> {
    Ok(
        match temporal::ending(handle.get_result(temporal::result_options())).await? {
            Ending::Recorded(state) => Some(state),
            Ending::Unrecorded | Ending::Forgotten | Ending::Open => None,
        },
    )
}

fn answer(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    Ok(Response::builder()
        .status(status)
        .content_type("application/json")
        .body(json::write(body)?))
}
