//! `find`: searches for the prediction of a submission that is in doubt, as its answer is lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken};

use super::{IN_PROGRESS, backoff, priority};
use crate::{
    job::{Doubt, JobId, ProviderName, ProviderState},
    reads_queue,
};

/// Input of `find`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FindInput {
    /// The job.
    pub job_id: JobId,
    /// The submission in doubt.
    pub doubt: Doubt,
}

/// Result of one search.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum FindOutcome {
    /// Prediction that the provider has. If there were several, all but the oldest were canceled.
    Found(ProviderState),
    /// Prediction that the provider does not show, which proves nothing yet.
    NotShown,
    /// Search that the provider does not support.
    CannotTell,
}

/// Options of `find`: it is retried for `time`, as long as an answer is of use. It is canceled with
/// `scope`, not with the workflow, as what it finds may have to be canceled.
#[must_use]
pub fn options(
    provider: ProviderName,
    time: Duration,
    scope: WorkflowCancellationToken,
) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: time,
        start_to_close: Duration::from_mins(2).min(time),
    })
    .task_queue(reads_queue(provider))
    .cancellation_token(scope)
    .priority(priority(IN_PROGRESS))
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary("a submission whose answer is lost".to_owned())
    .build()
}
