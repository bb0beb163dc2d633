//! Deletion of all jobs of a tenant: first those of the index in the store, then those that only
//! Temporal knows.

use anyhow::{Context, Result, bail};
use darkroom_storage::Storage;
use darkroom_temporal::{
    TemporalConfig,
    runs::{self, Run},
};
use darkroom_workflows::{
    JobDeletion, JobDeletionInput, WORKFLOW_QUEUE,
    job::{IndexEntry, timestamp},
    tenant::Tenant,
};
use futures::{StreamExt, stream};
use jiff::tz::TimeZone;
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowIdConflictPolicy, WorkflowStartOptions,
};

/// Number of deletions at a time.
const CONCURRENCY: usize = 16;

/// Jobs per page.
const PAGE: u16 = 500;

/// Deletes all jobs of a tenant and returns their number. Temporal and the store are those that the
/// environment configures. It waits until the jobs are deleted, for which a worker has to run.
///
/// # Errors
/// If Temporal or the store cannot be reached, or a deletion fails. Jobs that were deleted before
/// stay deleted.
pub async fn purge(tenant: &Tenant) -> Result<u64> {
    let storage = Storage::from_env().await?;
    let client = TemporalConfig::from_env()?.connect().await?;
    let mut deleted = 0;
    let prefix = IndexEntry::prefix(Some(tenant));
    let mut after = None;
    loop {
        let page = storage.list(&prefix, after.as_ref(), PAGE).await;
        let page = page.context("cannot list the jobs of the tenant in the store")?;
        after = page.objects.last().map(|object| object.key.clone());
        let keys = page.objects.iter();
        let entries = keys
            .filter_map(|object| object.key.as_str().parse().ok())
            .collect();
        deleted += delete(&client, entries).await?;
        if !page.has_more {
            break;
        }
    }
    // Open and terminated jobs are not in the index. A deleted job leaves the list, so each round
    // reads the first page.
    loop {
        let entries = known(&client, tenant).await?;
        if entries.is_empty() {
            return Ok(deleted);
        }
        deleted += delete(&client, entries).await?;
    }
}

/// Deletes jobs and returns their number. A failure does not stop the other deletions.
async fn delete(client: &Client, entries: Vec<IndexEntry>) -> Result<u64> {
    let deletions = stream::iter(entries).map(|entry| async move {
        let job_id = entry.job_id;
        let input = JobDeletionInput::requested(entry);
        let options = WorkflowStartOptions::new(WORKFLOW_QUEUE, input.workflow_id())
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .static_summary(input.summary())
            .build();
        let handle = client.start_workflow(JobDeletion::run, input, options);
        let handle = handle
            .await
            .with_context(|| format!("cannot begin to delete {job_id}"))?;
        let outcome = handle.get_result(WorkflowGetResultOptions::default()).await;
        outcome.with_context(|| format!("cannot delete {job_id}"))
    });
    let outcomes: Vec<Result<()>> = deletions.buffer_unordered(CONCURRENCY).collect().await;
    let count = outcomes.len() as u64;
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    match failures.first() {
        None => Ok(count),
        Some(first) => bail!(
            "{} of {count} jobs are not deleted; the first: {first:#}",
            failures.len()
        ),
    }
}

/// Returns one page of the tenant's jobs that Temporal knows.
async fn known(client: &Client, tenant: &Tenant) -> Result<Vec<IndexEntry>> {
    // A tenant's name has no quotes.
    let query = format!("WorkflowType = 'MediaGeneration' AND Tenant = '{tenant}'");
    let page = runs::list(client, query, PAGE, Vec::new()).await;
    let page = page.context("cannot list the jobs of the tenant in Temporal")?;
    let runs = page.runs.iter();
    let mut entries: Vec<_> = runs.filter_map(|run| entry(tenant, run)).collect();
    entries.sort_by_key(|entry| entry.job_id);
    entries.dedup_by(|one, other| one.job_id == other.job_id);
    Ok(entries)
}

fn entry(tenant: &Tenant, run: &Run) -> Option<IndexEntry> {
    let started = timestamp(run.started_at?);
    Some(IndexEntry {
        tenant: Some(tenant.clone()),
        day: started.to_zoned(TimeZone::UTC).date(),
        job_id: run.id.workflow_id.parse().ok()?,
    })
}
