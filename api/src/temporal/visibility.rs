//! Looking jobs up in Temporal's visibility store: it knows what was accepted and what has ended, a moment later than the
//! workflows do.

use std::time::Duration;

use darkroom_workflows::tenant::Tenant;
use jiff::Timestamp;
use temporalio_client::{
    Client, NamespacedClient,
    grpc::WorkflowService,
    tonic::{Code, IntoRequest, Status},
};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::{
    workflow::v1::WorkflowExecutionInfo,
    workflowservice::v1::{
        CountWorkflowExecutionsRequest, DescribeWorkflowExecutionRequest,
        ListWorkflowExecutionsRequest,
    },
};

/// How long a search may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What jobs are looked up by. Each value was parsed, and is quoted all the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) tenant: Option<Tenant>,
    pub(crate) status: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) created_after: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
}

impl Filter {
    /// The filter in Temporal's [list filter](https://docs.temporal.io/list-filter) language.
    pub(crate) fn to_query(&self) -> String {
        let mut terms = vec![
            "WorkflowType = 'MediaGeneration'".to_owned(),
            tenant_is(self.tenant.as_ref()),
        ];
        terms.extend(
            self.status
                .as_ref()
                .map(|status| format!("JobStatus = {}", quoted(status))),
        );
        terms.extend(
            self.model
                .as_ref()
                .map(|model| format!("Model = {}", quoted(model))),
        );
        terms.extend(
            self.created_after
                .map(|time| format!("StartTime >= '{time}'")),
        );
        terms.extend(
            self.created_before
                .map(|time| format!("StartTime < '{time}'")),
        );
        terms.join(" AND ")
    }
}

fn tenant_is(tenant: Option<&Tenant>) -> String {
    match tenant {
        Some(tenant) => format!("Tenant = {}", quoted(tenant.as_str())),
        None => "Tenant IS NULL".to_owned(),
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// A page of runs: the open ones first, the newest of them first; then the closed ones, the last that closed first. That is
/// the one order in which every visibility store lists.
pub(crate) async fn list(
    client: &Client,
    filter: &Filter,
    page_size: u8,
    place: Vec<u8>,
) -> Result<(Vec<WorkflowExecutionInfo>, Vec<u8>), Status> {
    let mut client = client.clone();
    let request = ListWorkflowExecutionsRequest {
        namespace: client.namespace(),
        page_size: page_size.into(),
        next_page_token: place,
        query: filter.to_query(),
    };
    let listed = WorkflowService::list_workflow_executions(&mut client, limited(request))
        .await?
        .into_inner();
    Ok((listed.executions, listed.next_page_token))
}

/// What is true of jobs that are open.
const OPEN: &str = "WorkflowType = 'MediaGeneration' AND ExecutionStatus = 'Running'";

/// How many jobs of a tenant are open.
pub(crate) async fn count_open(client: &Client, tenant: Option<&Tenant>) -> Result<u64, Status> {
    count(client, format!("{OPEN} AND {}", tenant_is(tenant))).await
}

/// How many jobs of all tenants are open.
pub(crate) async fn count_all_open(client: &Client) -> Result<u64, Status> {
    count(client, OPEN.to_owned()).await
}

/// How many workflows have a task that fails again and again, as far as Temporal tells: since server 1.30.
pub(crate) async fn count_stuck(client: &Client) -> Result<u64, Status> {
    count(
        client,
        "ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL".to_owned(),
    )
    .await
}

async fn count(client: &Client, query: String) -> Result<u64, Status> {
    let mut client = client.clone();
    let request = CountWorkflowExecutionsRequest {
        namespace: client.namespace(),
        query,
    };
    let counted = WorkflowService::count_workflow_executions(&mut client, limited(request)).await?;
    Ok(u64::try_from(counted.into_inner().count).unwrap_or_default())
}

/// Whether a run is the last of its workflow. A job that was taken up again has several.
pub(crate) async fn is_latest(client: &Client, run: &WorkflowExecution) -> Result<bool, Status> {
    let mut client = client.clone();
    let request = DescribeWorkflowExecutionRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: run.workflow_id.clone(),
            run_id: String::new(),
        }),
    };
    let described =
        match WorkflowService::describe_workflow_execution(&mut client, limited(request)).await {
            Ok(described) => described.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(false),
            Err(status) => return Err(status),
        };
    let latest = described
        .workflow_execution_info
        .and_then(|info| info.execution);
    Ok(latest.is_some_and(|latest| latest.run_id == run.run_id))
}

fn limited<T>(request: T) -> temporalio_client::tonic::Request<T> {
    let mut request = request.into_request();
    request.set_timeout(TIMEOUT);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        let filter = Filter {
            model: Some("a/b' OR 'x'='x\\".to_owned()),
            ..Filter::default()
        };
        assert_eq!(
            filter.to_query(),
            r"WorkflowType = 'MediaGeneration' AND Tenant IS NULL AND Model = 'a/b'' OR ''x''=''x\\'"
        );
    }
}
