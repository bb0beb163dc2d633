//! Start of a run of a job's workflow: the first, or one that follows another.

use std::time::Duration;

use darkroom_temporal::start::start_once;
use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput, WORKFLOW_QUEUE,
    job::{JobState, JobStatus, Retry, Tombstone},
    media_generation::Start,
    request::JobRequest,
    search_attributes::{JOB_STATUS, MODEL, TENANT},
    tenant::Tenant,
    webhook_secret::WebhookSecret,
};
use sha2::{Digest, Sha256};
use temporalio_client::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_common::{MemoValues, Priority, search_attributes::SearchAttributes};

use super::delete;
use crate::{
    context::Context,
    middleware::request_id::RequestId,
    problem::{Kind, Problem},
    temporal,
};

/// Timeout of a workflow task. A task that is lost, with its worker or on the way, is retried after
/// it.
const TASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Run of a job that is to be started.
pub(crate) enum Run {
    /// The first.
    First,
    /// A further one, after the run that the state is of.
    Another(Retry),
}

/// Starts a run of a job's workflow.
///
/// # Errors
/// If a run is under way already (of several that follow the same run, one is started), if the job
/// is being deleted, or if Temporal or the store does not answer.
pub(crate) async fn start(
    context: &Context,
    mut job: JobState,
    start: Start,
    run: Run,
    request_id: Option<&RequestId>,
) -> Result<(), Problem> {
    let client = context.temporal.client()?;
    let expects_reports = context.expects_reports;
    // Callers get their webhook secret from this api, so workers must sign with the same one.
    let secret = context.webhook_secret.as_ref();
    let secret = secret.filter(|_| job.request.webhook_url.is_some());
    job.webhook_secret_id = secret.map(WebhookSecret::id);
    let input = |job| MediaGenerationInput {
        job,
        start,
        expects_reports,
    };
    let retry = match run {
        Run::First => {
            let options = options(&job, WorkflowIdReusePolicy::RejectDuplicate, request_id);
            let started = client.start_workflow(MediaGeneration::run, input(job), options);
            let is_started = temporal::started(started.await)?;
            return is_started.then_some(()).ok_or_else(under_way);
        }
        Run::Another(retry) => retry,
    };
    // A job that is being deleted is not retried.
    if delete::tombstone(context, &job.job_id).await? == Some(Tombstone::Deleted) {
        return Err(Problem::not_found("job"));
    }
    let options = options(&job, WorkflowIdReusePolicy::AllowDuplicate, request_id);
    let (job_id, follower_id) = (job.job_id, follower_id(&job));
    job.retries.push(retry.clone());
    let run = MediaGeneration::run;
    let started = start_once(client, follower_id, run, &input(job), options).await;
    if !started.map_err(|error| temporal::start_problem(&error))? {
        return Err(under_way());
    }
    // `start_once` reports success to all starts that follow the same run: the input shows which of
    // them it was.
    let handle = client.get_workflow_handle::<MediaGeneration>(job_id.to_string());
    let input = temporal::history(&handle).input().await;
    match input {
        Ok(MediaGenerationInput { job, .. }) if job.retries.latest() != Some(&retry) => {
            Err(under_way())
        }
        // A run was started, though its input cannot be read.
        _ => Ok(()),
    }
}

fn under_way() -> Problem {
    Problem::new(Kind::NotEnded, "the job is under way already")
}

/// Derives the request id of the start that follows a run. It is the same for all of them, so
/// Temporal deduplicates them.
fn follower_id(job: &JobState) -> String {
    let (job_id, retries) = (&job.job_id, job.retry_count);
    let run_id = job.run_id.as_deref().unwrap_or_default();
    let digest = Sha256::digest(format!("darkroom retry\n{job_id}\n{retries}\n{run_id}"));
    hex::encode(&digest[..16])
}

fn options(
    job: &JobState,
    reuse: WorkflowIdReusePolicy,
    request_id: Option<&RequestId>,
) -> WorkflowStartOptions {
    let JobState {
        job_id,
        tenant,
        request,
        ..
    } = job;
    let mut attributes = vec![
        JOB_STATUS.value_set(JobStatus::Processing.to_string()),
        MODEL.value_set(request.model.to_string()),
    ];
    attributes.extend(
        tenant
            .as_ref()
            .map(|tenant| TENANT.value_set(tenant.to_string())),
    );
    let memo = request_id.map(|id| {
        let mut memo = MemoValues::new();
        memo.insert("request_id", id.as_str().to_owned());
        memo
    });
    WorkflowStartOptions::new(WORKFLOW_QUEUE, job_id.to_string())
        .id_reuse_policy(reuse)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .search_attributes(SearchAttributes::new(attributes))
        .static_summary(format!("{} · {}", request.model, request.excerpt(60)))
        .maybe_memo(memo)
        .priority(priority(tenant.as_ref(), request))
        .task_timeout(TASK_TIMEOUT)
        .rpc_options(temporal::rpc_options())
        .build()
}

/// Returns the priority and the fairness key of a job's workflows: tenants share the task queues
/// fairly, and activities inherit both.
pub(crate) fn priority(tenant: Option<&Tenant>, request: &JobRequest) -> Priority {
    Priority::builder()
        .priority_key(u32::from(request.priority.get()))
        .maybe_fairness_key(tenant.map(Tenant::as_str))
        .build()
}
