//! What is known of the provider's side of a job: which prediction, and how it stands.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    contract::collect::MAX_OUTPUTS,
    failure::{FailureType, JobError},
};

/// A provider, by the name that it has in the job resource, in task queues and in the URLs of its reports.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// [Replicate](https://replicate.com), or what speaks its contract.
    Replicate,
}

impl ProviderName {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replicate => "replicate",
        }
    }

    /// The task queue of its submissions: `generate`.
    #[must_use]
    pub const fn submissions_queue(self) -> &'static str {
        match self {
            Self::Replicate => "provider-replicate",
        }
    }

    /// The task queue of whatever else it is asked: `collect`, `find`, `cancel_generation`.
    #[must_use]
    pub const fn reads_queue(self) -> &'static str {
        match self {
            Self::Replicate => "provider-replicate-reads",
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The provider's own id of a prediction: 1 to 256 visible ASCII characters.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PredictionId(String);

/// The text is no id of a prediction.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 1 to 256 visible ASCII characters")]
pub struct InvalidPredictionId;

impl PredictionId {
    const MAX: usize = 256;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PredictionId {
    type Err = InvalidPredictionId;

    fn from_str(text: &str) -> Result<Self, InvalidPredictionId> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for PredictionId {
    type Error = InvalidPredictionId;

    fn try_from(text: String) -> Result<Self, InvalidPredictionId> {
        let is_id = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && ![".", ".."].contains(&text.as_str());
        if is_id {
            Ok(Self(text))
        } else {
            Err(InvalidPredictionId)
        }
    }
}

impl From<PredictionId> for String {
    fn from(id: PredictionId) -> Self {
        id.0
    }
}

impl fmt::Display for PredictionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

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

/// The state of a prediction. The names are Replicate's, which others map onto.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PredictionStatus {
    /// Accepted, not running yet.
    Starting,
    /// Running.
    Processing,
    /// Done.
    Succeeded,
    /// Tried and failed.
    Failed,
    /// Stopped while it ran.
    Canceled,
    /// Stopped before it ran: nothing is charged.
    Aborted,
}

impl PredictionStatus {
    /// Whether the provider is done with it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Starting | Self::Processing => false,
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Aborted => true,
        }
    }
}

/// What a provider did about a request to cancel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// It stopped.
    Canceled,
    /// It was done already.
    TooLate,
    /// It could not be asked or did not say.
    Unknown,
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

    #[test]
    fn ids_are_short_and_visible() {
        for bad in ["", "..", "a b", "a\n", "é", &"x".repeat(257)] {
            assert!(bad.parse::<PredictionId>().is_err(), "{bad}");
        }
        assert!(
            "../a?b#c".parse::<PredictionId>().is_ok(),
            "paths encode it"
        );
    }
}
