//! `POST /v1/jobs/{id}/cancel`: asks the workflow to stop. What came of it shows in the job, soon.

use std::sync::Arc;

use darkroom_workflows::{MediaGeneration, job::JobStatus};
use poem::{Response, http::StatusCode};
use temporalio_client::{WorkflowCancelOptions, errors::WorkflowInteractionError};

use super::{answer::describe, find_current};
use crate::{
    Context,
    access::Caller,
    openapi::operation::{self, Content, Operation, Success},
    problem::{Kind, Problem},
    temporal,
};

/// Canceling a job.
pub(super) struct Cancel;

impl Operation for Cancel {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 202,
        description: "The job is asked to stop.",
        content: Content::Job,
        headers: &[operation::RETRY_AFTER, operation::ETAG],
    }];
    const PROBLEMS: &'static [Kind] =
        &[Kind::NotFound, Kind::AlreadyEnded, Kind::StorageUnavailable];
}

pub(super) async fn cancel(
    context: &Arc<Context>,
    caller: &Caller,
    job_id: &str,
) -> Result<Response, Problem> {
    // Temporal takes a second request to cancel for a success, even of a workflow that has closed.
    let view = find_current(context, caller, job_id).await?;
    if view.has_ended() {
        return Err(already_ended(view.state.status));
    }
    let job_id = &view.state.job_id;
    let handle = context
        .temporal
        .client()?
        .get_workflow_handle::<MediaGeneration>(job_id.as_str());
    let options = WorkflowCancelOptions::builder()
        .reason("requested over HTTP")
        .rpc_options(temporal::rpc_options())
        .build();
    match handle.cancel(options).await {
        Ok(()) => {}
        // It has closed since.
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
