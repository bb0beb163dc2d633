//! Converts errors of an activity into what Temporal records, in one place: a failure type, whether
//! it is retryable, and the delay of the next attempt. A bare `?` on a foreign error would make it
//! untyped and retryable, so every activity returns a [`Failure`] and only [`attempted`] makes an
//! `ActivityError`.

use std::time::Duration;

use darkroom_storage::StorageError;
use darkroom_telemetry::logs::PROMPTS;
use darkroom_temporal::heartbeat::{Interruption, RecordError};
use darkroom_workflows::failure::{FailureDetails, FailureType, JobError, application_failure};
use temporalio_client::tonic::Status;
use temporalio_sdk::activities::{ActivityContext, ActivityError, ActivityInfo};

use crate::metrics;

/// Reason for which an attempt at an activity ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Cancellation was requested, and this attempt has cleaned up.
    #[error("canceled")]
    Canceled,
    /// The attempt failed.
    #[error("{}: {}", error.kind, error.detail)]
    Failed {
        /// The failure.
        error: JobError,
        /// Delay of the next attempt, if the other side asked for one.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// Returns a failure of this type. If the type is retryable, the retry policy sets the delay.
    pub fn new(kind: FailureType, detail: impl Into<String>) -> Self {
        Self::Failed {
            error: JobError::new(kind, detail),
            retry_after: None,
        }
    }

    /// Returns the error, for activities that report it in their result.
    #[must_use]
    pub fn into_error(self) -> JobError {
        match self {
            Self::Canceled => JobError::new(FailureType::Interrupted, "canceled"),
            Self::Failed { error, .. } => error,
        }
    }

    /// Returns the failure type; `None` after a cancellation.
    #[must_use]
    pub fn kind(&self) -> Option<FailureType> {
        match self {
            Self::Canceled => None,
            Self::Failed { error, .. } => Some(error.kind),
        }
    }

    /// Returns true if the failure is retryable.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_some_and(FailureType::is_retryable)
    }

    /// Returns a failure of this type that is retried after `delay`.
    pub fn retry_after(kind: FailureType, detail: impl Into<String>, delay: Duration) -> Self {
        Self::Failed {
            error: JobError::new(kind, detail),
            retry_after: Some(delay),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let kind = match error {
            StorageError::Refused { .. } => FailureType::StorageRejected,
            StorageError::Conflict { .. } => FailureType::StorageConflict,
            StorageError::TooManyParts(_) => FailureType::SourceTooLarge,
            StorageError::NotFound
            | StorageError::AlreadyExists
            | StorageError::Unavailable { .. }
            | StorageError::TooSlow
            | StorageError::Corrupt(_) => FailureType::StorageUnavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Interruption> for Failure {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::CancelRequested => Self::Canceled,
            Interruption::Yield => {
                let at_once = Duration::from_millis(1);
                Self::retry_after(
                    FailureType::Interrupted,
                    "this worker yields to another attempt",
                    at_once,
                )
            }
            Interruption::Superseded => Self::new(
                FailureType::Interrupted,
                "the server no longer knows this attempt",
            ),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Superseded => Interruption::Superseded.into(),
            RecordError::NotAcknowledged(_) => {
                Self::new(FailureType::Interrupted, error.to_string())
            }
            RecordError::Encoding(_) => Self::new(FailureType::Internal, error.to_string()),
        }
    }
}

/// Converts a failed call to Temporal: another attempt repeats it.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        tracing::debug!(code = ?status.code(), reason = status.message(), "Temporal refused a call");
        let detail = format!("a call to Temporal failed: {:?}", status.code());
        Self::new(FailureType::TemporalUnavailable, detail)
    }
}

/// Converts the result of an attempt to the result of the activity. Logs and counts failures,
/// except those that only make the activity wait for its retry.
///
/// # Errors
/// If the attempt failed or was canceled. The type of the application failure is the failure type.
pub fn attempted<T>(ctx: &ActivityContext, result: Result<T, Failure>) -> Result<T, ActivityError> {
    let info = ctx.info();
    result.map_err(|failure| {
        let Failure::Failed { error, retry_after } = failure else {
            return ActivityError::cancelled();
        };
        if !error.kind.is_waiting() {
            log(info, &error);
            metrics::attempt_failed(&info.activity_type, error.kind);
        }
        let details = FailureDetails {
            attempts: info.attempt,
        };
        application_failure(&error, retry_after, details).into()
    })
}

fn log(info: &ActivityInfo, error: &JobError) {
    // The provider's message may quote the prompt.
    let is_quoted = matches!(
        error.kind,
        FailureType::ProviderRejected | FailureType::GenerationFailed
    );
    tracing::warn!(
        job_id = info.workflow_id.as_deref(),
        activity = info.activity_type,
        attempt = info.attempt,
        failure = %error.kind,
        retryable = error.retryable,
        detail = (!is_quoted).then_some(&error.detail),
        "attempt failed"
    );
    if is_quoted {
        tracing::trace!(target: PROMPTS, detail = error.detail, "the provider's message");
    }
}
