//! `collect`: reads how a prediction ended. That it has not yet is a failure that Temporal tries again, at the pace that the
//! attempt asks for: a look costs neither a slot in between nor an event in the history.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, WorkflowCancellationToken,
};

use super::{DAY, SOON, backoff, priority};
use crate::{
    failure::{FailureType, JobError},
    job::{PredictionRef, PredictionStatus, ProviderState},
};

/// The most outputs that a job carries: each is an activity and a few events in one workflow's history.
const MAX_OUTPUTS: usize = 500;

/// How long the provider may work, and a little longer.
const SCHEDULE_TO_CLOSE: Duration = DAY.saturating_add(Duration::from_hours(1));

/// The input of `collect`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CollectInput {
    /// The prediction.
    pub prediction: PredictionRef,
    /// Why it is read.
    pub occasion: Occasion,
}

/// Why a prediction is read, which says how soon to read it again if it has not ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// Its provider has reported its end.
    Reported,
    /// Its report may have been lost.
    BesideReports,
    /// There are no reports.
    Polled,
}

/// What `collect` found out.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CollectOutcome {
    /// It has ended.
    Ended(EndedPrediction),
    /// For minutes the provider has not known it, or has said nothing that can be read.
    Lost {
        /// Which of the two, and in what words.
        error: JobError,
    },
}

/// A prediction that has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EndedPrediction {
    /// How.
    pub state: ProviderState,
    /// Where the outputs can be had, in the provider's order.
    pub outputs: Vec<OutputSource>,
    /// Whether the provider has removed them already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_removed: bool,
}

impl EndedPrediction {
    /// The outputs, of which there is one at least.
    ///
    /// # Errors
    /// If the prediction did not succeed, or not with outputs that a job can carry.
    pub fn outputs(&self) -> Result<&[OutputSource], JobError> {
        let ProviderState {
            prediction,
            status,
            error,
            ..
        } = &self.state;
        let id = &prediction.id;
        let fail = |kind, detail| Err(JobError::new(kind, detail));
        match status {
            PredictionStatus::Succeeded => {}
            PredictionStatus::Failed => {
                let said = error.as_deref().unwrap_or("the provider gives no reason");
                return fail(FailureType::GenerationFailed, said.to_owned());
            }
            PredictionStatus::Canceled | PredictionStatus::Aborted => {
                let detail = match error {
                    Some(said) => format!("the prediction was canceled at the provider: {said}"),
                    None => "the prediction was canceled at the provider".to_owned(),
                };
                return fail(FailureType::GenerationCanceled, detail);
            }
            PredictionStatus::Starting | PredictionStatus::Processing => {
                return fail(
                    FailureType::Internal,
                    format!("prediction {id} is not done"),
                );
            }
        }
        match self.outputs.len() {
            0 if self.data_removed => fail(
                FailureType::SourceExpired,
                format!("the provider has removed the outputs of {id}"),
            ),
            0 => fail(
                FailureType::NoOutputs,
                format!("prediction {id} succeeded without a file"),
            ),
            1..=MAX_OUTPUTS => Ok(&self.outputs),
            count => fail(
                FailureType::TooManyOutputs,
                format!("prediction {id} made {count} files; a job carries {MAX_OUTPUTS} at most"),
            ),
        }
    }
}

/// Where an output can be had. A URL may carry a signature, so it stays out of the job resource and of logs.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSource {
    /// At this address.
    Url(String),
    /// Within the prediction itself, as a `data:` URL: too large for a history, so it is asked for again.
    Prediction,
}

impl std::fmt::Debug for OutputSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "Url(…)",
            Self::Prediction => "Prediction",
        })
    }
}

/// How `collect` runs. A report, and whatever stops the job, does not wait for it.
#[must_use]
pub fn options(input: &CollectInput, scope: WorkflowCancellationToken) -> ActivityOptions {
    let summary = match input.occasion {
        Occasion::Reported => "the provider reports the end",
        Occasion::BesideReports => "no report came",
        Occasion::Polled => "until it ends",
    };
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: SCHEDULE_TO_CLOSE,
        start_to_close: Duration::from_mins(1),
    })
    .task_queue(input.prediction.provider.reads_queue())
    .cancellation_type(ActivityCancellationType::TryCancel)
    .cancellation_token(scope)
    .retry_policy(backoff(Duration::from_mins(1)))
    .summary(summary.to_owned())
    .maybe_priority((input.occasion == Occasion::Reported).then(|| priority(SOON)))
    .build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(status: &str, outputs: usize, data_removed: bool) -> EndedPrediction {
        let state =
            json!({"name": "replicate", "prediction_id": "p", "status": status, "error": "why"});
        EndedPrediction {
            state: serde_json::from_value(state).unwrap(),
            outputs: vec![OutputSource::Prediction; outputs],
            data_removed,
        }
    }

    #[test]
    fn an_end_has_outputs_or_says_why_not() {
        for (status, outputs, data_removed, expected) in [
            ("succeeded", 1, false, None),
            ("succeeded", 0, false, Some(FailureType::NoOutputs)),
            ("succeeded", 0, true, Some(FailureType::SourceExpired)),
            ("succeeded", 501, false, Some(FailureType::TooManyOutputs)),
            ("failed", 0, false, Some(FailureType::GenerationFailed)),
            ("canceled", 0, false, Some(FailureType::GenerationCanceled)),
            ("aborted", 0, false, Some(FailureType::GenerationCanceled)),
            ("processing", 0, false, Some(FailureType::Internal)),
        ] {
            let ended = ended(status, outputs, data_removed);
            let kind = ended.outputs().err().map(|error| error.kind);
            assert_eq!(kind, expected, "{status} {outputs} {data_removed}");
        }
    }
}
