//! The provider's side of a job: its prediction, the state of it, and what it has made.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use darkroom_types::provider::{CancelOutcome, PredictionId, PredictionStatus, ProviderName};

use super::{MAX_OUTPUTS, MadeOutput, made_output::fit_history};
use crate::failure::{FailureType, JobError};

/// Reference to a prediction, by which its provider is queried.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PredictionRef {
    /// Provider that has the prediction.
    #[serde(rename = "name")]
    pub provider: ProviderName,
    /// Id of the prediction, given by the provider.
    #[serde(rename = "prediction_id")]
    pub id: PredictionId,
    /// Data that the provider needs besides the id; null if the id is enough.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub handle: Value,
}

impl PredictionRef {
    /// Creates a reference to a prediction whose id is all that its provider needs.
    #[must_use]
    pub fn new(provider: ProviderName, id: PredictionId) -> Self {
        Self {
            provider,
            id,
            handle: Value::Null,
        }
    }
}

/// State of a job's prediction at the provider, from the purchase on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ProviderState {
    /// The prediction.
    #[serde(flatten)]
    pub prediction: PredictionRef,
    /// Status that the provider returned last.
    pub status: PredictionStatus,
    /// Outcome of a request to cancel, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_outcome: Option<CancelOutcome>,
    /// Time at which the provider accepted it, by the provider's clock, like the times below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Time at which the provider began to work on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Time at which the provider finished it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Time at which the provider removes the outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Error message of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Number of outputs made, including those withheld; absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs_made: Option<u32>,
    /// Output of the provider other than files, if that is at most 64 KiB. Each file is replaced by
    /// `{"media": position}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Metrics as the provider reports them: times in seconds, cost inputs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
}

impl ProviderState {
    /// Creates the state of a prediction of which only the status is known.
    #[must_use]
    pub fn new(prediction: PredictionRef, status: PredictionStatus) -> Self {
        Self {
            prediction,
            status,
            cancel_outcome: None,
            created_at: None,
            started_at: None,
            completed_at: None,
            expires_at: None,
            error: None,
            outputs_made: None,
            output: None,
            metrics: Map::new(),
        }
    }

    /// Returns the reason that a job is not `completed` by what the prediction made, even if all of
    /// it is stored.
    #[must_use]
    pub fn shortcoming(&self) -> Option<JobError> {
        let Self {
            prediction,
            status,
            error,
            outputs_made,
            ..
        } = self;
        match status {
            PredictionStatus::Succeeded => {
                let made = usize::try_from(outputs_made.unwrap_or_default()).ok()?;
                let left = made.checked_sub(MAX_OUTPUTS).filter(|left| *left > 0)?;
                let id = &prediction.id;
                let detail = format!(
                    "prediction {id} made {made} files; a job carries {MAX_OUTPUTS}, and {left} are left"
                );
                Some(JobError::new(FailureType::TooManyOutputs, detail))
            }
            PredictionStatus::Failed => {
                let said = error.as_deref().unwrap_or("the provider gives no reason");
                Some(JobError::new(FailureType::GenerationFailed, said))
            }
            PredictionStatus::Canceled | PredictionStatus::Aborted => {
                let detail = match error {
                    Some(said) => format!("the prediction was canceled at the provider: {said}"),
                    None => "the prediction was canceled at the provider".to_owned(),
                };
                Some(JobError::new(FailureType::GenerationCanceled, detail))
            }
            PredictionStatus::Starting | PredictionStatus::Processing => Some(JobError::new(
                FailureType::Internal,
                format!("prediction {} is not done", prediction.id),
            )),
        }
    }
}

/// A prediction, as its provider returns it, cut to what a history holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Prediction {
    /// Id, status, and other facts that the provider reports.
    pub state: ProviderState,
    /// Outputs in the provider's order, including withheld ones: at most [`MAX_OUTPUTS`].
    pub outputs: Vec<MadeOutput>,
    /// True if the provider has removed the outputs already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_removed: bool,
}

impl Prediction {
    /// Creates a prediction from a provider's answer: counts its outputs, and cuts them, with their
    /// names and URLs, to what a history holds.
    #[must_use]
    pub fn new(mut state: ProviderState, outputs: Vec<MadeOutput>, data_removed: bool) -> Self {
        // The outputs of a prediction that succeeded may follow a moment later.
        let may_be_missing = data_removed || state.status == PredictionStatus::Succeeded;
        let is_known = state.status.is_terminal() && (!outputs.is_empty() || !may_be_missing);
        let made = u32::try_from(outputs.len()).ok();
        state.outputs_made = made.filter(|_| is_known);
        Self {
            state,
            outputs: fit_history(outputs),
            data_removed,
        }
    }

    /// Returns the outputs of a prediction that has ended, if at least one of them can be read.
    /// They are paid for, so they are stored however the prediction ended.
    ///
    /// # Errors
    /// If no output can be read: the reason.
    pub fn made(&self) -> Result<&[MadeOutput], JobError> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::OutputSource;

    #[test]
    fn a_prediction_reads_flat_in_json() {
        let json = json!({"name": "replicate", "prediction_id": "abc", "status": "aborted"});
        let state: ProviderState = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(state.prediction.id.as_str(), "abc");
        assert_eq!(serde_json::to_value(&state).unwrap(), json);
    }

    #[test]
    fn outputs_beyond_the_limit_are_a_shortcoming() {
        let state = |made: u32| -> ProviderState {
            let state = json!({"name": "replicate", "prediction_id": "p", "status": "succeeded", "outputs_made": made});
            serde_json::from_value(state).unwrap()
        };
        assert_eq!(state(1000).shortcoming(), None);
        let error = state(1500).shortcoming().unwrap();
        assert_eq!(error.kind, FailureType::TooManyOutputs);
        assert!(error.detail.ends_with("500 are left"), "{}", error.detail);
    }

    fn ended(status: &str, outputs: &str, data_removed: bool) -> Prediction {
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
        let state = serde_json::from_value(state).unwrap();
        Prediction::new(state, outputs.chars().map(output).collect(), data_removed)
    }

    #[test]
    fn an_ended_prediction_has_outputs_or_an_error() {
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
            let kind = ended.made().err().map(|error| error.kind);
            assert_eq!(kind, expected, "{status} {outputs} {data_removed}");
            let kind = ended.state.shortcoming().map(|error| error.kind);
            assert_eq!(kind, shortcoming, "{status} {outputs} {data_removed}");
        }
    }

    #[test]
    fn outputs_are_counted_once_all_of_them_are_known() {
        for (status, outputs, data_removed, made) in [
            ("processing", "m", false, None),
            ("succeeded", "mw", false, Some(2)),
            ("succeeded", "", false, None),
            ("succeeded", "", true, None),
            ("succeeded", "m", true, Some(1)),
            ("failed", "", false, Some(0)),
            ("failed", "", true, None),
        ] {
            let prediction = ended(status, outputs, data_removed);
            let counted = prediction.state.outputs_made;
            assert_eq!(counted, made, "{status} {outputs} {data_removed}");
        }
    }
}
