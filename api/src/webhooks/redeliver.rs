//! `POST /v1/jobs/{id}/webhooks`: sends the webhook of a job again.

use std::sync::Arc;

use darkroom_types::{job_id::JobId, resource::WebhookDelivery};
use darkroom_workflows::{
    WORKFLOW_QUEUE, WebhookDelivery as Workflow, WebhookDeliveryInput, job::JobState,
    webhook_delivery::workflow_id, webhook_secret::WebhookSecret,
};
use poem::{
    Response, handler,
    http::StatusCode,
    web::{Data, Path},
};
use temporalio_client::{
    Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowSignalOptions,
    WorkflowStartOptions, errors::WorkflowInteractionError,
};

use super::delivery::{Handle, delivery, handle, pending};
use crate::{
    access::Caller,
    context::Context,
    jobs, json,
    problem::{Kind, Problem, problems},
    temporal,
};

problems!(Problems: NotFound, NotEnded, NoWebhook, StorageUnavailable);

/// Send the webhook of a job again
///
/// Makes an attempt now: the next one of a delivery that waits for its next attempt, or the first
/// of another delivery if it is over.
#[utoipa::path(
    post, path = "/v1/jobs/{job_id}/webhooks", operation_id = "redeliverWebhook", tag = "Webhooks",
    params(("job_id" = JobId, Path, description = "The job's id.")),
    responses((status = 202, description = "An attempt is under way.", body = WebhookDelivery), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn redeliver_webhook(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Result<Response, Problem> {
    let job = &jobs::find(context, &caller, &job_id).await?.state;
    if !job.status.is_terminal() {
        return Err(Problem::new(
            Kind::NotEnded,
            "the job has not ended; its webhook is sent when it does",
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
    let secret = context.webhook_secret.as_ref();
    let input = WebhookDeliveryInput {
        attempts,
        secret_id: secret.map(WebhookSecret::id),
        ..input
    };
    let begun = begin(client, job, input.clone()).await?;
    // A delivery that ends between the two calls is started again.
    if !begun && !signal_redeliver(&handle).await? {
        begin(client, job, input.clone()).await?;
    }
    json::answer(StatusCode::ACCEPTED, &pending(&input))
}

/// Starts a delivery; `false` if one is under way.
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
            .priority(jobs::priority(job.tenant.as_ref(), &job.request))
            .rpc_options(temporal::rpc_options())
            .build();
    temporal::started(client.start_workflow(Workflow::run, input, options).await)
}

/// Makes a delivery that waits attempt now, by a signal; `false` if it has ended.
async fn signal_redeliver(handle: &Handle) -> Result<bool, Problem> {
    let options = WorkflowSignalOptions::builder()
        .rpc_options(temporal::rpc_options())
        .build();
    match handle.signal(Workflow::redeliver, (), options).await {
        Ok(()) => Ok(true),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
        Err(error) => Err(temporal::interaction_problem(error)),
    }
}
