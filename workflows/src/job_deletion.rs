//! The workflow that removes all that there is of a job. It is a workflow so that a deletion cannot be half done, and so that a
//! job can expire long after it has ended.

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    TimerOptions, TimerResult, WorkflowContext, WorkflowResult, WorkflowTermination,
};

use crate::{
    contract::{
        Activities,
        delete::{self, DeleteJobInput},
    },
    job::{IndexEntry, JobId, JobState},
};

/// What starts a deletion.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobDeletionInput {
    /// The job.
    pub entry: IndexEntry,
    /// How long after its end the job expires; at once, and whether it has ended or not, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seconds: Option<u32>,
}

impl JobDeletionInput {
    /// The deletion of a job that somebody wants gone.
    #[must_use]
    pub fn requested(entry: IndexEntry) -> Self {
        Self {
            entry,
            after_seconds: None,
        }
    }

    /// The expiry of a job that has ended; `None` if it stays.
    #[must_use]
    pub fn expiry(job: &JobState) -> Option<Self> {
        Some(Self {
            entry: IndexEntry::of(job),
            after_seconds: Some(job.expire_after_seconds?.get()),
        })
    }

    /// The id of the workflow: a job has one deletion at a time, and one expiry beside it.
    #[must_use]
    pub fn workflow_id(&self) -> String {
        let job_id = &self.entry.job_id;
        match self.after_seconds {
            Some(_) => expiry_id(job_id),
            None => deletion_id(job_id),
        }
    }

    /// What the Temporal UI says of it.
    #[must_use]
    pub fn summary(&self) -> String {
        let job_id = &self.entry.job_id;
        match self.after_seconds {
            Some(_) => format!("expiry of {job_id}"),
            None => format!("deletion of {job_id}"),
        }
    }
}

/// The id of the workflow that deletes a job.
#[must_use]
pub fn deletion_id(job_id: &JobId) -> String {
    format!("delete-{job_id}")
}

/// The id of the workflow that waits for a job to expire.
#[must_use]
pub fn expiry_id(job_id: &JobId) -> String {
    format!("expire-{job_id}")
}

/// One deletion.
#[workflow]
#[derive(Default)]
pub struct JobDeletion;

#[workflow_methods]
impl JobDeletion {
    /// Waits if it is to, then deletes.
    ///
    /// # Errors
    /// If the store or Temporal stays away for months, or the deletion is canceled.
    #[run(name = "JobDeletion")]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        input: JobDeletionInput,
    ) -> WorkflowResult<()> {
        if let Some(seconds) = input.after_seconds {
            let timer = TimerOptions::builder(Duration::from_secs(seconds.into()))
                .summary("the job expires".to_owned())
                .build();
            match ctx.timer(timer).await {
                TimerResult::Fired => {}
                TimerResult::Cancelled => {
                    return Err(WorkflowTermination::cancelled_with_details(()));
                }
            }
        }
        let input = DeleteJobInput {
            is_requested: input.after_seconds.is_none(),
            entry: input.entry,
        };
        let options = delete::options(&input);
        Ok(ctx
            .execute_activity(Activities::delete_job, input, options)
            .await?)
    }
}
