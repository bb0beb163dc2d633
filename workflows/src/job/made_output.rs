//! Outputs as the provider made them, before they are stored.

use std::fmt::{self, Debug, Formatter};

use serde::{Deserialize, Serialize};

/// Largest number of outputs that a job carries: each is an activity and a few events in one
/// workflow's history. If a prediction made more, the first ones are stored.
pub const MAX_OUTPUTS: usize = 1000;

/// Output that a prediction has made, or was to make.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MadeOutput {
    /// Path in the provider's answer, such as `stems[0].url`; absent if it is no more than a
    /// position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Source to read it from.
    pub source: OutputSource,
}

impl MadeOutput {
    /// Returns true unless the provider withheld the output.
    pub(crate) fn is_there(&self) -> bool {
        self.source != OutputSource::Withheld
    }
}

/// Source of an output. A URL may carry a signature, so it stays out of the job resource and of
/// logs.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSource {
    /// The URL of the output, as text: it is sent as the provider wrote it.
    Url(String),
    /// The prediction: the output is inline in it, or its URL is too large for a history, so the
    /// prediction is read again.
    Prediction,
    /// No source: the provider withheld the output.
    Withheld,
}

impl Debug for OutputSource {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "Url(…)",
            Self::Prediction => "Prediction",
            Self::Withheld => "Withheld",
        })
    }
}
