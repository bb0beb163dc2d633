//! `POST /v1/jobs`: accepts a request by starting its workflow. The start is the only write: there is no other database.

use std::{sync::Arc, time::SystemTime};

use darkroom_workflows::{
    GENERATE_QUEUE, MediaGeneration, MediaGenerationInput,
    job::{JobId, JobState, JobStatus, timestamp},
    request::JobRequest,
    search_attributes::{JOB_STATUS, MODEL},
};
use poem::{Response, handler, http::StatusCode, web::Data};
use temporalio_client::{
    WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions, errors::WorkflowStartError,
};
use temporalio_common::search_attributes::SearchAttributes;
use uuid::Uuid;

use super::{read::Snapshot, resource::JobResource};
use crate::{
    Context,
    json::Json,
    problem::{Kind, Problem},
    temporal,
};

#[handler]
pub(super) async fn create(
    Data(context): Data<&Arc<Context>>,
    Json(request): Json<JobRequest>,
) -> Result<Response, Problem> {
    let job_id = new_id()?;
    let input = MediaGenerationInput { job_id: job_id.clone(), request: request.clone(), retry: None };
    start(context, input, WorkflowIdReusePolicy::RejectDuplicate).await?;
    tracing::info!(%job_id, "job accepted");
    let state = JobState::accepted(job_id, request, timestamp(SystemTime::now()));
    let resource = JobResource::of(context, Snapshot::fresh(state)).await?;
    Ok(Response::builder()
        .status(StatusCode::ACCEPTED)
        .content_type("application/json")
        .header("Location", format!("/v1/jobs/{}", resource.job_id()))
        .header("Retry-After", 1)
        .body(resource.to_json()?))
}

/// Ids that sort by the time at which they were made.
fn new_id() -> Result<JobId, Problem> {
    Uuid::now_v7().hyphenated().to_string().parse().map_err(|_| Problem::internal())
}

/// Starts the workflow of a job.
pub(super) async fn start(
    context: &Context,
    input: MediaGenerationInput,
    reuse: WorkflowIdReusePolicy,
) -> Result<(), Problem> {
    let MediaGenerationInput { job_id, request, .. } = &input;
    let job_id = job_id.clone();
    let attributes = SearchAttributes::new([
        JOB_STATUS.value_set(JobStatus::Processing.to_string()),
        MODEL.value_set(request.model.to_string()),
    ]);
    let options = WorkflowStartOptions::new(GENERATE_QUEUE, job_id.as_str())
        .id_reuse_policy(reuse)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .search_attributes(attributes)
        .static_summary(format!("{} · {}", request.model, request.prompt.excerpt(60)))
        .rpc_options(temporal::rpc_options())
        .build();
    match context.temporal.client()?.start_workflow(MediaGeneration::run, input, options).await {
        Ok(_) => Ok(()),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {
            Err(Problem::new(Kind::NotEnded, "the job is under way already"))
        }
        Err(WorkflowStartError::Rpc(status)) => Err(temporal::problem(&status)),
        Err(error) => {
            tracing::error!(%job_id, %error, "cannot start a workflow");
            Err(Problem::internal())
        }
    }
}
