//! `POST /v1/jobs/{id}/cancel`: asks the workflow to stop. What came of it shows in the job, soon.

use std::sync::Arc;

use darkroom_workflows::{MediaGeneration, job::JobStatus};
use poem::{
    Response, handler,
    http::StatusCode,
    web::{Data, Path},
};
use temporalio_client::{WorkflowCancelOptions, errors::WorkflowInteractionError};

use super::{parse_id, read, resource::JobResource};
use crate::{
    Context,
    problem::{Kind, Problem},
    temporal,
};

#[handler]
pub(super) async fn cancel(
    Data(context): Data<&Arc<Context>>,
    Path(job_id): Path<String>,
) -> Result<Response, Problem> {
    let job_id = parse_id(&job_id)?;
    // Temporal takes a second request to cancel for a success, even of a workflow that has closed.
    let status = read::read(context, &job_id).await?.state.status;
    if status.is_terminal() {
        return Err(already_ended(status));
    }
    let handle = context.temporal.client()?.get_workflow_handle::<MediaGeneration>(job_id.as_str());
    let options =
        WorkflowCancelOptions::builder().reason("requested over HTTP").rpc_options(temporal::rpc_options()).build();
    match handle.cancel(options).await {
        Ok(()) => {}
        // It has closed since.
        Err(WorkflowInteractionError::NotFound(_)) => {
            return Err(already_ended(read::read(context, &job_id).await?.state.status));
        }
        Err(error) => return Err(read::interaction_problem(error)),
    }
    tracing::info!(%job_id, "cancellation requested");
    let resource = JobResource::of(context, read::read(context, &job_id).await?).await?;
    Ok(Response::builder()
        .status(StatusCode::ACCEPTED)
        .content_type("application/json")
        .header("Retry-After", 1)
        .body(resource.to_json()?))
}

fn already_ended(status: JobStatus) -> Problem {
    Problem::new(Kind::AlreadyEnded, format!("the job has ended already: it is {status}"))
}
