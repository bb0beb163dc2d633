//! The runs of workflows, as Temporal knows them: whether one is open, which there are, and ending them.

use std::time::Duration;

use darkroom_workflows::failure::FailureType;
use temporalio_client::{
    Client, NamespacedClient,
    grpc::WorkflowService,
    tonic::{Code, IntoRequest, Request, Status},
};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::WorkflowExecutionStatus,
    workflow::v1::WorkflowExecutionInfo,
    workflowservice::v1::{
        DeleteWorkflowExecutionRequest, DescribeWorkflowExecutionRequest,
        ListWorkflowExecutionsRequest, RequestCancelWorkflowExecutionRequest,
    },
};

use crate::failure::Failure;

/// How long Temporal may take to answer one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many runs are listed at a time.
const PAGE: i32 = 500;

/// How the latest run of a workflow stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It is under way, or paused.
    Open,
    /// It has closed; this is its id.
    Closed(String),
    /// Temporal knows none.
    Unknown,
}

/// Asks how a workflow stands.
///
/// # Errors
/// If Temporal does not tell.
pub(crate) async fn standing(client: &Client, workflow_id: &str) -> Result<Standing, Failure> {
    let mut client = client.clone();
    let request = limited(DescribeWorkflowExecutionRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: workflow_id.to_owned(),
            run_id: String::new(),
        }),
    });
    let described = match WorkflowService::describe_workflow_execution(&mut client, request).await {
        Ok(described) => described.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(Standing::Unknown),
        Err(status) => return Err(away(&status)),
    };
    let info = described.workflow_execution_info.unwrap_or_default();
    Ok(if is_open(&info) {
        Standing::Open
    } else {
        Standing::Closed(info.execution.unwrap_or_default().run_id)
    })
}

/// The runs that a [list filter](https://docs.temporal.io/list-filter) finds from a place on, and the place after them.
///
/// # Errors
/// If Temporal does not tell.
pub(crate) async fn find(
    client: &Client,
    query: String,
    place: Vec<u8>,
) -> Result<(Vec<WorkflowExecutionInfo>, Option<Vec<u8>>), Failure> {
    let mut client = client.clone();
    let request = limited(ListWorkflowExecutionsRequest {
        namespace: client.namespace(),
        page_size: PAGE,
        next_page_token: place,
        query,
    });
    let listed = WorkflowService::list_workflow_executions(&mut client, request).await;
    let listed = listed.map_err(|status| away(&status))?.into_inner();
    let next = Some(listed.next_page_token).filter(|place| !place.is_empty());
    Ok((listed.executions, next))
}

/// Whether a run is under way, or paused.
pub(crate) fn is_open(run: &WorkflowExecutionInfo) -> bool {
    matches!(
        run.status(),
        WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused
    )
}

/// Asks a workflow to cancel itself. One that has been asked, or has closed, is as good.
///
/// # Errors
/// If Temporal does not take it.
pub(crate) async fn request_cancel(client: &Client, workflow_id: &str) -> Result<(), Failure> {
    let mut client = client.clone();
    let request = limited(RequestCancelWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(WorkflowExecution {
            workflow_id: workflow_id.to_owned(),
            run_id: String::new(),
        }),
        identity: client.identity(),
        reason: "the job is deleted".to_owned(),
        ..RequestCancelWorkflowExecutionRequest::default()
    });
    done(WorkflowService::request_cancel_workflow_execution(&mut client, request).await)
}

/// Deletes a run, which ends it if it is open. Temporal does so a moment later.
///
/// # Errors
/// If Temporal does not take it.
pub(crate) async fn delete(client: &Client, run: WorkflowExecution) -> Result<(), Failure> {
    let mut client = client.clone();
    let request = limited(DeleteWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(run),
    });
    done(WorkflowService::delete_workflow_execution(&mut client, request).await)
}

/// What is not there any more needs nothing done.
fn done<T>(answer: Result<T, Status>) -> Result<(), Failure> {
    match answer {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(away(&status)),
    }
}

fn limited<T>(request: T) -> Request<T> {
    let mut request = request.into_request();
    request.set_timeout(TIMEOUT);
    request
}

/// The failure that it is when Temporal does not answer.
fn away(status: &Status) -> Failure {
    let detail = format!("Temporal cannot be asked: {:?}", status.code());
    tracing::debug!(code = ?status.code(), reason = status.message(), "Temporal refused a call");
    Failure::new(FailureType::TemporalUnavailable, detail)
}
