//! Jobs that should have been deleted when they expired, and were not: a backup of Temporal knows
//! nothing of the expiries that began after it.

use std::time::Duration;

use darkroom_workflows::{
    JobDeletion, JobDeletionInput, WORKFLOW_QUEUE, failure::FailureType, job::IndexEntry,
};
use jiff::Timestamp;
use temporalio_client::{
    WorkflowIdConflictPolicy, WorkflowStartOptions, errors::WorkflowStartError,
};

use super::{RecordedJob, Sweep};
use crate::failure::Failure;

impl Sweep<'_> {
    /// Returns true if a job expired so long ago that its own deletion will not come.
    pub(super) fn is_overdue(&self, job: &RecordedJob) -> bool {
        let margin = Duration::from_secs(self.input.expiries_older_than_seconds.into());
        let due = job.expires_at.and_then(|at| at.checked_add(margin).ok());
        due.is_some_and(|due| due < Timestamp::now())
    }

    /// Starts the deletion of a job.
    pub(super) async fn delete_job(&self, entry: IndexEntry) -> Result<(), Failure> {
        let job_id = entry.job_id;
        let input = JobDeletionInput::overdue(entry);
        let options = WorkflowStartOptions::new(WORKFLOW_QUEUE, input.workflow_id())
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .static_summary(input.summary())
            .priority(input.priority())
            .build();
        match self
            .client
            .start_workflow(JobDeletion::run, input, options)
            .await
        {
            Ok(_) => {
                tracing::info!(%job_id, "an expired job is deleted late");
                Ok(())
            }
            Err(WorkflowStartError::Rpc(status)) => Err(status.into()),
            Err(error) => Err(Failure::new(FailureType::Internal, error.to_string())),
        }
    }
}
