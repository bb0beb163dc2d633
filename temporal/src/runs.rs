//! Runs of workflows, as Temporal's visibility store and descriptions show them: list, count,
//! cancel and delete.

use std::time::{Duration, SystemTime};

use temporalio_client::{
    Client, NamespacedClient, WorkflowExecutionDescription,
    grpc::WorkflowService,
    tonic::{Code, Status},
};
use temporalio_common::{
    protos::temporal::api::{
        common::v1::WorkflowExecution,
        enums::v1::{PendingActivityState, WorkflowExecutionStatus},
        workflow::v1::{PendingActivityInfo, WorkflowExecutionInfo},
        workflowservice::v1::{
            CountWorkflowExecutionsRequest, DeleteWorkflowExecutionRequest,
            DescribeWorkflowExecutionRequest, ListWorkflowExecutionsRequest,
            RequestCancelWorkflowExecutionRequest,
        },
    },
    search_attributes::SearchAttributes,
};

use crate::{call::with_timeout, history::Encoded};

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout of a call to the visibility store.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Ids of one run of a workflow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunId {
    /// Id of the workflow.
    pub workflow_id: String,
    /// Id of the run.
    pub run_id: String,
}

/// One run of a workflow as the visibility store lists it.
pub struct Run {
    /// Ids of the run and its workflow.
    pub id: RunId,
    /// True if the run is open, paused or not.
    pub is_open: bool,
    /// Time at which the run started.
    pub started_at: Option<SystemTime>,
    /// Time at which the run closed.
    pub closed_at: Option<SystemTime>,
    /// Search attributes of the run.
    pub search_attributes: SearchAttributes,
}

impl Run {
    fn of(info: WorkflowExecutionInfo) -> Option<Self> {
        let status = info.status();
        let WorkflowExecution {
            workflow_id,
            run_id,
        } = info.execution?;
        let attributes = info.search_attributes.as_ref();
        Some(Self {
            id: RunId {
                workflow_id,
                run_id,
            },
            is_open: is_open(status),
            started_at: info.start_time.and_then(|time| time.try_into().ok()),
            closed_at: info.close_time.and_then(|time| time.try_into().ok()),
            search_attributes: attributes
                .map(SearchAttributes::from_proto)
                .unwrap_or_default(),
        })
    }
}

fn is_open(status: WorkflowExecutionStatus) -> bool {
    matches!(
        status,
        WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused
    )
}

/// A page of runs.
pub struct Page {
    /// The runs: open runs first, the newest first; then closed runs, the last closed first. This
    /// is the only order that every visibility store supports.
    pub runs: Vec<Run>,
    /// Token of the next page; empty on the last page.
    pub next_page_token: Vec<u8>,
}

/// Lists the runs that match a [list filter](https://docs.temporal.io/list-filter). The visibility
/// store is eventually consistent: it lags a moment behind the starts and ends of runs.
///
/// # Errors
/// If the call fails, or Temporal rejects the filter or the token.
pub async fn list(
    client: &Client,
    query: String,
    page_size: u16,
    next_page_token: Vec<u8>,
) -> Result<Page, Status> {
    let mut client = client.clone();
    let request = ListWorkflowExecutionsRequest {
        namespace: client.namespace(),
        page_size: page_size.into(),
        next_page_token,
        query,
    };
    let request = with_timeout(request, SEARCH_TIMEOUT);
    let listed = WorkflowService::list_workflow_executions(&mut client, request).await?;
    let listed = listed.into_inner();
    Ok(Page {
        runs: listed.executions.into_iter().filter_map(Run::of).collect(),
        next_page_token: listed.next_page_token,
    })
}

/// Counts the runs that match a list filter. Like the list, it returns the `Status` by which
/// callers decide, which the SDK's own method wraps.
///
/// # Errors
/// If the call fails, or Temporal rejects the filter.
pub async fn count(client: &Client, query: String) -> Result<u64, Status> {
    let mut client = client.clone();
    let request = CountWorkflowExecutionsRequest {
        namespace: client.namespace(),
        query,
    };
    let request = with_timeout(request, SEARCH_TIMEOUT);
    let counted = WorkflowService::count_workflow_executions(&mut client, request).await?;
    Ok(u64::try_from(counted.into_inner().count).unwrap_or_default())
}

/// State of a workflow's latest run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LatestRun {
    /// Open run, paused or not.
    Open,
    /// Closed run, by its run id.
    Closed(String),
    /// No run that Temporal knows.
    Unknown,
}

/// Returns the state of a workflow's latest run.
///
/// # Errors
/// If the call fails.
pub async fn latest(client: &Client, workflow_id: &str) -> Result<LatestRun, Status> {
    let mut client = client.clone();
    let request = DescribeWorkflowExecutionRequest {
        namespace: client.namespace(),
        execution: Some(execution(workflow_id)),
    };
    let request = with_timeout(request, TIMEOUT);
    let described = match WorkflowService::describe_workflow_execution(&mut client, request).await {
        Ok(described) => described.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(LatestRun::Unknown),
        Err(status) => return Err(status),
    };
    let info = described.workflow_execution_info.unwrap_or_default();
    Ok(if is_open(info.status()) {
        LatestRun::Open
    } else {
        LatestRun::Closed(info.execution.unwrap_or_default().run_id)
    })
}

/// Requests the cancellation of a workflow's latest run. Succeeds as well if cancellation was
/// requested before, or the run has closed.
///
/// # Errors
/// If the call fails.
pub async fn request_cancel(
    client: &Client,
    workflow_id: &str,
    reason: &str,
) -> Result<(), Status> {
    let mut client = client.clone();
    let request = RequestCancelWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(execution(workflow_id)),
        identity: client.identity(),
        reason: reason.to_owned(),
        ..RequestCancelWorkflowExecutionRequest::default()
    };
    let request = with_timeout(request, TIMEOUT);
    done(WorkflowService::request_cancel_workflow_execution(&mut client, request).await)
}

/// Deletes a run, and terminates it first if it is open. Temporal deletes it asynchronously.
///
/// # Errors
/// If the call fails.
pub async fn delete(client: &Client, run: RunId) -> Result<(), Status> {
    let mut client = client.clone();
    let request = DeleteWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(WorkflowExecution {
            workflow_id: run.workflow_id,
            run_id: run.run_id,
        }),
    };
    let request = with_timeout(request, TIMEOUT);
    done(WorkflowService::delete_workflow_execution(&mut client, request).await)
}

/// Succeeds if the run does not exist: there is nothing left to do.
fn done<T>(answer: Result<T, Status>) -> Result<(), Status> {
    match answer {
        Err(status) if status.code() != Code::NotFound => Err(status),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn execution(workflow_id: &str) -> WorkflowExecution {
    WorkflowExecution {
        workflow_id: workflow_id.to_owned(),
        run_id: String::new(),
    }
}

/// A pending activity of a run, from its description.
pub struct PendingActivity<'a>(&'a PendingActivityInfo);

impl PendingActivity<'_> {
    /// Returns true if a worker has started an attempt.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.0.state() != PendingActivityState::Scheduled
    }

    /// Details of the latest heartbeat, if there was one.
    #[must_use]
    pub fn heartbeat_details(&self) -> Option<Encoded> {
        self.0.heartbeat_details.clone().map(Encoded::from)
    }
}

/// Returns the pending activities of a type.
pub fn pending_activities<'a>(
    description: &'a WorkflowExecutionDescription,
    activity_type: &str,
) -> impl Iterator<Item = PendingActivity<'a>> {
    let pending = description.raw().pending_activities.iter();
    let is_of_type = move |activity: &&PendingActivityInfo| {
        let name = activity.activity_type.as_ref();
        name.is_some_and(|name| name.name == activity_type)
    };
    pending.filter(is_of_type).map(PendingActivity)
}
