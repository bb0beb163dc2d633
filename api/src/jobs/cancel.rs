//! `POST /v1/jobs/{id}/cancel`: requests cancellation of the workflow.

use std::sync::Arc;

use darkroom_types::{job_id::JobId, resource::Job, status::JobStatus};
use darkroom_workflows::MediaGeneration;
use poem::{
    Response, handler,
    http::StatusCode,
    web::{Data, Path},
};
use temporalio_client::{WorkflowCancelOptions, errors::WorkflowInteractionError};

use super::{answer::describe, find_current};
use crate::{
    access::Caller,
    context::Context,
    problem::{Kind, Problem, problems},
    temporal,
};

problems!(Problems: NotFound, AlreadyEnded, StorageUnavailable);

/// Cancel a job
///
/// Requests cancellation. The job shows the outcome soon after. Outputs that are stored by then are
/// kept.
#[utoipa::path(
    post, path = "/v1/jobs/{job_id}/cancel", operation_id = "cancelJob", tag = "Jobs",
    params(("job_id" = JobId, Path, description = "The job's id.")),
    responses(
        (status = 202, description = "Cancellation is requested.", body = Job, headers(("Retry-After"), ("ETag"))),
        Problems,
    ),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn cancel_job(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Result<Response, Problem> {
    // Temporal accepts another cancellation request, even for a workflow that has closed.
    let view = find_current(context, &caller, &job_id).await?;
    if view.has_ended() {
        return Err(already_ended(view.state.status));
    }
    let job_id = &view.state.job_id;
    let handle = context
        .temporal
        .client()?
        .get_workflow_handle::<MediaGeneration>(job_id.to_string());
    let options = WorkflowCancelOptions::builder()
        .reason("requested over HTTP")
        .rpc_options(temporal::rpc_options())
        .build();
    match handle.cancel(options).await {
        Ok(()) => {}
        // The workflow has closed since.
        Err(WorkflowInteractionError::NotFound(_)) => {
            return Err(already_ended(
                context.views.current(context, job_id).await?.state.status,
            ));
        }
        Err(error) => return Err(temporal::interaction_problem(error)),
    }
    tracing::info!(%job_id, "cancellation requested");
    let view = context.views.current(context, job_id).await?;
    Ok(describe(&view, StatusCode::ACCEPTED).body(view.body.clone()))
}

fn already_ended(status: JobStatus) -> Problem {
    Problem::new(
        Kind::AlreadyEnded,
        format!("the job has ended already: it is {status}"),
    )
}
