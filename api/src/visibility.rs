//! Queries for jobs to Temporal's visibility store. It is eventually consistent: it lags a moment
//! behind the starts and ends of jobs.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use darkroom_temporal::runs::{self, Page, Run, RunId};
use darkroom_workflows::{job::JobId, tenant::Tenant};
use jiff::Timestamp;
use temporalio_client::{Client, tonic::Status};

/// Runs per page at most.
const MAX_PAGE: u16 = 1000;

/// Pause before the next page: the store is rate limited to a few calls a second.
const PAGE_PAUSE: Duration = Duration::from_millis(250);

/// Filter of jobs. Its values were parsed before; they are quoted nevertheless.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Filter {
    pub(crate) tenant: Option<Tenant>,
    pub(crate) status: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) created_after: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
}

impl Filter {
    /// Returns it in Temporal's [list filter](https://docs.temporal.io/list-filter) language.
    pub(crate) fn to_query(&self) -> String {
        let mut terms = vec![
            "WorkflowType = 'MediaGeneration'".to_owned(),
            tenant_is(self.tenant.as_ref()),
        ];
        terms.extend(self.status.as_deref().map(status_is));
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

/// A run that was terminated recorded no final status: its job has failed.
fn status_is(status: &str) -> String {
    let recorded = format!("JobStatus = {}", quoted(status));
    match status {
        "processing" => format!("{recorded} AND CloseTime IS NULL"),
        "failed" => {
            format!("({recorded} OR (JobStatus = 'processing' AND CloseTime IS NOT NULL))")
        }
        _ => recorded,
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Lists the runs of all tenants that have closed since a time, the last closed first, in pages of
/// this size.
///
/// The time is not part of the query: the store lists in this order, so reading stops at the first
/// older run.
pub(crate) async fn closed_since(
    client: &Client,
    since: Timestamp,
    page_size: u16,
) -> Result<Vec<Run>, Status> {
    let since = whole_second(since);
    let query = "WorkflowType = 'MediaGeneration' AND CloseTime IS NOT NULL".to_owned();
    list_while(client, query, page_size, |run| {
        run.closed_at.is_some_and(|time| time >= since)
    })
    .await
}

/// Lists the open runs of all tenants that have started since a time, the newest first, in pages of
/// this size.
pub(crate) async fn started_since(
    client: &Client,
    since: Timestamp,
    page_size: u16,
) -> Result<Vec<Run>, Status> {
    let since = whole_second(since);
    list_while(client, OPEN.to_owned(), page_size, |run| {
        run.started_at.is_some_and(|time| time >= since)
    })
    .await
}

/// Lists the open runs of a tenant, and those that have closed since a time.
pub(crate) async fn open_or_closed_since(
    client: &Client,
    tenant: Option<&Tenant>,
    since: Timestamp,
) -> Result<Vec<Run>, Status> {
    let since = whole_second(since);
    let filter = Filter {
        tenant: tenant.cloned(),
        ..Filter::default()
    };
    list_while(client, filter.to_query(), MAX_PAGE, |run| {
        run.closed_at.is_none_or(|time| time >= since)
    })
    .await
}

/// Rounds down to a whole second, which is the precision of some visibility stores.
fn whole_second(time: Timestamp) -> SystemTime {
    let second = Timestamp::from_second(time.as_second()).unwrap_or(time);
    second.into()
}

/// Lists runs up to the first that is not wanted.
async fn list_while(
    client: &Client,
    query: String,
    page_size: u16,
    is_wanted: impl Fn(&Run) -> bool,
) -> Result<Vec<Run>, Status> {
    let (mut runs, mut token) = (Vec::new(), Vec::new());
    loop {
        let Page {
            runs: page,
            next_page_token,
        } = runs::list(client, query.clone(), page_size, token).await?;
        let wanted = page.iter().take_while(|run| is_wanted(run)).count();
        let is_all = wanted < page.len() || next_page_token.is_empty();
        runs.extend(page.into_iter().take(wanted));
        if is_all {
            return Ok(runs);
        }
        token = next_page_token;
        tokio::time::sleep(PAGE_PAUSE).await;
    }
}

/// List filter of open jobs.
const OPEN: &str = "WorkflowType = 'MediaGeneration' AND ExecutionStatus = 'Running'";

/// Counts the open jobs of a tenant.
pub(crate) async fn count_open(client: &Client, tenant: Option<&Tenant>) -> Result<u64, Status> {
    runs::count(client, format!("{OPEN} AND {}", tenant_is(tenant))).await
}

/// Counts the open jobs of all tenants.
pub(crate) async fn count_all_open(client: &Client) -> Result<u64, Status> {
    runs::count(client, OPEN.to_owned()).await
}

/// Counts the workflows whose workflow task fails repeatedly. Temporal reports them since server
/// 1.30.
pub(crate) async fn count_stuck(client: &Client) -> Result<u64, Status> {
    runs::count(
        client,
        "ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL".to_owned(),
    )
    .await
}

/// Returns the ids of the latest runs of jobs, by job id. A job that was retried has several runs.
/// A job that the store does not know is missing in the result.
pub(crate) async fn latest_runs(
    client: &Client,
    ids: &[JobId],
) -> Result<HashMap<JobId, String>, Status> {
    let quoted: Vec<_> = ids.iter().map(|id| quoted(&id.to_string())).collect();
    let query = format!(
        "WorkflowType = 'MediaGeneration' AND WorkflowId IN ({})",
        quoted.join(", ")
    );
    let runs = list_while(client, query, MAX_PAGE, |_| true).await?;
    let mut latest = HashMap::new();
    // An open run is listed first, then the last closed one.
    for RunId {
        workflow_id,
        run_id,
    } in runs.into_iter().map(|run| run.id)
    {
        if let Ok(job_id) = workflow_id.parse() {
            latest.entry(job_id).or_insert(run_id);
        }
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
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
