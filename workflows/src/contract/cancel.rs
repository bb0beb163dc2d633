//! `cancel_generation`: cancels a prediction.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken};

use super::{URGENT, backoff, priority};
use crate::{job::PredictionRef, reads_queue};

/// Input of `cancel_generation`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CancelGenerationInput {
    /// The prediction.
    pub prediction: PredictionRef,
}

/// Options of `cancel_generation`. It has a cancellation token of its own, so that it is not
/// canceled with the workflow.
#[must_use]
pub fn options(input: &CancelGenerationInput) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: Duration::from_hours(1),
        start_to_close: Duration::from_secs(30),
    })
    .task_queue(reads_queue(input.prediction.provider))
    .cancellation_token(WorkflowCancellationToken::new())
    .priority(priority(URGENT))
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary("cancel what may still run".to_owned())
    .build()
}
