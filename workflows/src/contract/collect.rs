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
    job::{PredictionRef, ProviderState},
    reads_queue,
};

/// The most outputs that a job carries: each is an activity and a few events in one workflow's history. Of more, the first are
/// stored.
pub const MAX_OUTPUTS: usize = 1000;

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
    /// The outputs, in the provider's order: [`MAX_OUTPUTS`] of them at most.
    pub outputs: Vec<MadeOutput>,
    /// Whether the provider has removed them already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_removed: bool,
}

impl EndedPrediction {
    /// The outputs, of which one at least can be had: whatever became of the prediction, they are paid for.
    ///
    /// # Errors
    /// If there is none.
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

/// An output as a prediction made it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MadeOutput {
    /// Where in the provider's answer it stands, where that is more than a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it can be had.
    pub source: OutputSource,
}

impl MadeOutput {
    /// Whether it can be had at all.
    fn is_there(&self) -> bool {
        self.source != OutputSource::Withheld
    }
}

/// Where an output can be had. A URL may carry a signature, so it stays out of the job resource and of logs.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSource {
    /// At this address.
    Url(String),
    /// Where the prediction says: it is within it, or its address is too large for a history, so it is asked for again.
    Prediction,
    /// Nowhere: the provider has left it out.
    Withheld,
}

impl std::fmt::Debug for OutputSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "Url(…)",
            Self::Prediction => "Prediction",
            Self::Withheld => "Withheld",
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
    .task_queue(reads_queue(input.prediction.provider))
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
