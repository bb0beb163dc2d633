//! Failures of sources.

use darkroom_workflows::failure::{FailureType, chain};

use crate::failure::Failure;

/// Converts the error of a body that broke off.
pub(super) fn broken(error: reqwest::Error) -> Failure {
    unavailable(chain(&error.without_url()))
}

pub(super) fn rejected(detail: impl Into<String>) -> Failure {
    Failure::new(FailureType::SourceRejected, detail)
}

pub(super) fn unavailable(detail: impl Into<String>) -> Failure {
    Failure::new(FailureType::SourceUnavailable, detail)
}
