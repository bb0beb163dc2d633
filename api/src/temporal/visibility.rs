//! Looking jobs up in Temporal's visibility store: it knows what was accepted and what has ended, a moment later than the
//! workflows do.

use std::{collections::HashMap, time::Duration};

use darkroom_workflows::{job::JobId, tenant::Tenant};
use jiff::Timestamp;
use temporalio_client::{Client, NamespacedClient, grpc::WorkflowService, tonic::Status};
use temporalio_common::protos::temporal::api::{
    workflow::v1::WorkflowExecutionInfo,
    workflowservice::v1::{CountWorkflowExecutionsRequest, ListWorkflowExecutionsRequest},
};

use super::limited;

/// How long a search may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many runs a page has at most.
const MAX_PAGE: u16 = 1000;

/// How long to wait before a further page, as the store answers few questions a second.
const PAGE_PAUSE: Duration = Duration::from_millis(250);

/// How many runs of the jobs of a page are looked at.
const MAX_RUNS: i32 = 1000;

/// What jobs are looked up by. Each value was parsed, and is quoted all the same.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
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
    query: String,
    page_size: u16,
    place: Vec<u8>,
) -> Result<(Vec<WorkflowExecutionInfo>, Vec<u8>), Status> {
    let mut client = client.clone();
    let request = ListWorkflowExecutionsRequest {
        namespace: client.namespace(),
        page_size: page_size.into(),
        next_page_token: place,
        query,
    };
    let listed = WorkflowService::list_workflow_executions(&mut client, limited(request, TIMEOUT))
        .await?
        .into_inner();
    Ok((listed.executions, listed.next_page_token))
}

/// The runs of all tenants that have closed since a time, the last one first, in pages of this size.
///
/// The time is not part of the question: the store lists in this very order, so that what is not asked for is not read either.
pub(crate) async fn closed_since(
    client: &Client,
    since: Timestamp,
    page_size: u16,
) -> Result<Vec<WorkflowExecutionInfo>, Status> {
    let query = "WorkflowType = 'MediaGeneration' AND CloseTime IS NOT NULL".to_owned();
    list_while(client, query, page_size, |run| {
        run.close_time
            .is_some_and(|time| time.seconds >= since.as_second())
    })
    .await
}

/// The open runs of all tenants that have begun since a time, the newest first, in pages of this size.
pub(crate) async fn begun_since(
    client: &Client,
    since: Timestamp,
    page_size: u16,
) -> Result<Vec<WorkflowExecutionInfo>, Status> {
    list_while(client, OPEN.to_owned(), page_size, |run| {
        run.start_time
            .is_some_and(|time| time.seconds >= since.as_second())
    })
    .await
}

/// The open runs of a tenant, and those that have closed since a time.
pub(crate) async fn open_or_closed_since(
    client: &Client,
    tenant: Option<&Tenant>,
    since: Timestamp,
) -> Result<Vec<WorkflowExecutionInfo>, Status> {
    let filter = Filter {
        tenant: tenant.cloned(),
        ..Filter::default()
    };
    list_while(client, filter.to_query(), MAX_PAGE, |run| {
        run.close_time
            .is_none_or(|time| time.seconds >= since.as_second())
    })
    .await
}

/// Runs as they are listed, for as long as this is true of them.
async fn list_while(
    client: &Client,
    query: String,
    page_size: u16,
    is_wanted: impl Fn(&WorkflowExecutionInfo) -> bool,
) -> Result<Vec<WorkflowExecutionInfo>, Status> {
    let (mut runs, mut place) = (Vec::new(), Vec::new());
    loop {
        let (page, next) = list(client, query.clone(), page_size, place).await?;
        let wanted = page.iter().take_while(|run| is_wanted(run)).count();
        let is_all = wanted < page.len() || next.is_empty();
        runs.extend(page.into_iter().take(wanted));
        if is_all {
            return Ok(runs);
        }
        place = next;
        tokio::time::sleep(PAGE_PAUSE).await;
    }
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
    let counted =
        WorkflowService::count_workflow_executions(&mut client, limited(request, TIMEOUT)).await?;
    Ok(u64::try_from(counted.into_inner().count).unwrap_or_default())
}

/// The latest runs of jobs, by the jobs' ids: one that was taken up again has several. Of a job that is missing nothing is known.
pub(crate) async fn latest_runs(
    client: &Client,
    ids: &[JobId],
) -> Result<HashMap<JobId, String>, Status> {
    let mut client = client.clone();
    let quoted: Vec<_> = ids.iter().map(|id| quoted(id.as_str())).collect();
    let request = ListWorkflowExecutionsRequest {
        namespace: client.namespace(),
        page_size: MAX_RUNS,
        query: format!(
            "WorkflowType = 'MediaGeneration' AND WorkflowId IN ({})",
            quoted.join(", ")
        ),
        ..ListWorkflowExecutionsRequest::default()
    };
    let listed =
        WorkflowService::list_workflow_executions(&mut client, limited(request, TIMEOUT)).await?;
    let runs = listed.into_inner().executions.into_iter();
    let mut latest = HashMap::new();
    // An open one comes first, then the one that closed last.
    for run in runs.filter_map(|run| run.execution) {
        if let Ok(job_id) = run.workflow_id.parse() {
            latest.entry(job_id).or_insert(run.run_id);
        }
    }
    Ok(latest)
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
