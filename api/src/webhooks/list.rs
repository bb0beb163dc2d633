//! `GET /v1/jobs/{id}/webhooks`: the webhook deliveries of a job.

use std::sync::Arc;

use darkroom_types::{
    job_id::JobId,
    resource::{WebhookDeliveries, WebhookDelivery},
};
use futures::{StreamExt, TryStreamExt, stream};
use poem::{
    Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::delivery::{delivery, handle};
use crate::{
    access::Caller,
    context::Context,
    jobs, json,
    problem::{Problem, problems},
};

/// Limit of deliveries that are listed: those of the latest ends of the job.
const MAX_LISTED: u32 = 10;

problems!(Problems: NotFound, StorageUnavailable);

/// List the webhooks of a job
///
/// Lists the delivery of each end of the job, up to the latest ten, with every attempt and its
/// outcome, for as long as Temporal keeps it.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}/webhooks", operation_id = "listWebhooks", tag = "Webhooks",
    params(("job_id" = JobId, Path, description = "The job's id.")),
    responses((status = 200, description = "The deliveries.", body = WebhookDeliveries), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn list_webhooks(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Result<Response, Problem> {
    let job = &jobs::find(context, &caller, &job_id).await?.state;
    let client = context.temporal.client()?;
    let ends = (0..=job.retry_count).rev().take(MAX_LISTED as usize);
    let read = stream::iter(ends).map(|retry_count| async move {
        delivery(&handle(client, &job.job_id, retry_count)).await
    });
    let deliveries: Vec<Option<WebhookDelivery>> = read.buffered(4).try_collect().await?;
    let deliveries = deliveries.into_iter().flatten().collect();
    json::answer(StatusCode::OK, &WebhookDeliveries { deliveries })
}
