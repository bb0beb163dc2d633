//! `collect`: reads how a prediction ended. "Not ended yet" is a failure that Temporal retries
//! after the delay that the attempt asks for: between two polls it takes neither a slot nor an
//! event in the history.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, SOON, backoff, priority};
use crate::{
    failure::{FailureType, JobError},
    job::{MadeOutput, PredictionRef, ProviderState},
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
    /// The provider has reported the end.
    Reported,
    /// A report is expected, but may have been lost.
    BesideReports,
    /// No reports are expected.
    Polled,
}

/// Result of `collect`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CollectOutcome {
    /// The prediction has ended.
    Ended(EndedPrediction),
    /// For minutes, the provider has not known the prediction or has returned nothing readable.
    Lost {
        /// The error: which of the two, in the provider's words.
        error: JobError,
    },
}

/// A prediction that has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EndedPrediction {
    /// State at its end.
    pub state: ProviderState,
    /// Outputs in the provider's order, at most [`MAX_OUTPUTS`](crate::job::MAX_OUTPUTS).
    pub outputs: Vec<MadeOutput>,
    /// True if the provider has removed the outputs already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_removed: bool,
}

impl EndedPrediction {
    /// Returns the outputs if at least one of them can be read. They are paid for, so they are
    /// stored however the prediction ended.
    ///
    /// # Errors
    /// If no output can be read: the reason.
    pub fn outputs(&self) -> Result<&[MadeOutput], JobError> {
        let id = &self.state.prediction.id;
        let fail = |kind, detail| Err(JobError::new(kind, detail));
        if self.outputs.iter().any(MadeOutput::is_there) {
            return Ok(&self.outputs);
        }
        if let Some(error) = self.state.shortcoming() {
            return Err(error);
        }
        if self.data_removed {
            return fail(
                FailureType::SourceExpired,
                format!("the provider has removed the outputs of {id}"),
            );
        }
        let detail = match self.outputs.len() {
            0 => format!("prediction {id} succeeded without a file"),
            _ => format!("prediction {id} succeeded, and its provider withheld every file"),
        };
        fail(FailureType::NoOutputs, detail)
    }
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
    .maybe_priority((input.occasion == PollReason::Reported).then(|| priority(SOON)))
    .build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::OutputSource;

    fn ended(status: &str, outputs: &str, data_removed: bool) -> EndedPrediction {
        let state =
            json!({"name": "replicate", "prediction_id": "p", "status": status, "error": "why"});
        let output = |letter| MadeOutput {
            name: None,
            source: if letter == 'w' {
                OutputSource::Withheld
            } else {
                OutputSource::Prediction
            },
        };
        EndedPrediction {
            state: serde_json::from_value(state).unwrap(),
            outputs: outputs.chars().map(output).collect(),
            data_removed,
        }
    }

    #[test]
    fn an_end_has_outputs_or_says_why_not() {
        use FailureType::{GenerationCanceled, GenerationFailed, Internal};
        for (status, outputs, data_removed, expected, shortcoming) in [
            ("succeeded", "m", false, None, None),
            ("succeeded", "mw", false, None, None),
            ("succeeded", "", false, Some(FailureType::NoOutputs), None),
            ("succeeded", "ww", false, Some(FailureType::NoOutputs), None),
            (
                "succeeded",
                "",
                true,
                Some(FailureType::SourceExpired),
                None,
            ),
            (
                "failed",
                "",
                false,
                Some(GenerationFailed),
                Some(GenerationFailed),
            ),
            (
                "failed",
                "w",
                false,
                Some(GenerationFailed),
                Some(GenerationFailed),
            ),
            ("failed", "m", false, None, Some(GenerationFailed)),
            (
                "canceled",
                "",
                false,
                Some(GenerationCanceled),
                Some(GenerationCanceled),
            ),
            ("canceled", "mm", false, None, Some(GenerationCanceled)),
            (
                "aborted",
                "",
                false,
                Some(GenerationCanceled),
                Some(GenerationCanceled),
            ),
            ("processing", "", false, Some(Internal), Some(Internal)),
        ] {
            let ended = ended(status, outputs, data_removed);
            let kind = ended.outputs().err().map(|error| error.kind);
            assert_eq!(kind, expected, "{status} {outputs} {data_removed}");
            let kind = ended.state.shortcoming().map(|error| error.kind);
            assert_eq!(kind, shortcoming, "{status} {outputs} {data_removed}");
        }
    }
}
