//! Failures as Temporal carries them: building those that an activity or a workflow ends with, and
//! reading them. The conversion of an activity's own errors is in the `activities` crate.

use std::time::Duration;

pub use darkroom_types::failure::{FailureType, JobError};

use serde::{Deserialize, Serialize};
use temporalio_workflow::{
    ActivityExecutionError, RetryState,
    common::error::{ApplicationErrorCategory, ApplicationFailure, IncomingError},
};

/// Details of an activity's failure, besides its type and message.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct FailureDetails {
    /// Number of attempts made.
    pub attempts: u32,
}

/// Builds the failure that an activity or the workflow ends with: typed, and non-retryable unless
/// the type is retryable.
#[must_use]
pub fn application_failure(
    error: &JobError,
    next_retry_delay: Option<Duration>,
    details: FailureDetails,
) -> ApplicationFailure {
    ApplicationFailure::builder(error.detail.clone())
        .type_name(error.kind.to_string())
        .non_retryable(!error.retryable)
        .category(if error.kind.is_waiting() {
            ApplicationErrorCategory::Benign
        } else {
            ApplicationErrorCategory::Unspecified
        })
        .maybe_next_retry_delay(next_retry_delay)
        .details(details)
        .build()
}

/// Reads an activity's failure in the workflow: the error, and the number of attempts if the
/// activity reported it.
#[must_use]
pub fn read_activity_failure(failure: &ActivityExecutionError) -> (JobError, Option<u32>) {
    if let Some(IncomingError::Application(application)) = failure.cause() {
        let kind = application
            .type_name()
            .and_then(FailureType::from_name)
            .unwrap_or(FailureType::Internal);
        let details = application.details::<FailureDetails>().ok().flatten();
        return (
            JobError::new(kind, application.to_string()),
            details.map(|details| details.attempts),
        );
    }
    if failure.as_timeout().is_some() {
        return (
            JobError::new(FailureType::TimedOut, timeout_detail(failure)),
            None,
        );
    }
    (
        JobError::new(FailureType::Internal, failure.to_string()),
        None,
    )
}

fn timeout_detail(failure: &ActivityExecutionError) -> String {
    let what = match failure {
        ActivityExecutionError::Failed(activity) => activity.activity_type().unwrap_or("activity"),
        _ => "activity",
    };
    let gave_up = matches!(failure, ActivityExecutionError::Failed(activity) if activity.retry_state() == RetryState::Timeout);
    let last = failure
        .as_timeout()
        .and_then(|timeout| timeout.cause())
        .map(|cause| format!("; last: {cause}"));
    format!(
        "{what} {}{}",
        if gave_up {
            "ran out of time"
        } else {
            "timed out"
        },
        last.unwrap_or_default()
    )
}

/// Formats an error and its causes on one line: most libraries hide the reason in the sources.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut line = String::new();
    for cause in causes.map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line += if line.is_empty() { "" } else { ": " };
            line += &cause;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_final_unless_its_type_is_retryable() {
        let failure = |kind| {
            application_failure(
                &JobError::new(kind, "why"),
                None,
                FailureDetails { attempts: 3 },
            )
        };
        assert!(failure(FailureType::SourceExpired).is_non_retryable());
        assert!(!failure(FailureType::SourceUnavailable).is_non_retryable());
        assert_eq!(
            failure(FailureType::SourceExpired).type_name(),
            Some("SourceExpired")
        );
    }
}
