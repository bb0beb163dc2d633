//! Failure types: one set of names for Temporal's failures, the job resource and the manifest, with
//! the rule which of them are retryable.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray};
use utoipa::ToSchema;

/// Type of a failure. The names are stable: they are the failure types in workflow histories and
/// the error types in the job resource.
#[derive(
    Clone,
    Copy,
    Debug,
    Deserialize,
    Display,
    EnumString,
    Eq,
    PartialEq,
    Serialize,
    ToSchema,
    VariantArray,
)]
pub enum FailureType {
    /// The provider rejects the request as invalid.
    ProviderRejected,
    /// The provider rejects the operator's credentials.
    ProviderUnauthorized,
    /// The provider requires credit before it accepts the request.
    ProviderInsufficientCredit,
    /// The provider limits the rate of requests.
    ProviderRateLimited,
    /// The provider cannot be reached, or fails with a server error.
    ProviderUnavailable,
    /// The provider's answer about the prediction cannot be parsed.
    ProviderUnreadable,
    /// The provider does not know a prediction that it had accepted.
    PredictionNotFound,
    /// The prediction is still running at the provider.
    PredictionRunning,
    /// The prediction ran at the provider and failed.
    GenerationFailed,
    /// The prediction was canceled at the provider, not through Darkroom.
    GenerationCanceled,
    /// The prediction succeeded without a single output file.
    NoOutputs,
    /// The provider made fewer outputs than requested, or withheld this one.
    OutputNotMade,
    /// The prediction succeeded with more files than a job can carry: only the first ones are
    /// stored.
    TooManyOutputs,
    /// The submission is in doubt: the provider may have accepted it. It is not repeated, as it
    /// could be paid for twice.
    SubmissionUnknown,
    /// The provider no longer has the output.
    SourceExpired,
    /// The output's host refuses to serve it.
    SourceRejected,
    /// The output's URL may not be fetched: its address is not public, or it is not an HTTP URL.
    SourceForbidden,
    /// The output exceeds the size limit that the operator has configured.
    SourceTooLarge,
    /// The output's host cannot be reached, fails with a server error, or breaks off the transfer.
    SourceUnavailable,
    /// The content at the output's URL is not of a supported media type.
    UnsupportedMedia,
    /// The store rejects the operation: credentials, bucket or policy are wrong.
    StorageRejected,
    /// The store cannot be reached, or fails with a server error.
    StorageUnavailable,
    /// The key in the store already holds other content.
    StorageConflict,
    /// The deletion of the job is not complete yet.
    DeletionUnderWay,
    /// Temporal cannot be reached, or rejects the call.
    TemporalUnavailable,
    /// Some or all outputs could not be stored.
    OutputsFailed,
    /// The attempt was interrupted, for example because its worker drains, another attempt has
    /// taken over, or the job was canceled.
    Interrupted,
    /// The job's own deadline has passed.
    DeadlineExceeded,
    /// An activity exceeded its timeout.
    TimedOut,
    /// Internal error of Darkroom.
    Internal,
}

impl FailureType {
    /// Returns true if a retry of the same work may succeed without manual intervention.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::ProviderRateLimited
            | Self::ProviderUnavailable
            | Self::ProviderUnreadable
            | Self::PredictionNotFound
            | Self::PredictionRunning
            | Self::SourceUnavailable
            | Self::StorageUnavailable
            | Self::DeletionUnderWay
            | Self::TemporalUnavailable
            | Self::OutputsFailed
            | Self::Interrupted
            | Self::TimedOut
            // The exception: operators correct credentials and policies of the store while jobs
            // wait.
            | Self::StorageRejected => true,
            Self::ProviderRejected
            | Self::ProviderUnauthorized
            | Self::ProviderInsufficientCredit
            | Self::GenerationFailed
            | Self::GenerationCanceled
            | Self::NoOutputs
            | Self::OutputNotMade
            | Self::TooManyOutputs
            | Self::DeadlineExceeded
            | Self::SubmissionUnknown
            | Self::SourceExpired
            | Self::SourceRejected
            | Self::SourceForbidden
            | Self::SourceTooLarge
            | Self::UnsupportedMedia
            | Self::StorageConflict
            | Self::Internal => false,
        }
    }

    /// Returns true if it only means that the awaited work is not done yet, and is to be polled
    /// again.
    #[must_use]
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::PredictionRunning | Self::DeletionUnderWay)
    }

    /// Failure type of this name; `None` if there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// Failure, as the job resource and the manifest show it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct JobError {
    /// Type of the failure.
    #[serde(rename = "type")]
    pub kind: FailureType,
    /// Explanation of the failure for people.
    pub detail: String,
    /// True if a retry may help.
    pub retryable: bool,
}

impl JobError {
    /// Truncates the detail to 300 bytes, so that the failures of a thousand outputs fit into one
    /// workflow's history.
    #[must_use]
    pub fn truncated(mut self) -> Self {
        const MAX: usize = 300;
        if self.detail.len() > MAX {
            self.detail.truncate(self.detail.floor_char_boundary(MAX));
            self.detail.push('…');
        }
        self
    }

    /// Returns true if this shortcoming of a prediction is the main reason of its job's status. An
    /// excess of outputs is not, if some outputs could not be stored.
    #[must_use]
    pub fn is_main_cause(&self, is_all_stored: bool) -> bool {
        self.kind != FailureType::TooManyOutputs || is_all_stored
    }

    /// Failure of this type with this detail; `retryable` follows from the type.
    #[must_use]
    pub fn new(kind: FailureType, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retryable: kind.is_retryable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names on the wire, written out: a renamed variant must not rename them, as histories,
    /// manifests and callers know them.
    const NAMES: [&str; 30] = [
        "ProviderRejected",
        "ProviderUnauthorized",
        "ProviderInsufficientCredit",
        "ProviderRateLimited",
        "ProviderUnavailable",
        "ProviderUnreadable",
        "PredictionNotFound",
        "PredictionRunning",
        "GenerationFailed",
        "GenerationCanceled",
        "NoOutputs",
        "OutputNotMade",
        "TooManyOutputs",
        "SubmissionUnknown",
        "SourceExpired",
        "SourceRejected",
        "SourceForbidden",
        "SourceTooLarge",
        "SourceUnavailable",
        "UnsupportedMedia",
        "StorageRejected",
        "StorageUnavailable",
        "StorageConflict",
        "DeletionUnderWay",
        "TemporalUnavailable",
        "OutputsFailed",
        "Interrupted",
        "DeadlineExceeded",
        "TimedOut",
        "Internal",
    ];

    #[test]
    fn wire_names_do_not_change() {
        let names: Vec<_> = FailureType::VARIANTS
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, NAMES);
        for (kind, name) in FailureType::VARIANTS.iter().zip(NAMES) {
            assert_eq!(FailureType::from_name(name), Some(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
        assert_eq!(FailureType::from_name("NoSuchThing"), None);
    }
}
