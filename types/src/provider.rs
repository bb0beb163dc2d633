//! Names of the provider's side of a job: the provider, the prediction's id and its status.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::text;

/// Provider, by its name in the job resource, in task queues and in the URLs of its webhooks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// [Replicate](https://replicate.com), or a service that is compatible with its API.
    Replicate,
}

impl ProviderName {
    /// Name of the provider.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replicate => "replicate",
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Id of a prediction, given by the provider: 1 to 256 visible ASCII characters.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PredictionId(String);

/// Validation error: the text is not the id of a prediction.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 1 to 256 visible ASCII characters")]
pub struct InvalidPredictionId;

impl PredictionId {
    const MAX: usize = 256;

    /// Id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text!(PredictionId, min_length = 1, max_length = Self::MAX);

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

/// Status of a prediction. The names are Replicate's; those of other providers are mapped to them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PredictionStatus {
    /// Accepted, not running yet.
    Starting,
    /// Running.
    Processing,
    /// Completed with success.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Canceled while it ran.
    Canceled,
    /// Canceled before it ran: nothing is charged.
    Aborted,
}

impl PredictionStatus {
    /// Returns true if the prediction has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Starting | Self::Processing => false,
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Aborted => true,
        }
    }
}

/// Outcome of a cancel request at the provider.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// The prediction was canceled.
    Canceled,
    /// The prediction had already ended.
    TooLate,
    /// The provider could not be asked, or did not say.
    Unknown,
}

impl CancelOutcome {
    /// Returns the outcome of a request after which the prediction has this status.
    #[must_use]
    pub const fn of(status: PredictionStatus) -> Self {
        match status {
            PredictionStatus::Canceled | PredictionStatus::Aborted => Self::Canceled,
            PredictionStatus::Succeeded | PredictionStatus::Failed => Self::TooLate,
            PredictionStatus::Starting | PredictionStatus::Processing => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_printable() {
        for bad in ["", "..", "a b", "a\n", "é", &"x".repeat(257)] {
            assert!(bad.parse::<PredictionId>().is_err(), "{bad}");
        }
        assert!(
            "../a?b#c".parse::<PredictionId>().is_ok(),
            "paths encode it"
        );
    }
}
