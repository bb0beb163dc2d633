//! `collect`: reads how a prediction ended. "Not ended yet" is a failure that Temporal retries
//! after the delay that the attempt asks for: between two polls it takes neither a slot nor an
//! event in the history.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, IN_PROGRESS, backoff, priority};
use crate::{
    failure::JobError,
    job::{Prediction, PredictionRef},
    reads_queue,
};

/// Longest time that the provider may work, and an hour more.
const SCHEDULE_TO_CLOSE: Duration = DAY.saturating_add(Duration::from_hours(1));

/// Input of `collect`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CollectInput {
    /// The prediction.
    pub prediction: PredictionRef,
    /// The reason for reading it.
    pub occasion: PollReason,
}

/// Reason for reading a prediction. It decides how soon to poll again if the prediction has not
/// ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PollReason {
    /// Report of the end by the provider.
    Reported,
    /// Missing report, which is expected but may have been lost.
    BesideReports,
    /// Polling, as no reports are expected.
    Polled,
}

/// Result of `collect`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CollectOutcome {
    /// Prediction that has ended.
    Ended(Prediction),
    /// Prediction that the provider has not known, or not returned readably, for minutes.
    Lost {
        /// The error: which of the two, in the provider's words.
        error: JobError,
    },
}

/// Options of `collect`. It is canceled by a report or a stop of the job, which do not wait for it
/// to end.
#[must_use]
pub fn options(input: &CollectInput, scope: WorkflowCancellationToken) -> ActivityOptions {
    let summary = match input.occasion {
        PollReason::Reported => "the provider reports the end",
        PollReason::BesideReports => "no report came",
        PollReason::Polled => "until it ends",
    };
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: SCHEDULE_TO_CLOSE,
        start_to_close: Duration::from_mins(1),
    })
    .task_queue(reads_queue(input.prediction.provider))
    .cancellation_type(ActivityCancellationType::TryCancel)
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary(summary.to_owned())
    .maybe_priority((input.occasion == PollReason::Reported).then(|| priority(IN_PROGRESS)))
    .build()
}
