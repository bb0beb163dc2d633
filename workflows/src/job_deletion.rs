//! The workflow that deletes a job, on request or when it expires. It is a workflow so that a
//! deletion cannot stay half done, and so that a job can expire long after it has ended.

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    TimerOptions, TimerResult, WorkflowContext, WorkflowResult, WorkflowTermination,
    common::Priority,
};

use crate::{
    contract::{
        Activities,
        delete::{self, DeleteJobInput},
    },
    job::{IndexEntry, JobId, JobState},
    tenant::Tenant,
};

/// Input of a deletion.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobDeletionInput {
    /// The job.
    pub entry: IndexEntry,
    /// Seconds after its end at which the job expires. If absent, the job is deleted at once, even
    /// if it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seconds: Option<u32>,
}

impl JobDeletionInput {
    /// Creates the input that deletes a job at a caller's request.
    #[must_use]
    pub fn requested(entry: IndexEntry) -> Self {
        Self {
            entry,
            after_seconds: None,
        }
    }

    /// Creates the input that deletes an ended job when it expires; `None` if it is kept.
    #[must_use]
    pub fn expiry(job: &JobState) -> Option<Self> {
        Some(Self {
            entry: IndexEntry::of(job),
            after_seconds: Some(job.expire_after_seconds?.get()),
        })
    }

    /// Creates the input that deletes an ended job whose expiry is overdue, unless it is retried
    /// first.
    #[must_use]
    pub fn overdue(entry: IndexEntry) -> Self {
        Self {
            entry,
            after_seconds: Some(0),
        }
    }

    /// Returns the id of the workflow: a job has one deletion at a time, and one expiry beside it.
    #[must_use]
    pub fn workflow_id(&self) -> String {
        let job_id = &self.entry.job_id;
        match self.after_seconds {
            Some(_) => expiry_id(job_id),
            None => deletion_id(job_id),
        }
    }

    /// Returns the fairness key of the workflow, with the default priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        let tenant = self.entry.tenant.as_ref();
        Priority::builder()
            .maybe_fairness_key(tenant.map(Tenant::as_str))
            .build()
    }

    /// Returns the summary that the Temporal UI shows.
    #[must_use]
    pub fn summary(&self) -> String {
        let job_id = &self.entry.job_id;
        match self.after_seconds {
            Some(_) => format!("expiry of {job_id}"),
            None => format!("deletion of {job_id}"),
        }
    }
}

/// Returns the id of the workflow that deletes a job.
#[must_use]
pub fn deletion_id(job_id: &JobId) -> String {
    format!("delete-{job_id}")
}

/// Returns the id of the workflow that waits for a job to expire.
#[must_use]
pub fn expiry_id(job_id: &JobId) -> String {
    format!("expire-{job_id}")
}

/// One deletion of a job.
#[workflow]
#[derive(Default)]
pub struct JobDeletion;

#[workflow_methods]
impl JobDeletion {
    /// Waits for the expiry, if there is one, then deletes the job.
    ///
    /// # Errors
    /// If the store or Temporal stays down for months, or the workflow is canceled.
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
