//! `DELETE /v1/jobs/{id}`: starts a workflow that deletes everything that is stored of a job. A
//! tombstone remains, so that the `Idempotency-Key` of the job does not create another one.

use std::sync::Arc;

use darkroom_types::resource::Deletion;
use darkroom_workflows::{
    JobDeletion, JobDeletionInput, WORKFLOW_QUEUE,
    job::{IndexEntry, JobId, TOMBSTONE_LIMIT, Tombstone},
};
use poem::{
    Response, handler,
    http::StatusCode,
    web::{Data, Path},
};
use temporalio_client::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};

use super::owned;
use crate::{
    access::Caller,
    context::Context,
    json,
    problem::{Kind, Problem, problems},
    store, temporal,
};

problems!(Problems: NotFound, StorageUnavailable);

/// Delete a job
///
/// Deletes the job, its outputs and everything that is known of it. A job that is under way is
/// canceled first. The job counts as deleted at once; its data is gone when the job has ended, and
/// the store and Temporal have deleted it. The `Idempotency-Key` stays reserved for 90 days. Copies
/// at the provider and in backups are not deleted.
#[utoipa::path(
    delete, path = "/v1/jobs/{job_id}", operation_id = "deleteJob", tag = "Jobs",
    params(("job_id" = JobId, Path, description = "The job's id.")),
    responses((status = 202, description = "The job is being deleted.", body = Deletion), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn delete_job(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Result<Response, Problem> {
    // A job that is being deleted may be deleted again, though `find` no longer returns it.
    let job_id = &job_id.parse().map_err(|_| Problem::not_found("job"))?;
    let view = owned(&caller, context.views.current(context, job_id).await?)?;
    let input = JobDeletionInput::requested(IndexEntry::of(&view.state));
    let options = WorkflowStartOptions::new(WORKFLOW_QUEUE, input.workflow_id())
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .static_summary(input.summary())
        .priority(input.priority())
        .rpc_options(temporal::rpc_options())
        .build();
    let client = context.temporal.client()?;
    temporal::started(
        client
            .start_workflow(JobDeletion::run, input, options)
            .await,
    )?;
    context.views.delete(job_id).await;
    tracing::info!(%job_id, "deletion requested");
    let keeps_versions = store::answer("versioning", context.storage.keeps_versions());
    let deletion = Deletion {
        job_id: *job_id,
        keeps_versions: keeps_versions.await.ok(),
    };
    json::answer(StatusCode::ACCEPTED, &deletion)
}

/// Returns the tombstone of a job, if it has one.
///
/// # Errors
/// If the store cannot be read.
pub(super) async fn tombstone(
    context: &Context,
    job_id: &JobId,
) -> Result<Option<Tombstone>, Problem> {
    let key = Tombstone::key(job_id);
    let read = context.storage.read(&key, TOMBSTONE_LIMIT);
    let bytes = store::answer(&key, read).await?;
    Ok(bytes.map(|bytes| Tombstone::read(&bytes)))
}

/// Problem of a key whose job was deleted or terminated.
pub(super) fn gone(job_id: &JobId) -> Problem {
    let detail = format!(
        "the Idempotency-Key was used for job {job_id}, which was deleted or terminated; use a new key for a new request"
    );
    Problem::new(Kind::Deleted, detail)
}
