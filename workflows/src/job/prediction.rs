//! What is known of the provider's side of a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is known of the provider's side of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ProviderState {
    /// Which provider.
    pub name: String,
    /// The provider's own id of its work.
    pub prediction_id: String,
    /// The provider's last word on it.
    pub status: PredictionStatus,
    /// What the provider did about a request to cancel, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_outcome: Option<CancelOutcome>,
    /// When the provider removes the outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What the provider measured, as it says it: times in seconds, cost inputs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
}

impl ProviderState {
    /// A prediction of which no more is known than how it stands.
    #[must_use]
    pub fn new(name: String, prediction_id: String, status: PredictionStatus) -> Self {
        Self {
            name,
            prediction_id,
            status,
            cancel_outcome: None,
            expires_at: None,
            metrics: Map::new(),
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
