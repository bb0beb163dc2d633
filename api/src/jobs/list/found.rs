//! A run of a job, as Temporal's visibility store lists it.

use darkroom_temporal::runs::Run;
use darkroom_types::{
    job_id::JobId,
    request::Model,
    resource::{JobSummary, SummaryLinks},
    status::JobStatus,
    tenant::Tenant,
};
use darkroom_workflows::{
    job::timestamp,
    search_attributes::{JOB_STATUS, MODEL, TENANT},
};
use jiff::Timestamp;

use crate::context::Context;

/// A run that the visibility store has listed.
pub(crate) struct FoundRun {
    pub(crate) job_id: JobId,
    pub(crate) run_id: String,
    pub(crate) tenant: Option<Tenant>,
    status: JobStatus,
    model: Model,
    pub(crate) created_at: Timestamp,
    pub(crate) completed_at: Option<Timestamp>,
}

impl FoundRun {
    /// Converts a run; `None` if its attributes are not those of a job.
    pub(crate) fn of(run: Run) -> Option<Self> {
        let (is_open, attributes) = (run.is_open, run.search_attributes);
        let recorded = attributes
            .get(&JOB_STATUS)
            .and_then(|status| serde_json::from_value(status.into()).ok());
        let status = match recorded {
            Some(status @ (JobStatus::Pending | JobStatus::Processing)) if is_open => status,
            Some(status) if status.is_terminal() => status,
            None if is_open => JobStatus::Processing,
            // It was terminated or timed out, and recorded no final status.
            Some(_) | None => JobStatus::Failed,
        };
        Some(Self {
            job_id: run.id.workflow_id.parse().ok()?,
            run_id: run.id.run_id,
            tenant: match attributes.get(&TENANT) {
                Some(tenant) => Some(tenant.parse().ok()?),
                None => None,
            },
            status,
            model: attributes.get(&MODEL)?.try_into().ok()?,
            created_at: timestamp(run.started_at?),
            completed_at: run.closed_at.map(timestamp),
        })
    }

    /// Returns true if a later run of its job may exist: only partial and failed jobs can be
    /// retried.
    pub(super) fn may_be_retried(&self) -> bool {
        matches!(self.status, JobStatus::Partial | JobStatus::Failed)
    }

    pub(super) fn summary(&self, context: &Context) -> JobSummary {
        let this = context.job_url(&self.job_id);
        JobSummary {
            job_id: self.job_id,
            status: self.status,
            model: self.model.clone(),
            created_at: self.created_at,
            completed_at: self.completed_at,
            prompt: None,
            media: None,
            links: SummaryLinks { this },
        }
    }
}
