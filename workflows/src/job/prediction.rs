//! What is known of the provider's side of a job: which prediction, and how it stands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use darkroom_types::provider::{CancelOutcome, PredictionId, PredictionStatus, ProviderName};

use crate::{
    contract::collect::MAX_OUTPUTS,
    failure::{FailureType, JobError},
};

/// A prediction as its provider is asked for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PredictionRef {
    /// Which provider has it.
    #[serde(rename = "name")]
    pub provider: ProviderName,
    /// The provider's own id of it.
    #[serde(rename = "prediction_id")]
    pub id: PredictionId,
    /// What the provider needs beside the id to be asked for it; null where the id is enough.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub handle: Value,
}

impl PredictionRef {
    /// A prediction whose id is all that its provider needs.
    #[must_use]
    pub fn new(provider: ProviderName, id: PredictionId) -> Self {
        Self {
            provider,
            id,
            handle: Value::Null,
        }
    }
}

/// What is known of the provider's side of a job, from the purchase on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ProviderState {
    /// Which prediction.
    #[serde(flatten)]
    pub prediction: PredictionRef,
    /// The provider's last word on it.
    pub status: PredictionStatus,
    /// What the provider did about a request to cancel, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_outcome: Option<CancelOutcome>,
    /// When the provider took it, by the provider's clock, as the times below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When the provider began to work on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the provider was done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// When the provider removes the outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The provider's own words on a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many outputs it made, those included that it withheld; absent until it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs_made: Option<u32>,
    /// What it said beside its files, each of which is `{"media": position}` here, if that is at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What the provider measured, as it says it: times in seconds, cost inputs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
}

impl ProviderState {
    /// A prediction of which no more is known than how it stands.
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

    /// Why a job is not completed by what the prediction made, whatever becomes of that.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prediction_reads_flat_in_json() {
        let json = json!({"name": "replicate", "prediction_id": "abc", "status": "aborted"});
        let state: ProviderState = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(state.prediction.id.as_str(), "abc");
        assert_eq!(serde_json::to_value(&state).unwrap(), json);
    }

    #[test]
    fn more_outputs_than_a_job_carries_are_a_shortcoming() {
        let state = |made: u32| -> ProviderState {
            let state = json!({"name": "replicate", "prediction_id": "p", "status": "succeeded", "outputs_made": made});
            serde_json::from_value(state).unwrap()
        };
        assert_eq!(state(1000).shortcoming(), None);
        let error = state(1500).shortcoming().unwrap();
        assert_eq!(error.kind, FailureType::TooManyOutputs);
        assert!(error.detail.ends_with("500 are left"), "{}", error.detail);
    }
}
