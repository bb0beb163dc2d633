//! Why a part of a job failed: one name for the wire (Temporal's failure type, the job resource, the manifest) and what it
//! means to whoever decides next.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong. The names are stable: they are failure types in histories and error types in the job resource.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub enum FailureType {
    /// The provider refuses the request itself.
    ProviderRejected,
    /// The provider refuses our credentials.
    ProviderUnauthorized,
    /// The provider wants money first.
    ProviderInsufficientCredit,
    /// The provider asks us to slow down.
    ProviderRateLimited,
    /// The provider cannot be reached or fails on its side.
    ProviderUnavailable,
    /// The provider says something of the prediction that cannot be read.
    ProviderUnreadable,
    /// The provider does not know a prediction that it took.
    PredictionNotFound,
    /// The provider is still at work.
    PredictionRunning,
    /// The provider tried and failed.
    GenerationFailed,
    /// The prediction was canceled at the provider, not through us.
    GenerationCanceled,
    /// The prediction succeeded without a single file.
    NoOutputs,
    /// The provider made fewer outputs than were asked for, or withheld this one.
    OutputNotMade,
    /// The prediction succeeded with more files than a job carries: the first are stored.
    TooManyOutputs,
    /// We cannot tell whether the provider accepted the request, and will not pay twice to find out.
    SubmissionUnknown,
    /// The output is gone from the provider.
    SourceExpired,
    /// The output's host refuses to hand it over.
    SourceRejected,
    /// The output's address is not one that is fetched: not public, or not HTTP.
    SourceForbidden,
    /// The output is longer than the operator allows.
    SourceTooLarge,
    /// The output's host cannot be reached, fails on its side, or breaks off.
    SourceUnavailable,
    /// What the address yields is not media that we store.
    UnsupportedMedia,
    /// The store refuses: credentials, bucket or policy.
    StorageRejected,
    /// The store cannot be reached or fails on its side.
    StorageUnavailable,
    /// The key holds other content.
    StorageConflict,
    /// Not all of a job that is deleted is gone yet.
    DeletionUnderWay,
    /// Temporal cannot be reached, or refuses.
    TemporalUnavailable,
    /// Some or all outputs could not be stored.
    OutputsFailed,
    /// An attempt was given up so that another worker can carry on.
    Interrupted,
    /// The job's own deadline passed.
    DeadlineExceeded,
    /// An activity ran out of time.
    TimedOut,
    /// A fault of ours.
    Internal,
}

impl FailureType {
    /// Whether another attempt at the same work, without a change by a person, may succeed.
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
            // Policies and credentials of a store are mended by an operator while jobs wait.
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

    /// Whether it says no more than that something else is not done yet.
    #[must_use]
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::PredictionRunning | Self::DeletionUnderWay)
    }

    /// The type of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

impl fmt::Display for FailureType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A failure as the job resource and the manifest show it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct JobError {
    /// What went wrong.
    #[serde(rename = "type")]
    pub kind: FailureType,
    /// The same in words, for a person.
    pub detail: String,
    /// Whether trying again may help.
    pub retryable: bool,
}

impl JobError {
    /// The same with so few words that a thousand of them fit into a history.
    #[must_use]
    pub fn brief(mut self) -> Self {
        const MAX: usize = 300;
        if self.detail.len() > MAX {
            self.detail.truncate(self.detail.floor_char_boundary(MAX));
            self.detail.push('…');
        }
        self
    }

    /// Whether a shortcoming of a prediction tells most of how its job ended: that it made more than a job carries is the least of
    /// it where not all could be stored.
    #[must_use]
    pub fn tells_most(&self, is_all_stored: bool) -> bool {
        self.kind != FailureType::TooManyOutputs || is_all_stored
    }

    /// An error of this kind with these words.
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

    #[test]
    fn names_on_the_wire_read_back() {
        for kind in [
            FailureType::ProviderRejected,
            FailureType::SourceExpired,
            FailureType::Internal,
        ] {
            assert_eq!(FailureType::from_name(&kind.to_string()), Some(kind));
        }
        assert_eq!(FailureType::from_name("NoSuchThing"), None);
    }
}
